# SPDX-License-Identifier: MIT
"""Barriers: what hangs waits at one by name, until it is opened, or who waits there is gone."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from ...reader.events import Waiting

if TYPE_CHECKING:
    from ...reader.reader import Event, Insertion
    from ...reader.testbed import Testbed


class Barriers:
    """The gates of one simulator, all closed. `open` lets through who waits now; `close` lets through everybody."""

    def __init__(self, testbed: Testbed) -> None:
        self._changed = threading.Condition()
        self._openings: dict[str, int] = {}
        self._waiting: dict[str, set[Waiting]] = {}
        self._cards: Counter[str] = Counter()
        """How many wait at each gate on a card's behalf."""
        self._is_over = False
        self._unsubscribe = testbed.add_part(self._hear)

    def open(self, gate: str) -> int:
        """Let through everybody who waits at the gate now, and return how many that are."""
        with self._changed:
            self._openings[gate] = self._openings.get(gate, 0) + 1
            self._wake()
            return self._cards[gate] + len(self._waiting.get(gate, ()))

    def close(self) -> None:
        """Release all calls, and block none from now on."""
        self._unsubscribe()
        with self._changed:
            self._is_over = True
            self._wake()

    def wait(self, gate: str, insertion: Insertion) -> None:
        """Wait at the gate on a card's behalf: until it is opened, or the card is gone."""
        with self._changed:
            before = self._openings.get(gate, 0)
            self._cards[gate] += 1
            self._changed.wait_for(lambda: self._has_opened(gate, before) or insertion.removed.is_set())
            self._cards[gate] -= 1

    def wait_for(self, gate: str, caller: Waiting) -> None:
        """Wait at the gate on a caller's behalf: until it is opened. Raises what `caller.wait` raises."""
        caller.prepare_to_wait()
        with self._changed:
            before = self._openings.get(gate, 0)
            self._waiting.setdefault(gate, set()).add(caller)
        try:
            while not self._has_opened(gate, before):
                caller.wait()
        finally:
            with self._changed:
                self._waiting[gate].discard(caller)

    def _has_opened(self, gate: str, before: int) -> bool:
        return self._is_over or self._openings.get(gate, 0) != before

    def _wake(self) -> None:
        self._changed.notify_all()
        for callers in self._waiting.values():
            for caller in callers:
                caller.wake()

    def _hear(self, event: Event) -> None:
        with self._changed:
            self._changed.notify_all()
