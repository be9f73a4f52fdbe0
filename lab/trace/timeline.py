# SPDX-License-Identifier: MIT
"""The trace as a time line for people: who called what and what came of it, APDUs under their call, events across."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from ...card.shown import shown
from ...card.status import SW
from ...card.tables import INS
from ...card.wording import counted
from ...p11.constants import CKR
from ...reader.events import Change
from ..simulator.verbs import FAULTS
from ..simulator.verbs import VERBS as VERB_ROWS
from .records import Record

_CONNECTION = "bold white on grey30"
_LOST = "bold white on rgb(150,90,0)"
EVENTS: dict[str, tuple[str, str, str]] = {
    Change.PLUG: ("+", "reader {reader} plugged in", _CONNECTION),
    Change.UNPLUG: ("-", "reader {reader} unplugged", _CONNECTION),
    Change.INSERT: ("▼", "{card}'s card goes into {reader}", "bold white on rgb(0,110,60)"),
    Change.REMOVE: ("▲", "{card}'s card is pulled out of {reader}", "bold white on rgb(175,25,40)"),
    Change.RESET: ("●", "{card}'s card in {reader} is reset", _LOST),
    Change.LOGOUT: ("●", "{card}'s card in {reader} is logged out", _LOST),
    Change.CLOSE_SESSIONS: ("●", "the sessions on {card}'s card in {reader} end", _LOST),
}
"""Sign, words and style of each change of the testbed."""

_UNKNOWN = "●", "{change} in {reader}", "bold white on grey30"
"""An event of a simulator that knows more of them."""

VERBS = {
    **{name: row.words for name, row in VERB_ROWS.items() if row.words},
    **{name: f"fault: {name} {{about}}" for name in FAULTS},
}
"""The words of each verb, and of each fault when it begins, that is no change of the testbed."""

_VERB = "bold black on grey78"

_MEANINGS = {
    SW.OK: "ok",
    SW.SECURITY_STATUS_NOT_SATISFIED: "PIN or key wanted first",
    SW.AUTHENTICATION_METHOD_BLOCKED: "blocked",
    SW.CONDITIONS_NOT_SATISFIED: "not now",
    SW.INCORRECT_DATA: "incorrect data",
    SW.NOT_FOUND: "not found",
    SW.REFERENCE_NOT_FOUND: "no such key",
    SW.WRONG_LENGTH: "wrong length",
    SW.INS_NOT_SUPPORTED: "unknown instruction",
}

_ABOUT_P2 = {
    INS.GENERAL_AUTHENTICATE,
    INS.VERIFY,
    INS.CHANGE_REFERENCE_DATA,
    INS.RESET_RETRY_COUNTER,
    INS.GET_METADATA,
}
"""Commands whose P2 says which key or PIN is meant."""

_CHAINED = 0x10
_EVENT_WIDTH = 58
_CLOCK_WIDTH = 10
_MARGIN = " " * (_CLOCK_WIDTH + 6)


@dataclass
class Row:
    """Calls in a row that an application made without trouble and without APDUs: only the first has been printed."""

    application: str
    further: Counter[str] = field(default_factory=Counter)


class Timeline:
    """Prints records (records.py) one after another, live, on a console.

    A call that is answered at once has one line; one that has APDUs, or others beside it, has a line for its beginning
    and one for its end. `most_apdus` and `folds` make it shorter: further APDUs are counted
    only, further calls in a row that all goes well are named only. To fold, a call is held back until it is answered
    or something else happens.
    """

    def __init__(self, console: Console, *, most_apdus: int | None = None, folds: bool = False) -> None:
        self._console = console
        self._most_apdus = most_apdus
        self._folds = folds
        self._start: float | None = None
        self._held: Record | None = None
        self._open: dict[int, Record] = {}
        self._apdus: dict[int, int] = {}
        self._row: Row | None = None
        self._last: int | None = None

    def add(self, record: Record) -> None:
        """Print one record."""
        held, self._held = self._held, None
        if record["kind"] == "return" and held is not None and held["number"] == record["call"]:
            self._answered(held, record)
            return
        if held is not None:
            self._begin(held)
        if record["kind"] == "call":
            self._held = record
            if not self._folds:
                self._line(record, *call_words(record), end="")
            return
        self._end_row()
        if record["kind"] == "apdu":
            self._apdu(record)
        elif record["kind"] == "event":
            sign, words, style = EVENTS.get(record["change"], _UNKNOWN)
            banner = f" {sign} {words.format(**record)} ".ljust(_EVENT_WIDTH)
            self._line(record, (banner, style))
        elif record["kind"] == "verb":
            words = VERBS.get(record["verb"], "{verb} {about}").format(**record)
            self._line(record, (f" ● {words.rstrip(': ')} ".ljust(_EVENT_WIDTH), _VERB))
        elif record["kind"] == "lost":
            self._console.print(
                Text(
                    f"… {counted(record['count'], 'entry is', 'entries are')} missing here: too many to keep up with",
                    "bold red",
                )
            )
            return
        elif record["kind"] == "return":
            self._end(record)
        self._last = record["call"]

    def flush(self) -> None:
        """Print what is held back, as before a pause."""
        held, self._held = self._held, None
        if held is not None:
            self._begin(held)
        self._end_row()

    def _answered(self, call: Record, answer: Record) -> None:
        """Write a call with nothing between its beginning and its end as one line."""
        if not self._folds:
            self._console.print(Text.assemble((" → ", "dim"), value_words(answer)), soft_wrap=True)
            return
        if self._row is not None and answer["value"] == CKR.OK and call["application"] == self._row.application:
            self._row.further[call["name"]] += 1
            return
        self._end_row()
        self._line(call, *call_words(call), (" → ", "dim"), value_words(answer))
        if answer["value"] == CKR.OK:
            self._row = Row(call["application"])

    def _begin(self, call: Record) -> None:
        """End the first line of a call that has more than one."""
        if self._folds:
            self._end_row()
            self._line(call, *call_words(call))
        else:
            self._console.print()
        self._open[call["number"]] = call
        self._last = call["number"]

    def _apdu(self, record: Record) -> None:
        call = record["call"]
        count = self._apdus[call] = self._apdus.get(call, 0) + 1
        if call is None or self._most_apdus is None or count <= self._most_apdus:
            self._line(record, ("    │ " if call is not None else "    ", "dim"), *apdu_words(record))

    def _end(self, answer: Record) -> None:
        call = self._open.pop(answer["call"], None)
        hidden = self._apdus.pop(answer["call"], 0) - (self._most_apdus or 0)
        if self._most_apdus is not None and hidden > 0:
            self._console.print(
                Text.assemble((f"{_MARGIN}│ … {hidden} more APDU{'s' if hidden > 1 else ''}", "dim")), soft_wrap=True
            )
        duration = f"  after {_duration(answer['time'] - call['time'])}" if call is not None else ""
        # Searched for in what is printed, a return value without its function says little.
        named = self._folds or self._last != answer["call"]
        name = f"{answer['name']} " if named else ""
        self._line(answer, ("    └ ", "dim"), (name, "cyan"), ("→ ", "dim"), value_words(answer), (duration, "dim"))

    def _end_row(self) -> None:
        if self._row is not None and self._row.further:
            names = ", ".join(name + (f" x{count}" if count > 1 else "") for name, count in self._row.further.items())
            line = Text.assemble((f"{_MARGIN}… then {names} → ", "dim"), ("CKR_OK", "green"))
            self._console.print(line, soft_wrap=True)
        self._row = None

    def _line(self, record: Record, *parts: tuple[str, str], end: str = "\n") -> None:
        if self._start is None:
            self._start = record["time"]
        clock = f"{_duration(record['time'] - self._start):>{_CLOCK_WIDTH}}  "
        texts = [(shown(text), style) for text, style in parts]
        self._console.print(Text.assemble((clock, "dim"), *texts), soft_wrap=True, end=end)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.3f} s"


def call_words(call: Record) -> Sequence[tuple[str, str]]:
    return (
        (f"{call['application']}  ", "dim"),
        (call["name"], "bold cyan"),
        (f"({', '.join(call['arguments'])})", "cyan"),
    )


def value_words(answer: Record) -> tuple[str, str]:
    return answer["rv"], "green" if answer["value"] == CKR.OK else "bold yellow"


def apdu_words(record: Record) -> Sequence[tuple[str, str]]:
    """Return an APDU in words: command, object, lengths of data in and out, status word with its meaning."""
    command = bytes.fromhex(record["command"])
    sent = max(record["command_length"] - 5, 0)
    received = record["response_length"]
    sizes = ", ".join([f"{sent} bytes in"] * bool(sent) + [f"{received} out"] * bool(received))
    about = f"{command_name(command)}{f' ({sizes})' if sizes else ''}"
    if record["status"] is None:
        return (about, "grey62"), (" → ", "dim"), ("torn out", "bold red")
    status = int(record["status"], 16)
    style = "grey62" if status == SW.OK or status >> 8 == 0x61 else "yellow"
    return (about, "grey62"), (" → ", "dim"), (f"{record['status']} {_meaning(status)}".rstrip(), style)


def command_name(command: bytes) -> str:
    """Return the instruction by name, with its key, PIN or data object; of malformed commands too."""
    cla, ins, _p1, p2 = command[:4].ljust(4, b"\0")
    name = INS(ins).name.replace("_", " ") if ins in set(INS) else f"INS {ins:02X}"
    if ins in _ABOUT_P2:
        name += f" {p2:02X}"
    elif ins == INS.GET_DATA and command[5:6] == b"\x5c":
        name += f" {command[7 : 7 + sum(command[6:7])].hex().upper()}"
    return f"{name}, chained" if cla & _CHAINED else name


def _meaning(status: int) -> str:
    if status >> 8 == 0x61:
        return f"{status & 0xFF or 256} more to come"
    if status & 0xFFF0 == 0x63C0:
        return f"{counted(status & 0xF, 'try', 'tries')} left"
    return _MEANINGS[SW(status)] if status in set(_MEANINGS) else ""
