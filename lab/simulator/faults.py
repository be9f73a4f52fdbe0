# SPDX-License-Identifier: MIT
"""What a trigger can do: the testbed's verbs, and faults at the call or APDU at which it fires.

A fault is a function of the moment; what it returns is the answer in place of the real one (reader/events.py). A fault
that takes time ends early when the card or the application goes.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from ...card.wording import meant
from ...p11.constants import CKR
from ...reader.events import CallMoment, Waiting
from ...reader.reader import ApduMoment, Moment
from .barriers import Barriers
from .moments import On, OnApdu, OnCall, OnPlace

VERBS = (
    "insert",
    "remove",
    "swap",
    "plug",
    "unplug",
    "reset",
    "logout",
    "close-sessions",
    "mute",
    "kill",
    "block-pin",
    "pin-pad",
    "touch",
    "release",
    "crash",
    "restart",
    "pcscd",
    "later",
)
"""Methods of Simulator that a trigger can call."""

IN_VAIN = {
    "touch": "no key on the card that is there asks for a touch",
    "pin-pad": "the card that is there has no PIN asked for at the PIN pad",
}
"""Verbs that return False when they can do nothing, and why that is."""

LONGEST_RESPONSE = 65538
"""Bytes of the longest response: 65536 of data, and the status word (ISO/IEC 7816-4, 5.1)."""

LONGEST_WAIT = 10**6
"""Seconds that may be waited for anything: eleven days."""

_DYING = 5.0
"""Seconds that an application may take to die of its signal; one that does not is answered after all."""


class Fault(NamedTuple):
    """A fault: what carries it out, with the gates and the moment first, and where it can be."""

    act: Callable[..., bytes | int | None]
    calls: tuple[str, ...] = ()
    apdus: tuple[str, ...] = ()


def answer(_gates: Barriers, _moment: ApduMoment, status: int, data: bytes = b"") -> bytes:
    """This response; before the APDU, the card never gets it."""
    return data + status.to_bytes(2, "big")


def garble(_gates: Barriers, moment: ApduMoment, count: int = 1, seed: int = 0) -> bytes:
    """`count` bytes of the response are other ones than the card sent; which, the seed says."""
    chance, response = random.Random(seed), bytearray(moment.response)
    for place in chance.sample(range(len(response)), min(count, len(response))):
        response[place] ^= chance.randint(1, 0xFF)
    return bytes(response)


def cut(_gates: Barriers, moment: ApduMoment, length: int = 0) -> bytes:
    """Only the first `length` bytes of the response arrive."""
    return moment.response[:length]


def give(_gates: Barriers, _moment: CallMoment, value: int) -> int:
    """This CK_RV; before the call, nothing of it is carried out."""
    return value


def delay(_gates: Barriers, moment: Moment, seconds: float) -> None:
    """It takes so much longer; after the APDU, the card had it and is slow to answer (waiting time extension)."""
    if isinstance(moment, ApduMoment):
        moment.insertion.removed.wait(seconds)
        return
    assert moment.caller is not None
    _wait(moment.caller, seconds)


def _wait(caller: Waiting, seconds: float) -> None:
    """Wait on a caller's behalf. Raises what `caller.wait` raises when it is gone."""
    deadline = monotonic() + seconds
    caller.prepare_to_wait()
    while (left := deadline - monotonic()) > 0:
        caller.wait(left)


def hang(gates: Barriers, moment: Moment, gate: str = "") -> None:
    """It does not go on until the gate is opened by `release`."""
    if isinstance(moment, ApduMoment):
        gates.wait(gate, moment.insertion)
    else:
        assert moment.caller is not None
        gates.wait_for(gate, moment.caller)


def crash_application(_gates: Barriers, moment: Moment) -> None:
    """The application dies of a segmentation fault, as when the middleware in it crashes; in the call, not after it."""
    call = moment if isinstance(moment, CallMoment) else moment.call
    if call is not None:
        os.kill(int(call.application.rpartition("[")[2].rstrip("]")), signal.SIGSEGV)
        if call.caller is not None:
            _wait(call.caller, _DYING)


_BOTH = ("before", "after")

FAULTS: dict[str, Fault] = {
    "answer": Fault(answer, apdus=_BOTH),
    "garble": Fault(garble, apdus=("after",)),
    "cut": Fault(cut, apdus=("after",)),
    "return": Fault(give, calls=_BOTH),
    "delay": Fault(delay, calls=("before", "during", "after"), apdus=_BOTH),
    "hang": Fault(hang, calls=("before", "during", "after"), apdus=_BOTH),
    "crash-application": Fault(crash_application, calls=("before", "during", "after"), apdus=_BOTH),
}
"""Faults by name, with the moments of calls and of APDUs at which they make sense."""


_RANGES: dict[str, tuple[float, float]] = {
    "status": (0, 0xFFFF),
    "count": (1, LONGEST_RESPONSE),
    "length": (0, LONGEST_RESPONSE),
    "value": (0, 2**64 - 1),
    "left": (0, 15),
    "seconds": (0, LONGEST_WAIT),
}
"""The least and the most that an argument can be."""

_LATER = (*VERBS, "signal", "attach-pcsc", "detach-pcsc", "apdu", "disarm")
"""What can be carried out later."""


def check(verb: str, arguments: dict[str, Any], on: On) -> None:
    """Raise ValueError for a verb that does not exist, or that its moment does not have, or that can do nothing."""
    for name, value in arguments.items():
        least, most = _RANGES.get(name, (0, 0))
        if name in _RANGES and not (isinstance(value, int | float) and least <= value <= most):
            raise ValueError(f"{name!r} of {verb!r} is {least} to {most}, not {value!r}")
    if verb == "later":
        _check_later("later", arguments)
    if verb in VERBS:
        return
    fault = FAULTS.get(verb)
    if fault is None:
        known = (*VERBS, *FAULTS)
        raise ValueError(f"a trigger cannot do {verb!r}{meant(verb, known) or ';'} it can do: {', '.join(known)}")
    if isinstance(on, OnCall) or (isinstance(on, OnPlace) and on.place.apdu is None):
        possible, what = fault.calls, "a call"
    elif isinstance(on, OnApdu | OnPlace):
        possible, what = fault.apdus, "an APDU"
    else:
        raise ValueError(f"{verb!r} is a fault of a call or an APDU; its moment is neither")
    if not possible:
        other = "an APDU, by its 'ins' (--ins, --apdu)" if fault.apdus else "a call, by its name (--call)"
        raise ValueError(f"{verb!r} is no fault of {what}; choose the moment of {other}")
    if on.when not in possible:
        remedy = f"; say {possible[0]!r} (--{possible[0]}, when: {possible[0]})" if len(possible) == 1 else ""
        raise ValueError(f"{verb!r} at {what} is possible {' or '.join(possible)}, not {on.when!r}{remedy}")
    _check_arguments(verb, arguments)
    if verb == "delay" and not arguments["seconds"]:
        raise ValueError("'delay' of no time does nothing; give seconds above 0")


def _check_later(verb: str, arguments: dict[str, Any]) -> None:
    if verb not in _LATER:
        raise ValueError(f"'later' cannot do {verb!r}{meant(verb, _LATER) or ';'} it can do: {', '.join(_LATER)}")
    if verb == "later":
        then = arguments.get("then")
        if not (isinstance(then, tuple) and len(then) == 2):
            raise ValueError(f"'then' of 'later' is a Request with a verb and its arguments, not {then!r}")
        _check_later(*then)


def _check_arguments(verb: str, arguments: dict[str, Any]) -> None:
    code = FAULTS[verb].act.__code__
    known = code.co_varnames[2 : code.co_argcount]
    needed = known[: len(known) - len(FAULTS[verb].act.__defaults__ or ())]
    odd = [each for each in arguments if each not in known] + [each for each in needed if each not in arguments]
    if odd:
        raise ValueError(
            f"{verb!r} takes {', '.join(map(repr, known)) or 'nothing'}; see to {', '.join(map(repr, odd))}"
        )


def return_value(text: str | int) -> int:
    """A CK_RV by number or by name, with or without CKR_. Raises ValueError."""
    if isinstance(text, int):
        return text
    name = text.removeprefix("CKR_")
    if name in CKR.__members__:
        return int(CKR[name])
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"there is no return value {text!r}{meant(text, _NAMES)}") from None


_NAMES = [f"CKR_{each}" for each in CKR.__members__]
