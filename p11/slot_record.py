# SPDX-License-Identifier: MIT
"""What an application's module has to know of its slots when the simulator has gone, in a file that outlives it.

The file has no name; the module gets a descriptor of it with the welcome, and reads it (csrc/slots.c) when it has lost
the simulator: which slots there are, in which a card was, and which events have not been told. So even what happened
after the application's last call is known, however the simulator ended.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .slots import Slot

_RECORD = struct.Struct("=QII112s")
_LISTED, _EVENT, _DROPPED = 1, 2, 4


class SlotRecord:
    """The file, from construction to `close`. Raises OSError when it cannot be had.

    A record never crosses a page, so that a process that is killed leaves the old one or the new one.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.memfd_create("cardtear-slots"), "r+b", buffering=0)

    def fileno(self) -> int:
        """The descriptor, for the module."""
        return self._file.fileno()

    def close(self) -> None:
        """Let go of it; the module keeps its own. Closable twice does no harm."""
        self._file.close()

    def write(self, slot: Slot, is_shown: bool) -> None:
        """Record the state of a slot as it is now, at its place."""
        state = _LISTED * slot.listed | _EVENT * slot.event | _DROPPED * (not is_shown)
        data = _RECORD.pack(slot.number, state, 0, slot.true_info)
        with contextlib.suppress(OSError, ValueError):  # no memory for it, or the application is over
            os.pwrite(self._file.fileno(), data, slot.place * _RECORD.size)
