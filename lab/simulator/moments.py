# SPDX-License-Identifier: MIT
"""The moments at which a trigger may fire: plain dataclasses, against which a scenario file can be checked, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, TypedDict

from ...card.tables import ATTESTATION, INS, MANAGEMENT_KEY, SLOTS
from ...card.wording import meant
from ...p11.calls import BY_NAME, IN_MODULE
from ...reader.events import Change, When
from .call_counter import Place
from .verbs import LONGEST_WAIT

KEYED = frozenset({INS.GENERAL_AUTHENTICATE, INS.GENERATE_ASYMMETRIC_KEY_PAIR, INS.IMPORT_KEY})
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
        check_count("thread", self.thread)


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
        if self.slot is not None and self.ins is not None and self.ins not in KEYED:
            keyed = ", ".join(f"{each:02X}" for each in sorted(KEYED))
            raise ValueError(f"an APDU with ins {self.ins:02X} has no key slot; those with {keyed} have one")
        _check_caller(self.call, self.application)
        _check_choice("when", self.when, ["before", "after"])
        check_count("link", self.link)


@dataclass(frozen=True)
class OnEvent:
    """A change of the testbed (reader/events.py), of one reader or of any."""

    event: str
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
        if not 0 <= self.seconds <= LONGEST_WAIT:
            raise ValueError(f"'seconds' cannot be {self.seconds}")


@dataclass(frozen=True)
class OnPlace:
    """One certain call or APDU of a run (call_counter.py), whatever its threads do. It is armed before the run."""

    place: Place
    when: Literal["before", "during", "after"] = "before"

    def __post_init__(self) -> None:
        _check_choice("when", self.when, ["before", "after"] if self.place.apdu is not None else list(When))
        for name in ("process", "thread", "nth", "apdu"):
            check_count(name, getattr(self.place, name))


On = OnCall | OnApdu | OnEvent | OnSignal | OnTime | OnPlace


class MomentFields(TypedDict, total=False):
    """The fields of the moments above that are given by name, for type checkers."""

    call: str
    when: str
    application: str
    thread: int | None
    ins: int | None
    slot: int | None
    link: int | None
    reader: str | None
    event: str
    signal: str
    seconds: float


def moment_of(fields: Mapping[str, Any]) -> On:
    """Return the moment with these fields: the one kind that has them all. Raises ValueError."""
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


def check_count(name: str, value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{name!r} counts from 1, it cannot be {value!r}")


def _check_choice(name: str, value: str, choices: list[Any]) -> None:
    if value not in choices:
        *first, last = map(str, choices)
        raise ValueError(f"{name!r} is {', '.join(map(repr, first))} or {last!r}, not {value!r}")
