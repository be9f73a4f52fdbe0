# SPDX-License-Identifier: MIT
"""A trigger: at a certain moment something is done: a verb of the testbed, or a fault at that call or APDU.

What is a moment (moments.py), and whether it has come; carrying it out is the simulator's part.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Unpack

from ...reader.events import CallMoment, When
from ...reader.reader import ApduMoment, Event, Moment
from .call_counter import CallCounter
from .faults import check_moment
from .moments import KEYED, MomentFields, On, OnApdu, OnCall, OnEvent, OnPlace, OnSignal, OnTime, check_count, moment_of
from .value_types import check
from .verbs import FAULTS, Parameter, Type

_CHAINED = 0x10
"""Of the class byte: more links of the chain follow (ISO/IEC 7816-4, 5.3.3)."""


class Trigger:
    """Does `verb` with `arguments` (verbs.py) from the `nth` moment on that fits, `times` times (None: always).

    With a `probability` below 1 each of these moments is one with that chance; the same `seed` gives the same moments.
    The moment is an On, or its fields by name. Raises ValueError for a trigger that can never fire.
    """

    def __init__(
        self,
        verb: str,
        arguments: Mapping[str, Any] | None = None,
        on: On | None = None,
        *,
        nth: int = 1,
        times: int | None = 1,
        probability: float = 1.0,
        seed: int = 0,
        **fields: Unpack[MomentFields],
    ) -> None:
        if on is not None and fields:
            raise ValueError("give the moment as one value or by its fields, not both")
        self.on = on if on is not None else moment_of(fields)
        check_count("nth", nth)
        check_count("times", times)
        if not 0 < probability <= 1:
            raise ValueError(f"'probability' is above 0 and at most 1, not {probability}")
        if seed and probability == 1:
            raise ValueError("'seed' is for 'probability': with one of 1 nothing is left to chance")
        if isinstance(self.on, OnTime) and (nth, times, probability) != (1, 1, 1.0):
            raise ValueError("a time comes once: 'nth', 'times' and 'probability' do not go with 'seconds'")
        self.verb = verb
        self.arguments = dict(arguments or {})
        self.nth, self.times, self.probability, self.seed = nth, times, probability, seed
        check_moment(verb, self.on)
        check(verb, self.arguments)
        if any(each.type is Type.SECONDS and not self.arguments[each.name] for each in _parameters_of_fault(verb)):
            raise ValueError(f"{verb!r} of no time does nothing; give seconds above 0")
        self.seen = 0
        """Moments that fitted."""
        self.fired = 0
        """How often it was time."""
        self.failed = 0
        """How often its verb could not be carried out then."""
        self.problem: str | None = None
        """Why not, the last time."""
        self._chance = random.Random(seed)
        self._threads: dict[str, dict[int, int]] = {}
        self._links: dict[str, int] = {}
        self._locator = CallCounter()
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Return whether it will never fire again."""
        return self.times is not None and self.fired >= self.times

    def fires(self, moment: Moment | Event | str | None) -> bool:
        """Return whether this is the moment, and count matches. A string is a signal; None stands for the time."""
        with self._lock:
            if self.is_over or not self._fits(moment):
                return False
            self.seen += 1
            if self.seen < self.nth or self._chance.random() >= self.probability:
                return False
            self.fired += 1
            return True

    def _fits(self, moment: Moment | Event | str | None) -> bool:
        match self.on, moment:
            case OnCall() as on, CallMoment():
                return self._is_call(on, moment)
            case OnApdu() as on, ApduMoment():
                return self._is_apdu(on, moment)
            case OnEvent() as on, Event():
                return moment.change == on.event and on.reader in (None, moment.reader.name)
            case OnSignal() as on, str():
                return moment == on.signal
            case OnPlace() as on, CallMoment() | ApduMoment():
                return self._locator.place(moment) == on.place and moment.when == on.when
            case OnTime(), None:
                return True
        return False

    def _is_call(self, on: OnCall, moment: CallMoment) -> bool:
        if on.thread is not None:
            threads = self._threads.setdefault(moment.application, {})
            if threads.setdefault(moment.thread, len(threads) + 1) != on.thread:
                return False
        return moment.when == on.when and _is_of(on, moment)

    def _is_apdu(self, on: OnApdu, moment: ApduMoment) -> bool:
        reader = moment.insertion.reader.name
        if on.reader not in (None, reader):
            return False
        cla, ins, _p1, p2 = moment.command[:4].ljust(4, b"\0")
        link = self._links.get(reader, 0) + 1
        if moment.when is When.AFTER:
            self._links[reader] = link if cla & _CHAINED else 0
        if moment.when != on.when or (on.link is not None and (on.link != link or not (cla & _CHAINED or link > 1))):
            return False
        if (on.ins is not None and ins != on.ins) or (on.slot is not None and (p2 != on.slot or ins not in KEYED)):
            return False
        return (on.call == "*" and on.application == "*") or (moment.call is not None and _is_of(on, moment.call))


def _is_of(on: OnCall | OnApdu, call: CallMoment) -> bool:
    program, _, _pid = call.application.rpartition("[")
    return fnmatchcase(call.name, on.call) and fnmatchcase(program, on.application)


def _parameters_of_fault(verb: str) -> tuple[Parameter, ...]:
    return FAULTS[verb].parameters if verb in FAULTS else ()
