# SPDX-License-Identifier: MIT
"""Trace entries as records of JSON values, with PKCS #11's numbers by name (docs/control.md lists the fields)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...card.wording import meant
from ...p11.calls import BY_NAME
from ...p11.constants import CKA, CKF, CKM, CKR, CKU
from ...p11.number_names import name_of
from ...reader.trace import ApduEntry, CallEntry, Entry, EventEntry, Hidden, ReturnEntry, Trace, VerbEntry

Record = dict[str, Any]

_HANDLE_FLOOR = 1 << 32
"""A handle is a random epoch above this, and a counter below it; the counter is what is shown."""


_OF_ALL = ("number", "time", "call")
FIELDS = {
    "call": (*_OF_ALL, "application", "thread", "name", "arguments"),
    "return": (*_OF_ALL, "name", "value", "rv"),
    "apdu": (*_OF_ALL, "reader", "card", "command", "command_length", "response", "response_length", "status"),
    "event": (*_OF_ALL, "change", "reader", "card"),
    "verb": (*_OF_ALL, "verb", "reader", "about"),
}
"""The fields of each kind of record."""


def check(kind: str, fields: Iterable[str]) -> None:
    """Raise ValueError for an unknown kind of record or field."""
    if kind not in FIELDS:
        raise ValueError(f"the trace has no {kind!r}{meant(kind, FIELDS) or ';'} it has: {', '.join(FIELDS)}")
    for name in fields:
        if name not in FIELDS[kind]:
            known = ", ".join(FIELDS[kind])
            raise ValueError(f"{kind!r} in the trace has no {name!r}{meant(name, FIELDS[kind]) or ';'} it has: {known}")


def as_record(entry: Entry) -> Record:
    """Return a trace entry as a record."""
    return {"kind": _KINDS[type(entry)], "number": entry.number, "time": entry.time, "call": entry.call, **_rest(entry)}


def follow(trace: Trace, add: Callable[[Record], object]) -> Callable[[], None]:
    """Pass every later record to `add`, one at a time; return a function that ends this."""

    def show(entry: Entry) -> None:
        add(as_record(entry))

    return trace.subscribe(show)


_KINDS = {CallEntry: "call", ReturnEntry: "return", ApduEntry: "apdu", EventEntry: "event", VerbEntry: "verb"}


def _rest(entry: Entry) -> Record:
    """Return the fields that only this kind of record has."""
    match entry:
        case CallEntry():
            return {
                "application": entry.application,
                "thread": entry.thread,
                "name": entry.name,
                "arguments": _arguments(entry.name, entry.arguments),
            }
        case ReturnEntry():
            return {"name": entry.name, "value": entry.value, "rv": name_of(CKR, entry.value)}
        case ApduEntry():
            return {
                "reader": entry.reader,
                "card": entry.card,
                "command": entry.command.hex().upper(),
                "command_length": entry.command_length,
                "response": entry.response.hex().upper(),
                "response_length": entry.response_length,
                "status": None if entry.status is None else f"{entry.status:04X}",
            }
        case EventEntry():
            return {"change": entry.change, "reader": entry.reader, "card": entry.card}
        case VerbEntry():
            return {"verb": entry.verb, "reader": entry.reader, "about": entry.about}


def _arguments(name: str, arguments: tuple[object, ...]) -> list[str]:
    """Return a call's inputs as text: mechanisms, attributes and flags by name, byte strings by length."""
    letters = [letter for letter in BY_NAME[name].signature if letter in _INPUTS or letter in _ROOMS]
    return [
        _SPECIAL.get((name, position), _INPUTS.get(letter, _plain))(value)
        for position, (letter, value) in enumerate(zip(letters, arguments, strict=True))
        if letter not in _ROOMS
    ]


def _plain(value: Any) -> str:
    """Return a value as text; of a handle the counter, of hidden bytes the length."""
    if value is None:
        return "NULL"
    if isinstance(value, Hidden):
        return f"<{value.length} bytes>"
    if isinstance(value, int) and value > _HANDLE_FLOOR:
        return f"#{value % _HANDLE_FLOOR}"
    return str(value)


def _mechanism(value: Any) -> str:
    return "NULL" if value is None else name_of(CKM, value)


def _template(value: Any) -> str:
    """Return the names of a template's attributes."""
    return "{" + ", ".join(name_of(CKA, kind) for kind in value) + "}"


def _query(value: Any) -> str:
    """Return the names of the attributes in a template of C_GetAttributeValue."""
    return _template([kind for kind, _room in value])


def _flags(names: Mapping[int, str]) -> Callable[[Any], str]:
    """Return a function that shows flags by these names, and others as a number."""

    def words(value: Any) -> str:
        rest = value & ~sum(names)
        return " | ".join([name for flag, name in names.items() if value & flag] + [f"0x{rest:X}"] * bool(rest)) or "0"

    return words


def _user(value: Any) -> str:
    return name_of(CKU, value)


_ROOMS = "BLF"
"""Signature letters of output parameters: the length of the caller's buffer."""

_INPUTS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys("uylbnrspP", _plain),
    **dict.fromkeys("mMwW", _mechanism),
    "t": _template,
    "q": _query,
}
"""How inputs are shown, by signature letter (p11/calls.py)."""

_SPECIAL: dict[tuple[str, int], Callable[[Any], str]] = {
    ("C_OpenSession", 1): _flags({CKF.RW_SESSION: "CKF_RW_SESSION", CKF.SERIAL_SESSION: "CKF_SERIAL_SESSION"}),
    ("C_WaitForSlotEvent", 0): _flags({CKF.DONT_BLOCK: "CKF_DONT_BLOCK"}),
    ("C_Login", 1): _user,
    ("C_LoginUser", 1): _user,
}
"""Numbers that have names, by function and position."""
