# SPDX-License-Identifier: MIT
"""What a program did at its card in one run, followed in the trace: return values, PINs, and the time line around the
point. Bounded, for a program that asks for ever as well.
"""

from __future__ import annotations

import threading
from collections import Counter, deque

from ...card.status import SW
from ...card.tables import INS
from ...p11.constants import CKR
from ...p11.number_names import name_of
from ...reader.events import Change
from ...reader.trace import ApduEntry, CallEntry, Entry, EventEntry, ReturnEntry
from ..trace.records import Record, as_record
from .outcome import RepeatedLogins

BEFORE, AFTER = 60, 400
"""Entries of the time line that are kept: before the action, and from it on."""

_LOGINS = frozenset({"C_Login", "C_LoginUser"})
_ENDS_LOGINS = frozenset({Change.REMOVE, Change.RESET, Change.LOGOUT, Change.CLOSE_SESSIONS})
_HEADER = 5  # a VERIFY that is longer carries a PIN; shorter ones ask or give it up
# One that finds no PIV application selected, as after a reset, is a try of no PIN.


class Log:
    """A part of a trace. `mark` is called when the action begins; `card` is the name of the program's own card."""

    def __init__(self, card: str, before: int = BEFORE, after: int = AFTER) -> None:
        self.logins = 0
        self.verifies = 0
        self.repeats: list[RepeatedLogins] = []
        """What was accepted after each end of the logins."""
        self.strange = 0
        """PINs that another card got."""
        self.calls = 0
        self.apdus = 0
        self.last = ""
        """The last return value that the program got, with its function."""
        self.failures: Counter[str] = Counter()
        """Return values other than CKR_OK since the action, as `C_Sign CKR_DEVICE_REMOVED`, in the order they came."""
        self.marked = False
        self._card = card
        self._open: dict[int, str] = {}
        self._earlier: deque[Entry] = deque(maxlen=before)
        self._later: list[Entry] = []
        self._most = after
        self._left_out = 0
        self._lock = threading.Lock()

    def __call__(self, entry: Entry) -> None:
        with self._lock:
            self._keep(entry)
            match entry:
                case CallEntry():
                    self.calls += 1
                    self.logins += entry.name in _LOGINS
                    self._open[entry.call] = entry.name
                case ReturnEntry():
                    self._open.pop(entry.call, None)
                    self.last = f"{entry.name} {name_of(CKR, entry.value)}"
                    if self.marked and entry.value != CKR.OK:
                        self.failures[self.last] += 1
                    if entry.name in _LOGINS and entry.value == CKR.OK:
                        self._accept(logins=1)
                case ApduEntry():
                    self.apdus += 1
                    if (
                        entry.command[1:2] == bytes([INS.VERIFY])
                        and entry.command_length > _HEADER
                        and entry.status != SW.INS_NOT_SUPPORTED
                    ):
                        self.verifies += 1
                        self.strange += entry.card != self._card
                        if entry.status == SW.OK:
                            self._accept(verifies=1)
                case EventEntry():
                    if entry.change in _ENDS_LOGINS:
                        self.repeats.append(RepeatedLogins())

    def mark(self) -> None:
        """Record that the action begins."""
        with self._lock:
            self.marked = True

    @property
    def open_calls(self) -> list[str]:
        """Return the calls that have not returned."""
        with self._lock:
            return list(self._open.values())

    def records(self) -> list[Record]:
        """Return the time line. What had to be left out is a record `lost`."""
        with self._lock:
            entries, left_out = [*self._earlier, *self._later], self._left_out
        records = [as_record(each) for each in sorted(entries)]
        return records + [{"kind": "lost", "count": left_out, "time": 0.0}] * bool(left_out)

    def _accept(self, logins: int = 0, verifies: int = 0) -> None:
        """Count what was accepted, if logins have ended before it."""
        if self.repeats:
            last = self.repeats[-1]
            self.repeats[-1] = RepeatedLogins(last.logins + logins, last.verifies + verifies)

    def _keep(self, entry: Entry) -> None:
        if not self.marked:
            self._earlier.append(entry)
        elif len(self._later) < self._most:
            self._later.append(entry)
        else:
            self._left_out += 1
