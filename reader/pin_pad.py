# SPDX-License-Identifier: MIT
"""A reader's PIN pad: what a person types there, a script types here. It changes under the testbed's lock only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Entry(NamedTuple):
    """What somebody did at the pad: typed a PIN, or pressed the red key."""

    pin: bytes
    cancelled: bool = False

    def __repr__(self) -> str:
        return f"Entry({'cancelled' if self.cancelled else len(self.pin)})"


class PinPad:
    """Entries wait until somebody asks for them; `askers` are woken by each."""

    def __init__(self) -> None:
        self.askers: set[Callable[[], None]] = set()
        self._entries: deque[Entry] = deque(maxlen=16)

    def enter(self, entry: Entry) -> None:
        """Somebody types. The caller holds the testbed's lock."""
        self._entries.append(entry)
        for asker in self.askers:
            asker()

    def take(self) -> Entry | None:
        """The oldest entry that nobody has taken. The caller holds the testbed's lock."""
        return self._entries.popleft() if self._entries else None
