# SPDX-License-Identifier: MIT
"""The faults of the table (verbs.py), each a function of the call or APDU at which it is.

What it returns takes the place of the real response or return value (reader/events.py). A fault that takes time ends
early when the card or the application goes. Each function has the name of its row.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from time import monotonic

from ...card.wording import meant
from ...reader.events import CallMoment, Waiting
from ...reader.reader import ApduMoment, Moment
from .barriers import Barriers
from .moments import On, OnApdu, OnCall, OnPlace
from .verbs import FAULTS, Use, usable

_DYING = 5.0
"""Seconds that an application may take to die of its signal; one that does not is answered after all."""


def answer(_barriers: Barriers, _moment: ApduMoment, status: int, data: bytes = b"") -> bytes:
    """Return this response; before the APDU, the card never gets it."""
    return data + status.to_bytes(2, "big")


def garble(_barriers: Barriers, moment: ApduMoment, count: int = 1, seed: int = 0) -> bytes:
    """Return the response with `count` bytes changed; which ones and how, `seed` decides."""
    chance, response = random.Random(seed), bytearray(moment.response)
    for place in chance.sample(range(len(response)), min(count, len(response))):
        response[place] ^= chance.randint(1, 0xFF)
    return bytes(response)


def cut(_barriers: Barriers, moment: ApduMoment, length: int = 0) -> bytes:
    """Return the first `length` bytes of the response."""
    return moment.response[:length]


def return_(_barriers: Barriers, _moment: CallMoment, value: int) -> int:
    """Return this CK_RV; before the call, nothing of it is carried out."""
    return value


def delay(_barriers: Barriers, moment: Moment, seconds: float) -> None:
    """Wait; after the APDU the card has had it, and its response comes late (waiting time extension)."""
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


def hang(barriers: Barriers, moment: Moment, gate: str = "") -> None:
    """Wait until the gate is opened by `release`, or the card or the application is gone."""
    if isinstance(moment, ApduMoment):
        barriers.wait(gate, moment.insertion)
    else:
        assert moment.caller is not None
        barriers.wait_for(gate, moment.caller)


def crash_application(_barriers: Barriers, moment: Moment) -> None:
    """End the application by a segmentation fault in the call, as when the middleware in it crashes."""
    call = moment if isinstance(moment, CallMoment) else moment.call
    if call is not None:
        os.kill(int(call.application.rpartition("[")[2].rstrip("]")), signal.SIGSEGV)
        if call.caller is not None:
            _wait(call.caller, _DYING)


ACTS: dict[str, Callable[..., bytes | int | None]] = {name: globals()[row.method] for name, row in FAULTS.items()}
"""What carries out each fault of the table; the barriers and the moment come first."""


def check_moment(verb: str, on: On) -> None:
    """Raise ValueError for a verb that no trigger can do, or a fault that its moment does not have."""
    possible = usable(Use.ARM)
    if verb in possible:
        return
    fault = FAULTS.get(verb)
    if fault is None:
        known = (*possible, *FAULTS)
        raise ValueError(f"a trigger cannot do {verb!r}{meant(verb, known) or ';'} it can do: {', '.join(known)}")
    if isinstance(on, OnCall) or (isinstance(on, OnPlace) and on.place.apdu is None):
        moments, what = fault.calls, "a call"
    elif isinstance(on, OnApdu | OnPlace):
        moments, what = fault.apdus, "an APDU"
    else:
        raise ValueError(f"{verb!r} is a fault of a call or an APDU; its moment is neither")
    if not moments:
        other = "an APDU, by its 'ins' (--ins, --apdu)" if fault.apdus else "a call, by its name (--call)"
        raise ValueError(f"{verb!r} is no fault of {what}; choose the moment of {other}")
    if on.when not in moments:
        remedy = f"; say {moments[0]!r} (--{moments[0]}, when: {moments[0]})" if len(moments) == 1 else ""
        raise ValueError(f"{verb!r} at {what} is possible {' or '.join(moments)}, not {on.when!r}{remedy}")
