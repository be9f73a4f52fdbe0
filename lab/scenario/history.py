# SPDX-License-Identifier: MIT
"""What has happened while a scenario is played, and a way to wait for more of it: the one place where threads meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from time import monotonic
from typing import NamedTuple

from ...p11.constants import CKR
from ...p11.number_names import name_of
from ...reader.events import CallMoment, When
from ...reader.reader import Moment
from ...reader.trace import ApduEntry, CallEntry, Entry, EventEntry, ReturnEntry
from .conditions import ApduHappens, CallHappens, CountIs, EventHappens, Recorded, SignalHappens

_MOST_SHOWN = 8


class Point(NamedTuple):
    """A point in time: how many entries and words there were."""

    entries: int = 0
    words: int = 0


class Begun(NamedTuple):
    """A call works or waits by now; an entry that a trace does not have."""

    number: int
    application: str
    name: str


class History:
    """Entries of the trace and words said, in the order in which they came. Thread-safe.

    Whoever changes anything that a scenario may wait for calls `changed`, so that nothing is polled.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._entries: list[Entry | Begun] = []
        self._words: list[str] = []
        self._calls: dict[int, CallEntry] = {}
        self._under_way: dict[int, Begun] = {}

    def add(self, entry: Entry) -> None:
        """Of the trace, in the recording thread."""
        with self._condition:
            self._entries.append(entry)
            if isinstance(entry, CallEntry):
                self._calls[entry.number] = entry
            elif isinstance(entry, ReturnEntry):
                self._under_way.pop(entry.call, None)
            self._condition.notify_all()

    def watch(self, moment: Moment) -> None:
        """Around calls and APDUs, in the thread that makes them."""
        if isinstance(moment, CallMoment) and moment.when is When.DURING:
            with self._condition:
                begun = self._under_way[moment.number] = Begun(moment.number, moment.application, moment.name)
                self._entries.append(begun)
                self._condition.notify_all()

    def say(self, word: str) -> None:
        """Somebody has said a word."""
        with self._condition:
            self._words.append(word)
            self._condition.notify_all()

    def changed(self) -> None:
        """Something outside has changed: a program ended, a call came back."""
        with self._condition:
            self._condition.notify_all()

    def wait(self, is_so: Callable[[], bool], deadline: float) -> bool:
        """Whether it becomes so before the deadline (of the monotonic clock)."""
        with self._condition:
            while not is_so():
                left = deadline - monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left)
            return True

    @property
    def now(self) -> Point:
        """This point in time."""
        with self._condition:
            return Point(len(self._entries), len(self._words))

    def entries(self) -> list[Entry]:
        """All, by number."""
        with self._condition:
            found = [entry for entry in self._entries if not isinstance(entry, Begun)]
        return sorted(found, key=lambda entry: entry.number)

    def search(self, condition: Recorded, since: Point) -> Callable[[], bool]:
        """A question whether something has happened since then, that looks at each entry once."""
        place = since.words if isinstance(condition, SignalHappens) else since.entries
        found = False

        def is_found() -> bool:
            nonlocal place, found
            with self._condition:
                if isinstance(condition, SignalHappens):
                    return condition.signal in self._words[place:]
                if isinstance(condition, CallHappens) and condition.when == "under-way":
                    return any(
                        self._is_call(each, condition.call, condition.application) for each in self._under_way.values()
                    )
                while not found and place < len(self._entries):
                    found = self._fits(self._entries[place], condition)
                    place += 1
                return found

        return is_found

    def count(self, condition: CountIs, since: Point) -> int:
        """How many of them there have been since then."""
        with self._condition:
            return sum(self._is_counted(entry, condition) for entry in self._entries[since.entries :])

    def instead(self, condition: Recorded, since: Point) -> str:
        """In words: what of the same kind has happened since then."""
        with self._condition:
            if isinstance(condition, SignalHappens):
                return _listed(map(repr, self._words[since.words :]))
            return _listed(filter(None, (self._told(entry, condition) for entry in self._entries[since.entries :])))

    def _fits(self, entry: Entry | Begun, condition: Recorded) -> bool:
        match condition, entry:
            case EventHappens(), EventEntry():
                return entry.change == condition.event and condition.reader in (None, entry.reader)
            case CallHappens(when="during"), Begun():
                return self._is_call(entry, condition.call, condition.application)
            case CallHappens(when="before"), CallEntry() if not condition.is_answered:
                return self._is_call(entry, condition.call, condition.application)
            case CallHappens(), ReturnEntry() if condition.is_answered:
                return self._returns(entry, condition) and (
                    condition.returns is None or entry.value in condition.returns
                )
            case ApduHappens(), ApduEntry():
                return (
                    condition.reader in (None, entry.reader)
                    and condition.status in (None, entry.status)
                    and condition.apdu in (None, entry.command[1] if len(entry.command) > 1 else None)
                )
        return False

    def _is_call(self, entry: CallEntry | Begun, pattern: str, application: str) -> bool:
        return fnmatchcase(entry.name, pattern) and fnmatchcase(entry.application.rpartition("[")[0], application)

    def _returns(self, entry: ReturnEntry, condition: CallHappens) -> bool:
        call = self._calls.get(entry.call)
        return call is not None and self._is_call(call, condition.call, condition.application)

    def _is_counted(self, entry: Entry | Begun, condition: CountIs) -> bool:
        match condition.count, entry:
            case "calls", CallEntry():
                return self._is_call(entry, condition.of, condition.application)
            case "events", EventEntry():
                return fnmatchcase(entry.change, condition.of)
            case "apdus", ApduEntry():
                call = self._calls.get(entry.call or 0)
                program = call.application.rpartition("[")[0] if call is not None else ""
                return fnmatchcase(_instruction(entry), condition.of) and fnmatchcase(program, condition.application)
        return False

    def _told(self, entry: Entry | Begun, condition: Recorded) -> str | None:
        """An entry in words, if it is one of the kind that is wanted."""
        match condition, entry:
            case EventHappens(), EventEntry():
                return f"{entry.change} {entry.reader}"
            case CallHappens(), CallEntry() if not condition.is_answered:
                return entry.name
            case CallHappens(), ReturnEntry() if condition.is_answered and self._returns(entry, condition):
                return f"{entry.name} -> {name_of(CKR, entry.value)}"
            case ApduHappens(), ApduEntry():
                status = "torn out" if entry.status is None else f"{entry.status:04X}"
                return f"{_instruction(entry)} -> {status}"
        return None


def _instruction(entry: ApduEntry) -> str:
    """The instruction byte in hexadecimal, nothing of a command that has none."""
    return entry.command[1:2].hex().upper()


def _listed(words: Iterable[str]) -> str:
    """Words in a row, runs of the same one counted, only the last of many."""
    runs: list[tuple[str, int]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1] = word, runs[-1][1] + 1
        else:
            runs.append((word, 1))
    shown = [word + (f" x{count}" if count > 1 else "") for word, count in runs[-_MOST_SHOWN:]]
    return ", ".join(["..."] * (len(runs) > _MOST_SHOWN) + shown) or "nothing of the kind"
