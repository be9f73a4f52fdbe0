# SPDX-License-Identifier: MIT
"""A trigger: at a certain call or APDU, before or after it, a verb of the bench is carried out, once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..p11.calls import BY_NAME
from ..reader.events import ApduMoment, CallMoment, Moment, When

ARMABLE = ("remove", "unplug", "reset", "swap", "insert", "plug", "pin-pad")


class Trigger:
    """Fires at the `nth` moment that fits: a call by name, or an APDU by instruction byte (and reader).

    `verb` and `arguments` are a method of Simulator and what it is called with. Raises ValueError for a trigger that
    can never fire.
    """

    def __init__(
        self,
        verb: str,
        arguments: Mapping[str, Any],
        *,
        call: str | None = None,
        ins: int | None = None,
        nth: int = 1,
        when: str = "before",
        reader: str | None = None,
    ) -> None:
        if (call is None) == (ins is None):
            raise ValueError("a trigger is on a call or on an APDU: give one of 'call' and 'ins'")
        if call is not None and call not in BY_NAME:
            raise ValueError(f"there is no call {call!r}")
        if call is not None and reader is not None:
            raise ValueError("'reader' goes with 'ins'; a call belongs to no reader")
        if ins is not None and not 0 <= ins <= 0xFF:
            raise ValueError(f"an instruction byte is 00 to FF, not {ins:#x}")
        if nth < 1:
            raise ValueError(f"'nth' counts from 1, it cannot be {nth}")
        if when not in list(When):
            raise ValueError(f"'when' is 'before' or 'after', not {when!r}")
        if verb not in ARMABLE:
            raise ValueError(f"a trigger can do: {', '.join(ARMABLE)}; not {verb!r}")
        self.verb = verb
        self.arguments = dict(arguments)
        self._call = call
        self._ins = ins
        self._reader = reader
        self._when = When(when)
        self._left = nth
        self._lock = threading.Lock()

    def fires(self, moment: Moment) -> bool:
        """Whether this is the moment; counts the ones that fit."""
        if moment.when is not self._when or not self._fits(moment):
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def _fits(self, moment: Moment) -> bool:
        match moment:
            case CallMoment():
                return moment.name == self._call
            case ApduMoment():
                is_in_reader = self._reader in (None, moment.insertion.reader.name)
                return self._ins is not None and is_in_reader and moment.command[1:2] == bytes([self._ins])
