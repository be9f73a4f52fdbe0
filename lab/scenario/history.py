# SPDX-License-Identifier: MIT
"""What has happened while a scenario is played, and a way to wait for more of it: the one place where threads meet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from time import monotonic
from typing import NamedTuple

from ...reader.events import CallMoment, When
from ...reader.reader import Moment
from ...reader.trace import ApduEntry, CallEntry, Entry, ReturnEntry


class Begun(NamedTuple):
    """A call works or waits by now; an entry that a trace does not have."""

    number: int
    application: str
    name: str


class Signalled(NamedTuple):
    """A signal was sent; an entry that a trace does not have."""

    signal: str


class Occurrence(NamedTuple):
    """An entry, and the call that it belongs to, if any."""

    entry: Entry | Begun | Signalled
    call: CallEntry | Begun | None = None

    @property
    def program(self) -> str:
        """Return the name of the program that made the call; "" without a call."""
        application = "" if self.call is None else self.call.application
        return application.rpartition("[")[0]

    def is_call(self, pattern: str, application: str) -> bool:
        """Return whether the call's name and its program's name fit these patterns."""
        return self.call is not None and fnmatchcase(self.call.name, pattern) and fnmatchcase(self.program, application)


Fits = Callable[[Occurrence], bool]


class History:
    """Entries of the trace, calls that began to work and signals, in their order. Thread-safe.

    A position in it is a number of entries. A change that a scenario may wait for is announced with `changed`: nothing
    is polled.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._entries: list[Occurrence] = []
        self._calls: dict[int, CallEntry] = {}
        self._under_way: dict[int, Begun] = {}

    def add(self, entry: Entry) -> None:
        """Add an entry of the trace, in the recording thread."""
        with self._condition:
            call: CallEntry | None = None
            if isinstance(entry, CallEntry):
                call = self._calls[entry.number] = entry
            elif isinstance(entry, ReturnEntry | ApduEntry):
                call = self._calls.get(entry.call or 0)
            if isinstance(entry, ReturnEntry):
                self._under_way.pop(entry.call, None)
            self._append(Occurrence(entry, call))

    def watch(self, moment: Moment) -> None:
        """Record that a call begins to work or wait, in the thread that makes it."""
        if isinstance(moment, CallMoment) and moment.when is When.DURING:
            with self._condition:
                begun = self._under_way[moment.number] = Begun(moment.number, moment.application, moment.name)
                self._append(Occurrence(begun, begun))

    def signal(self, signal: str) -> None:
        """Record that a signal was sent."""
        with self._condition:
            self._append(Occurrence(Signalled(signal)))

    def _append(self, occurrence: Occurrence) -> None:
        self._entries.append(occurrence)
        self._condition.notify_all()

    def changed(self) -> None:
        """Wake all waits: a program ended, a call returned."""
        with self._condition:
            self._condition.notify_all()

    def wait(self, holds: Callable[[], bool], deadline: float) -> bool:
        """Wait until `holds()` is true; return False once the deadline (of the monotonic clock) has passed."""
        with self._condition:
            while not holds():
                left = deadline - monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left)
            return True

    @property
    def now(self) -> int:
        """Return the current position."""
        with self._condition:
            return len(self._entries)

    def entries(self) -> list[Entry]:
        """Return the entries of the trace, by number."""
        with self._condition:
            entries = [each.entry for each in self._entries]
        found = [entry for entry in entries if not isinstance(entry, Begun | Signalled)]
        return sorted(found, key=lambda entry: entry.number)

    def since(self, position: int) -> list[Occurrence]:
        """Return all entries since a position."""
        with self._condition:
            return self._entries[position:]

    def search(self, fits: Fits, since: int) -> Callable[[], bool]:
        """Return a question whether an entry fits that came since then; it looks at each entry once."""
        position = since
        found = False

        def is_found() -> bool:
            nonlocal position, found
            with self._condition:
                while not found and position < len(self._entries):
                    found = fits(self._entries[position])
                    position += 1
                return found

        return is_found

    def is_under_way(self, fits: Fits) -> bool:
        """Return whether a call that fits is being worked on."""
        with self._condition:
            return any(fits(Occurrence(each, each)) for each in self._under_way.values())
