# SPDX-License-Identifier: MIT
"""The record of an application's slots that its module reads when the simulator has ended.

It is a file without a name. The module gets a descriptor of it with the welcome, and reads it (csrc/slots.c) after it
has lost the simulator: the slots, in which of them a card was, and the events not yet returned. So the module knows
what happened after the application's last call, however the simulator ended.
"""

from __future__ import annotations

import contextlib
import os
import struct

from .slots import Slot

_RECORD = struct.Struct("=QII112s")
_LISTED, _EVENT, _DROPPED = 1, 2, 4


class SlotRecord:
    """The file, from construction to `close`. Raises OSError when it cannot be created.

    A record never crosses a page, so that a process that is killed leaves the old one or the new one.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.memfd_create("cardtear-slots"), "r+b", buffering=0)

    def fileno(self) -> int:
        """Return the descriptor, to be sent to the module."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file; the module's descriptor of it stays open. May be called twice."""
        self._file.close()

    def write(self, slot: Slot, is_shown: bool) -> None:
        """Write the current state of a slot at its position; `is_shown` is false for a slot whose number is dropped."""
        state = _LISTED * slot.listed | _EVENT * slot.event | _DROPPED * (not is_shown)
        data = _RECORD.pack(slot.number, state, 0, slot.true_info)
        with contextlib.suppress(OSError, ValueError):  # no memory for it, or the application is over
            os.pwrite(self._file.fileno(), data, slot.record_position * _RECORD.size)
