# SPDX-License-Identifier: MIT
"""Make the tables of verbs, faults and events in docs/, between markers of the pages."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from functools import partial

from cardtear.lab.simulator.verbs import FAULTS, TABLE, VERBS, Result, Use, Verb, usable
from cardtear.reader.events import Change

from .remote import is_of_readers

_WIDTH = 100

_RESULTS = {
    Result.CARD: '`{"card": NAME}`',
    Result.CARD_NAME: '`{"card": NAME}`, or null',
    Result.CHANGED: '`{"changed": false}` if nothing is different',
    Result.ARMED: '`{"armed": true}`, or false',
    Result.RELEASED: '`{"released": NUMBER}`',
    Result.HEARD: '`{"heard": NUMBER}`',
    Result.RESPONSE: '`{"response": HEX}`',
    Result.STREAM: "a [stream](#streams)",
}


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, *rows]
    texts = [f"| {' | '.join(each)} |" for each in lines]
    return "\n".join([texts[0], f"|{'---|' * len(columns)}", *texts[1:]])


def _requests() -> str:
    return _table(
        ("verb", "arguments", "what it does", "result"),
        (
            (f"`{name}`", _arguments(row), f"{row.help} {row.notes}".strip(), _RESULTS.get(row.result, ""))
            for name, row in VERBS.items()
        ),
    )


def _arguments(row: Verb) -> str:
    return "; ".join(
        f"`{each.name}`{'' if each.needed else ' (optional)'}: {each.help.rstrip('.')}" for each in row.parameters
    ).replace("|", "\\|")


def _faults() -> str:
    return _table(
        ("fault", "arguments", "what it does", "at a call", "at an APDU"),
        (
            (f"`{name}`", _arguments(row), row.help, ", ".join(row.calls), ", ".join(row.apdus))
            for name, row in FAULTS.items()
        ),
    )


def _events() -> str:
    return _table(
        ("event", "brought about by"),
        (
            (f"`{each}`", ", ".join(f"`{name}`" for name, row in TABLE.items() if str(each) in row.changes))
            for each in Change
        ),
    )


def _names(use: Use) -> str:
    names = ", ".join(f"`{name}`" for name in usable(use))
    return textwrap.fill(f"{names}.", _WIDTH, break_on_hyphens=False)


def _steps() -> str:
    return _table(("step", "what it does"), ((_form(row), row.help) for row in usable(Use.STEP).values()))


def _form(row: Verb) -> str:
    return row.form or f"`{row.name}{': R' if row.parameters else ''}`"


def _fault_steps() -> str:
    return _table(("fault", "what it does"), ((_form(row), row.help) for row in FAULTS.values()))


def _sweep() -> str:
    return _table(("action", "what happens"), ((f"`{name}`", row.sweep) for name, row in TABLE.items() if row.sweep))


def _methods() -> str:
    rows = []
    for row in usable(Use.METHOD).values():
        is_of_reader = is_of_readers(row)
        words = ", ".join(
            each.name if each.needed else f"{each.name}=" for each in row.parameters[1 if is_of_reader else 0 :]
        )
        rows.append((f"`{'reader' if is_of_reader else 'bench'}.{row.method}({words})`", row.help))
    return _table(("method", "what it does"), rows)


_TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/control.md": {
        "requests": _requests,
        "faults": _faults,
        "events": _events,
        "actions": partial(_names, Use.ARM),
    },
    "docs/scenarios.md": {"steps": _steps, "faults": _fault_steps},
    "docs/sweep.md": {"actions": _sweep, "then": partial(_names, Use.THEN)},
    "docs/pytest.md": {"methods": _methods},
}


def _filled(page: str, old: str) -> str:
    """Return a page with its tables made anew. Raises ValueError for a marker that is missing."""
    for name, make in _TABLES[page].items():
        begin, end = f"<!-- {name}: made by scripts/verb_table -->\n", f"\n<!-- end of {name} -->"
        if begin not in old or end not in old:
            raise ValueError(f"{page} has no markers of the table {name!r}")
        before, _, rest = old.partition(begin)
        old = f"{before}{begin}\n{make()}\n{end}{rest.partition(end)[2]}"
    return old


FILES: dict[str, Callable[[str], str]] = {page: partial(_filled, page) for page in _TABLES}
"""Each page with what fills in its tables."""
