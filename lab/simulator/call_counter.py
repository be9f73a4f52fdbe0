# SPDX-License-Identifier: MIT
"""Where in an application a moment lies, said so that the same place is found again in another run.

Calls are counted by function in each thread, threads and processes in the order of their first calls: which thread is
faster does not change where a call of the other one is.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ...reader.events import CallMoment, When
from ...reader.reader import ApduMoment, Moment


class Place(NamedTuple):
    """The `nth` call of `call` in a thread of a process of a program, and the `apdu`-th APDU in it; all from 1."""

    program: str
    process: int
    thread: int
    call: str
    nth: int
    apdu: int | None = None


class CallCounter:
    """Counts the moments of one run; shown all of them, from the first on, by one thread at a time."""

    def __init__(self) -> None:
        self._processes: dict[str, dict[str, int]] = {}
        self._threads: dict[str, dict[int, int]] = {}
        self._calls: Counter[tuple[str, int, str]] = Counter()
        self._apdus: Counter[int] = Counter()
        self._open: dict[int, Place] = {}

    def place(self, moment: Moment) -> Place | None:
        """Return the position of the moment; None for an APDU of no call, or of a call that began unseen."""
        if isinstance(moment, ApduMoment):
            return self._place_apdu(moment)
        if moment.when is When.BEFORE:
            self._open[moment.number] = self._begin(moment)
        elif moment.when is When.AFTER:
            self._apdus.pop(moment.number, None)
            return self._open.pop(moment.number, None)
        return self._open.get(moment.number)

    def _begin(self, call: CallMoment) -> Place:
        program = call.application.rpartition("[")[0]
        processes = self._processes.setdefault(program, {})
        process = processes.setdefault(call.application, len(processes) + 1)
        threads = self._threads.setdefault(call.application, {})
        thread = threads.setdefault(call.thread, len(threads) + 1)
        key = (call.application, thread, call.name)
        self._calls[key] += 1
        return Place(program, process, thread, call.name, self._calls[key])

    def _place_apdu(self, moment: ApduMoment) -> Place | None:
        call = self._open.get(moment.call.number) if moment.call is not None else None
        if call is None or moment.call is None:
            return None
        if moment.when is When.BEFORE:
            self._apdus[moment.call.number] += 1
        return call._replace(apdu=self._apdus[moment.call.number])
