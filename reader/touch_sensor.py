# SPDX-License-Identifier: MIT
"""The touch sensor of a card in a reader, operated by a script."""

from __future__ import annotations

import threading
from time import monotonic


class TouchSensor:
    """The sensor for one insertion. A touch is kept until a key takes it; two untaken ones count as one.

    Thread-safe; `touch` and `cancel` never wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_touched = False
        self._cancelled = 0
        self._taken_at: float | None = None
        self.is_awaited = False
        """Whether the card is waiting for a finger."""

    def touch(self) -> None:
        """Touch the sensor."""
        with self._changed:
            self._is_touched = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Discard all touches, and end the wait for one: the card loses power, or turns mute."""
        with self._changed:
            self._is_touched, self._taken_at = False, None
            self._cancelled += 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait for a touch and consume it. Returns False if none came, or the wait was cancelled."""
        with self._changed:
            before, self.is_awaited = self._cancelled, True
            try:
                self._changed.wait_for(lambda: self._is_touched or self._cancelled != before, seconds)
            finally:
                self.is_awaited = False
            if not self._is_touched or self._cancelled != before:
                return False
            self._is_touched, self._taken_at = False, monotonic()
            return True

    def was_touched(self, seconds: float) -> bool:
        """Return whether a touch was consumed within the last so many seconds."""
        with self._changed:
            return self._taken_at is not None and monotonic() - self._taken_at < seconds
