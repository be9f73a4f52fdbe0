# SPDX-License-Identifier: MIT
"""A reader's PIN pad, operated by a script. It changes under the testbed's lock only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Entry(NamedTuple):
    """One entry at the pad: a PIN, or the cancel key."""

    pin: bytes
    cancelled: bool = False

    def __repr__(self) -> str:
        return f"Entry({'cancelled' if self.cancelled else len(self.pin)})"


class PinPad:
    """Queue of entries that calls take; each entry wakes `askers`."""

    def __init__(self) -> None:
        self.askers: set[Callable[[], None]] = set()
        self._entries: deque[Entry] = deque(maxlen=16)

    def enter(self, entry: Entry) -> None:
        """Add an entry. The caller holds the testbed's lock."""
        self._entries.append(entry)
        for asker in self.askers:
            asker()

    def take(self) -> Entry | None:
        """Take the oldest entry. The caller holds the testbed's lock."""
        return self._entries.popleft() if self._entries else None
