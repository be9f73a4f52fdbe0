# SPDX-License-Identifier: MIT
"""The output of commands as tables; without colours and as wide as need be when it is not a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from ...card.shown import shown
from ...card.wording import counted
from ..processes.terminal import console, styled
from .doctor import Finding

_WIDE = 1000


def _left(tries: int) -> str:
    return f"{counted(tries, 'try', 'tries')} left"


def status(result: dict[str, Any]) -> None:
    """Print readers with their cards, applications, and armed triggers."""
    readers = _table("reader", "card", "profile", "PC/SC", "ATR")
    for each in result["readers"]:
        card = styled(each["card"], "bold green") if each["card"] else styled("empty", "dim")
        name = styled(each["name"], "bold").append(" (contactless)" if each["contactless"] else "", "dim")
        readers.add_row(name, card, each["profile"] or "", _pcsc(each), styled(each["atr"] or "", "dim"))
    applications = _table("application", "sessions", "logged in")
    for each in result["applications"]:
        applications.add_row(each["name"], str(each["sessions"]), "yes" if each["logged_in"] else "no")
    _print(readers if result["readers"] else "no readers; plug one in with: cardtear plug front")
    _print("")
    _print(applications if result["applications"] else "no application has the module initialised")
    if result["triggers"]:
        triggers = _table("trigger", "at", "does", "seen", "fired")
        for each in result["triggers"]:
            fired = str(each["fired"])
            if each.get("failed"):
                fired += f", {each['failed']} failed: {each['problem']}"
            triggers.add_row(str(each["trigger"]), _words(each["on"]), _words(each["then"]), str(each["seen"]), fired)
        _print("")
        _print(triggers)


def _pcsc(reader: dict[str, Any]) -> str:
    """Return the state in PC/SC: `port 35963`, `waits` until pcscd has the card; `from YubiKey`, which it mirrors."""
    words = []
    if reader["from_pcsc"] is not None:
        is_ours = reader["profile"] is not None  # PC/SC's waits until it is taken out
        words.append(f"from {reader['from_pcsc'] or 'any'}{', waits' if is_ours else ''}")
    if reader["pcsc"] is not None:
        is_missed = reader["card"] is not None and not reader["pcsc"]["shown"]
        words.append(f"port {reader['pcsc']['port']}{', waits' if is_missed else ''}")
    return "; ".join(words)


def _words(values: dict[str, Any]) -> str:
    """Return a moment or an action in one line: `call C_Sign, when after`, `remove, reader front`."""
    parts = []
    for name, value in values.items():
        told = _words(value) if isinstance(value, dict) else _ANY.get(name, "any") if value is None else value
        parts.append(f"{told}" if name == "do" else f"{name} {told}")
    return ", ".join(parts)


_ANY = {"times": "always"}


def card(about: dict[str, Any]) -> None:
    """Print what is on a card."""
    _print(f"{about['name']} ({about['profile']})  serial {about['serial']}  ATR {about['atr']}")
    _print(f"PIN: {_left(about['pin_tries'])}   PUK: {_left(about['puk_tries'])}")
    _print(f"memory: {about['used']} of {about['capacity']} bytes used")
    if about["traits"]:
        _print("  ".join(f"{name}: {value}" for name, value in about["traits"].items()))
    keys = _table("key", "purpose", "algorithm", "PIN", "certificate")
    none = styled("none", "dim")
    for each in about["keys"]:
        key = (each["algorithm"] or none, each["pin"] or "")
        certificate = none if each["certificate"] is None else styled(each["certificate"] or "(no subject)")
        if each["of_another_key"]:
            certificate.append("  is that of another key", "bold red")
        keys.add_row(each["slot"], each["purpose"], *key, certificate)
    _print(keys if about["keys"] else "no keys")
    for each in about["keys"]:
        if each["details"] is not None:
            _certificate(each["slot"], each["details"])
    for each in about["certificates"]:
        _certificate(f"certificate {each['label']}".strip(), each)


def _certificate(where: str, told: dict[str, Any]) -> None:
    """Print the fields of a certificate under the name of its slot or object."""
    unreadable = "cannot be read"
    dates = [told[name] or unreadable for name in ("not_before", "not_after")]
    lines = {
        "subject": told["subject"] or "(empty)",
        "issuer": told["issuer"] or "(empty)",
        "serial": told["serial"] or unreadable,
        "valid": unreadable if dates == [unreadable] * 2 else f"{dates[0]} to {dates[1]}",
        "alternative names": ", ".join(told["alternative_names"]),
        "extended key usage": ", ".join(told["extended_key_usage"]),
        "authority": "certificate of a CA" if told["authority"] else "",
    }
    _print("")
    _print(where)
    for name, value in lines.items():
        if value:
            _print(f"  {name:19}{value}")


def profiles(abouts: dict[str, str]) -> None:
    """Print the ready-made cards."""
    table = _table("profile", "")
    for name, about in abouts.items():
        table.add_row(styled(name, "bold"), about)
    _print(table)


def scenarios(found: list[tuple[str, str, list[str], str]]) -> None:
    """Print scenarios with their subject, the programs they need, and the command that shows the bug."""
    table = _table("scenario", "", "needs", "shows the bug")
    for name, about, needs, command in found:
        table.add_row(styled(name, "bold"), " ".join(about.split()), styled(", ".join(needs), "dim"), command)
    _print(table)


def findings(found: list[Finding]) -> None:
    """Print what works, what does not, and what to install."""
    table = _table("", "what", "for", "")
    for each in found:
        mark = styled("ok", "bold green") if each.works else styled("missing", "bold red" if each.needed else "yellow")
        table.add_row(mark, each.what, each.purpose, styled(each.detail, "dim"))
    _print(table)
    packages = sorted({each.package for each in found if not each.works and each.package is not None})
    if packages:
        _print("")
        _print(f"to install what is missing: apt-get install {' '.join(packages)}")


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table whose first column is bold."""
    table = _table(*columns)
    for first, *others in rows:
        table.add_row(styled(first, "bold"), *others)
    _print(table)


class _Table(Table):
    """A table that shows text from outside as text, without control characters."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row of strings and of texts from `styled`."""
        super().add_row(*(shown(each) if isinstance(each, str) else each for each in cells), **options)


def _table(*columns: str) -> Table:
    table = _Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(what: Table | str) -> None:
    is_text = isinstance(what, str)
    console(width=_WIDE).print(shown(what) if isinstance(what, str) else what, soft_wrap=is_text)
