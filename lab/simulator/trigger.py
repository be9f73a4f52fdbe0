# SPDX-License-Identifier: MIT
"""A trigger: at a certain moment something is done: a verb of the testbed, or a fault at that call or APDU.

What is a moment here, and whether it has come; carrying it out is the simulator's part. The classes On... are plain
dataclasses, so that a scenario file can be checked against them.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from ...card.tables import ATTESTATION, INS, MANAGEMENT_KEY, SLOTS
from ...card.wording import meant
from ...p11.calls import BY_NAME, IN_MODULE
from ...reader.events import ApduMoment, CallMoment, Change, Event, Moment, When
from .call_counter import CallCounter, Place

_CHAINED = 0x10
_KEYED = frozenset({INS.GENERAL_AUTHENTICATE, INS.GENERATE_ASYMMETRIC_KEY_PAIR, INS.IMPORT_KEY})
"""Commands with a key slot in P2."""
_SLOTS = (*SLOTS, MANAGEMENT_KEY, ATTESTATION)


@dataclass(frozen=True)
class OnCall:
    """A PKCS #11 call: `call` is its name, also with * and ?; `application` the program's name, likewise.

    `thread` counts the application's threads from 1, in the order of their first calls. `during` is the moment at which
    the call sends its first APDU or begins to wait.
    """

    call: str
    when: Literal["before", "during", "after"] = "before"
    application: str = "*"
    thread: int | None = None

    def __post_init__(self) -> None:
        _check_caller(self.call, self.application)
        _check_choice("when", self.when, list(When))
        _check_count("thread", self.thread)


@dataclass(frozen=True)
class OnApdu:
    """An APDU with the instruction byte `ins`, of a key slot (`slot`, its P2), of one reader, of a call.

    `link` is the place in a chain, from 1: the n-th link of a chained command is about to reach the card. `call` and
    `application` are those for which it is sent, with * and ?. Without `ins` any APDU fits.
    """

    ins: int | None = None
    when: Literal["before", "after"] = "before"
    slot: int | None = None
    link: int | None = None
    reader: str | None = None
    call: str = "*"
    application: str = "*"

    def __post_init__(self) -> None:
        for name in ("ins", "slot"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"{name!r} is a number here, as 0x87, not {value!r}")
            if value is not None and not 0 <= value <= 0xFF:
                raise ValueError(f"{name!r} is a byte, 00 to FF, not {value:#x}")
        if self.slot is not None and self.slot not in _SLOTS:
            raise ValueError(
                f"{self.slot:02X} is no key slot; there are: {', '.join(f'{each:02X}' for each in _SLOTS)}"
            )
        if self.slot is not None and self.ins is not None and self.ins not in _KEYED:
            keyed = ", ".join(f"{each:02X}" for each in sorted(_KEYED))
            raise ValueError(f"an APDU with ins {self.ins:02X} has no key slot; those with {keyed} have one")
        _check_caller(self.call, self.application)
        _check_choice("when", self.when, ["before", "after"])
        _check_count("link", self.link)


@dataclass(frozen=True)
class OnEvent:
    """A change of the testbed (reader/events.py), of one reader or of any."""

    event: Literal["plug", "unplug", "insert", "remove", "reset", "logout", "close-sessions"]
    reader: str | None = None

    def __post_init__(self) -> None:
        _check_choice("event", self.event, list(Change))


@dataclass(frozen=True)
class OnSignal:
    """A script says a word: `cardtear signal NAME`, or the verb `signal` of the control channel."""

    signal: str

    def __post_init__(self) -> None:
        if not self.signal:
            raise ValueError("a signal is a word, not ''")


@dataclass(frozen=True)
class OnTime:
    """So many seconds after the trigger was armed."""

    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= 1e6:
            raise ValueError(f"'seconds' cannot be {self.seconds}")


@dataclass(frozen=True)
class OnPlace:
    """One certain call or APDU of a run (locator.py), whatever its threads do meanwhile. It is armed before the run."""

    place: Place
    when: Literal["before", "during", "after"] = "before"

    def __post_init__(self) -> None:
        _check_choice("when", self.when, ["before", "after"] if self.place.apdu is not None else list(When))
        for name in ("process", "thread", "nth", "apdu"):
            _check_count(name, getattr(self.place, name))


On = OnCall | OnApdu | OnEvent | OnSignal | OnTime | OnPlace


class Trigger:
    """Does `verb` with `arguments` (actions.py) from the `nth` moment on that fits, `times` times (None: always).

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
        **fields: Any,
    ) -> None:
        from .faults import check  # it needs this file's On

        if on is not None and fields:
            raise ValueError("give the moment as one value or by its fields, not both")
        self.on = on if on is not None else moment_of(fields)
        _check_count("nth", nth)
        _check_count("times", times)
        if not 0 < probability <= 1:
            raise ValueError(f"'probability' is above 0 and at most 1, not {probability}")
        if seed and probability == 1:
            raise ValueError("'seed' is for 'probability': with one of 1 nothing is left to chance")
        if isinstance(self.on, OnTime) and (nth, times, probability) != (1, 1, 1.0):
            raise ValueError("a time comes once: 'nth', 'times' and 'probability' do not go with 'seconds'")
        self.verb = verb
        self.arguments = dict(arguments or {})
        self.nth, self.times, self.probability, self.seed = nth, times, probability, seed
        check(self)
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
        """Whether it will never fire again."""
        return self.times is not None and self.fired >= self.times

    def fires(self, moment: Moment | Event | str | None) -> bool:
        """Whether this is the moment; counts the ones that fit. A string is a signal; None stands for the time."""
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
        if (on.ins is not None and ins != on.ins) or (on.slot is not None and (p2 != on.slot or ins not in _KEYED)):
            return False
        return (on.call == "*" and on.application == "*") or (moment.call is not None and _is_of(on, moment.call))


def moment_of(fields: Mapping[str, Any]) -> On:
    """The moment of its fields by name: the one kind that has them all. Raises ValueError."""
    for kind, key in _KEYS.items():
        if key in fields and not (kind is OnCall and "ins" in fields):  # an APDU may be one of a certain call
            try:
                on: On = kind(**fields)
                return on
            except TypeError as error:
                known = ", ".join(repr(each) for each in kind.__dataclass_fields__)
                odd = ", ".join(repr(each) for each in fields if each not in kind.__dataclass_fields__)
                if not odd:
                    raise ValueError(
                        f"{key!r} and what goes with it: a wrong type in {dict(fields)} ({error})"
                    ) from None
                raise ValueError(f"{odd} does not go with {key!r}, which takes {known}") from None
    given = f", not by {', '.join(map(repr, fields))}" if fields else ""
    raise ValueError(f"a moment is given by one of {', '.join(repr(key) for key in _KEYS.values())}{given}")


_KEYS: dict[type[Any], str] = {
    OnCall: "call",
    OnApdu: "ins",
    OnEvent: "event",
    OnSignal: "signal",
    OnTime: "seconds",
}
"""The field by which a kind of moment is known."""


def _is_of(on: OnCall | OnApdu, call: CallMoment) -> bool:
    program, _, _pid = call.application.rpartition("[")
    return fnmatchcase(call.name, on.call) and fnmatchcase(program, on.application)


def check_call(pattern: str, known: Iterable[str]) -> None:
    """Refuse a name with * and ? that no function has of those that can be seen. Raises ValueError."""
    known = list(known)
    if any(fnmatchcase(name, pattern) for name in known):
        return
    if any(fnmatchcase(name, pattern) for name in IN_MODULE):
        raise ValueError(f"{pattern!r} is answered in the module itself and cannot be waited for; choose another call")
    raise ValueError(f"there is no call {pattern!r}{meant(pattern, known)}")


def _check_caller(call: str, application: str) -> None:
    check_call(call, BY_NAME)
    if not application:
        raise ValueError("'application' is the name of a program, not ''")


def _check_count(name: str, value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{name!r} counts from 1, it cannot be {value!r}")


def _check_choice(name: str, value: str, choices: list[Any]) -> None:
    if value not in choices:
        *first, last = map(str, choices)
        raise ValueError(f"{name!r} is {', '.join(map(repr, first))} or {last!r}, not {value!r}")
