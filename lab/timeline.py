# SPDX-License-Identifier: MIT
"""Trace entries for people and for programs: one record each, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from ..card.status import SW
from ..card.tables import INS
from ..p11.calls import BY_NAME
from ..p11.constants import CKA, CKM, CKR, CKU
from ..reader.trace import ApduEntry, CallEntry, Entry, EventEntry, Hidden, ReturnEntry

if TYPE_CHECKING:
    from rich.console import Console

_EVENT_WORDS = {
    "plug": "reader {reader} plugged in",
    "unplug": "reader {reader} unplugged",
    "insert": "{card} inserted into {reader}",
    "remove": "{card} pulled out of {reader}",
    "reset": "{card} reset in {reader}",
}
_STATUS_WORDS = {
    SW.OK: "ok",
    SW.SECURITY_STATUS_NOT_SATISFIED: "security status not satisfied",
    SW.AUTHENTICATION_METHOD_BLOCKED: "blocked",
    SW.INCORRECT_DATA: "incorrect data",
    SW.NOT_FOUND: "not found",
    SW.REFERENCE_NOT_FOUND: "no such key",
    SW.WRONG_LENGTH: "wrong length",
}


def name_of(kind: type, value: int) -> str:
    """A number of the standard by its name, unknown ones in hexadecimal."""
    try:
        return f"{kind.__name__}_{kind(value).name}"
    except ValueError:
        return f"{kind.__name__} 0x{value:X}"


def as_record(entry: Entry) -> dict[str, Any]:
    """An entry for programs: JSON values only."""
    match entry:
        case CallEntry():
            kind = "call"
            rest: dict[str, Any] = {
                "application": entry.application,
                "thread": entry.thread,
                "name": entry.name,
                "arguments": call_arguments(entry.name, entry.arguments),
            }
        case ReturnEntry():
            kind = "return"
            rest = {"name": entry.name, "value": entry.value, "rv": name_of(CKR, entry.value)}
        case ApduEntry():
            kind = "apdu"
            rest = {
                "reader": entry.reader,
                "card": entry.card,
                "command": entry.command.hex().upper(),
                "command_length": entry.command_length,
                "response": entry.response.hex().upper(),
                "response_length": entry.response_length,
                "status": None if entry.status is None else f"{entry.status:04X}",
            }
        case EventEntry():
            kind = "event"
            rest = {"change": entry.change, "reader": entry.reader, "card": entry.card}
    return {"kind": kind, "number": entry.number, "time": entry.time, "call": entry.call, **rest}


def call_arguments(name: str, arguments: tuple[object, ...]) -> str:
    """The arguments of a call for people: mechanisms and attributes by name, handles short, byte strings by length."""
    letters = [letter for letter in BY_NAME[name].signature if letter in "uylbnmMtqBLFr"]
    parts = []
    for position, (letter, value) in enumerate(zip(letters, arguments, strict=True)):
        if letter in "BLFU":
            continue
        if letter in "mM":
            parts.append("NULL" if value is None else name_of(CKM, int(str(value))))
        elif letter == "t" and isinstance(value, list):
            parts.append("{" + ", ".join(name_of(CKA, kind) for kind in value) + "}")
        elif letter == "q" and isinstance(value, list):
            parts.append("{" + ", ".join(name_of(CKA, kind) for kind, _ in value) + "}")
        elif isinstance(value, Hidden):
            parts.append(f"<{value.length} bytes>")
        elif value is None:
            parts.append("NULL")
        elif name == "C_Login" and position == 1:
            parts.append(name_of(CKU, int(str(value))))
        elif isinstance(value, int) and value > 0xFFFFFFFF:
            parts.append(f"#{value & 0xFFFFFFFF}")
        else:
            parts.append(str(value))
    return ", ".join(parts)


def apdu_words(record: dict[str, Any]) -> str:
    """An APDU for people: the command by name, lengths, and the status word with its meaning."""
    command = bytes.fromhex(record["command"])
    status = None if record["status"] is None else int(record["status"], 16)
    ins = command[1] if len(command) > 1 else 0
    try:
        name = INS(ins).name.replace("_", " ")
    except ValueError:
        name = f"INS {ins:02X}"
    if command[:1] == b"\x10":
        name += " (link)"
    reference = command[2:4].hex().upper()
    if status is None:
        outcome = "torn out"
    elif status & 0xFF00 == 0x6100:
        outcome = f"{status:04X} more to fetch"
    elif status & 0xFFF0 == 0x63C0:
        outcome = f"{status:04X} {status & 0xF} tries left"
    else:
        meaning = _STATUS_WORDS.get(SW(status), "") if status in set(SW) else ""
        outcome = f"{status:04X} {meaning}".rstrip()
    if ins == INS.GET_DATA and command[5:6] == b"\x5c":
        reference = command[7 : 7 + command[6]].hex().upper()
    size = f", {record['response_length']} bytes" if record["response_length"] else ""
    return f"{name} {reference} [{record['command_length']}] -> {outcome}{size}"


def event_words(record: dict[str, Any]) -> str:
    """An event for people."""
    return _EVENT_WORDS[record["change"]].format(reader=record["reader"], card=record["card"])


class Lines:
    """Prints records, one line each: returns and APDUs stand under the call they belong to."""

    def __init__(self) -> None:
        self._start: float | None = None

    def print(self, console: Console, record: dict[str, Any]) -> None:
        """One record of `as_record`, in the colours of the console."""
        self.line(console, record, *_words(record))

    def line(self, console: Console, record: dict[str, Any], style: str, text: str) -> None:
        """One line with the clock of a record before it."""
        if self._start is None:
            self._start = record["time"]
        clock = f"{(record['time'] - self._start) * 1000:9.2f} ms"
        console.print(Text.assemble((clock, "dim"), "  ", (text, style)), soft_wrap=True)


class FoldedLines(Lines):
    """The same, shorter: a return stands beside its call, like calls in a row and further APDUs are counted.

    A call is printed when it has been answered or something else happens meanwhile.
    """

    MOST_APDUS = 4

    def __init__(self) -> None:
        super().__init__()
        self._call: dict[str, Any] | None = None
        self._last: tuple[str, int] | None = None
        self._repeated = 0
        self._apdus = 0

    def print(self, console: Console, record: dict[str, Any]) -> None:
        """One record, or nothing yet."""
        call, self._call = self._call, None
        if record["kind"] == "return" and call is not None and call["number"] == record["call"]:
            self._print_answered(console, call, record)
            return
        if call is not None:
            self._end_row(console)
            super().print(console, call)
        if record["kind"] == "call":
            self._call = record
            return
        self._end_row(console)
        if record["kind"] == "apdu":
            self._apdus += 1
            if self._apdus > self.MOST_APDUS:
                return
        elif self._apdus > self.MOST_APDUS:
            console.print(Text(f"{'':22}... and {self._apdus - self.MOST_APDUS} more APDUs", "bright_black"))
        if record["kind"] != "apdu":
            self._apdus = 0
        super().print(console, record)

    def flush(self, console: Console) -> None:
        """Print what has been held back."""
        call, self._call = self._call, None
        self._end_row(console)
        if call is not None:
            super().print(console, call)

    def _print_answered(self, console: Console, call: dict[str, Any], answer: dict[str, Any]) -> None:
        like = (call["name"], answer["value"])
        if like == self._last:
            self._repeated += 1
            return
        self._end_row(console)
        self._last = like
        style = "cyan" if answer["value"] == 0 else "yellow"
        self.line(console, call, style, f"{_words(call)[1]} -> {answer['rv']}")

    def _end_row(self, console: Console) -> None:
        if self._repeated:
            console.print(Text(f"{'':14}... {self._repeated} more like it", "dim"))
        self._last, self._repeated = None, 0


def _words(record: dict[str, Any]) -> tuple[str, str]:
    """Style and text of one record."""
    match record["kind"]:
        case "call":
            return "cyan", f"{record['application']}  {record['name']}({record['arguments']})"
        case "return":
            return ("green" if record["value"] == 0 else "yellow"), f"    {record['name']} -> {record['rv']}"
        case "apdu":
            return "bright_black", f"        {apdu_words(record)}"
        case _:
            return "bold magenta", f"=== {event_words(record)} ==="
