# SPDX-License-Identifier: MIT
"""The triggers that are armed in a simulator: each fires at its moments, until it is over or taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ...reader.reader import ApduMoment, Event, Moment
from ...reader.testbed import Testbed
from .barriers import Barriers
from .faults import ACTS
from .moments import OnApdu, OnCall, OnEvent, OnPlace, OnSignal, OnTime
from .scheduler import Scheduler
from .trigger import Trigger
from .trigger_encoding import action_words


class Failure(NamedTuple):
    """A trigger that has fired and whose verb could not be carried out."""

    trigger: int
    do: str
    problem: str


class Heard(NamedTuple):
    """How many triggers wait for a signal, and those of them whose verb could not be carried out now."""

    waiting: int
    failures: list[Failure]


class Triggers:
    """By number. `carry_out` does a verb, or returns why it cannot; `acted` hears that a trigger has done its own, or
    begins its fault."""

    def __init__(
        self,
        testbed: Testbed,
        scheduler: Scheduler,
        barriers: Barriers,
        carry_out: Callable[[str, Mapping[str, Any]], str | None],
        acted: Callable[[Trigger], None],
    ) -> None:
        self._testbed, self._scheduler, self._barriers = testbed, scheduler, barriers
        self._carry_out, self._acted = carry_out, acted
        self._armed: dict[int, tuple[Trigger, Callable[[], None]]] = {}
        self._last = 0
        self._lock = threading.Lock()

    @property
    def armed(self) -> dict[int, Trigger]:
        """Return the triggers that are not over, by number."""
        with self._lock:
            return {number: trigger for number, (trigger, _) in self._armed.items()}

    def arm(self, trigger: Trigger) -> int:
        """Act when its moment comes; a number for `disarm`."""
        with self._lock:
            number = self._last = self._last + 1
            self._armed[number] = trigger, _nothing
        disarm = _nothing
        match trigger.on:
            case OnEvent():
                disarm = self._testbed.add_part(partial(self._hear, number, trigger))
            case OnTime(seconds=seconds):
                self._scheduler.enter(partial(self._act, number, trigger, None), seconds)
            case OnCall() | OnApdu() | OnPlace():
                watch = partial(self._act, number, trigger)
                self._testbed.watch(watch)
                disarm = partial(self._testbed.unwatch, watch)
        with self._lock:
            if number in self._armed:
                self._armed[number] = trigger, disarm
                return number
        disarm()  # it has fired already
        return number

    def disarm(self, number: int) -> bool:
        """Take a trigger back, and return whether it was not over yet. Raises ValueError for one that never was."""
        with self._lock:
            if not 1 <= number <= self._last:
                raise ValueError(f"there is no trigger {number}; {self._words()}")
            trigger, disarm = self._armed.pop(number, (None, _nothing))
        disarm()
        return trigger is not None

    def say(self, signal: str) -> Heard:
        """Fire the triggers that wait for a signal."""
        waiting = [each for each in self.armed.items() if each[1].on == OnSignal(signal)]
        failures = []
        for number, trigger in waiting:
            before = trigger.failed
            self._act(number, trigger, signal)
            if trigger.failed > before:
                failures.append(Failure(number, trigger.verb, str(trigger.problem)))
        return Heard(len(waiting), failures)

    def _words(self) -> str:
        return f"armed are: {', '.join(map(str, sorted(self._armed)))}" if self._armed else "none is armed"

    def _hear(self, number: int, trigger: Trigger, event: Event) -> None:
        """Take a change. Listeners hold the testbed's lock; what follows from a change comes after it."""
        if trigger.fires(event):
            self._scheduler.enter(partial(self._do, trigger))
            if trigger.is_over:
                self._scheduler.enter(partial(self.disarm, number))

    def _act(self, number: int, trigger: Trigger, moment: Moment | str | None) -> bytes | int | None:
        """Fire the triggers whose moment it is; return what a fault answers."""
        if not trigger.fires(moment):
            return None
        if trigger.is_over:
            self.disarm(number)
        fault = ACTS.get(trigger.verb)
        if fault is not None:
            reader = moment.insertion.reader.name if isinstance(moment, ApduMoment) else None
            self._testbed.trace.verb(trigger.verb, reader, action_words(trigger))
            self._acted(trigger)
            return fault(self._barriers, moment, **trigger.arguments)
        self._do(trigger)
        return None

    def _do(self, trigger: Trigger) -> None:
        problem = self._carry_out(trigger.verb, trigger.arguments)
        if problem is not None:
            trigger.problem = problem
            trigger.failed += 1
        self._acted(trigger)


def _nothing() -> None:
    """Do nothing: nothing has to be undone."""
