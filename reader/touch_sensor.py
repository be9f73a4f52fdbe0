# SPDX-License-Identifier: MIT
"""Where a finger touches the card in a reader: a person there, a script here."""

from __future__ import annotations

import threading
from time import monotonic


class TouchSensor:
    """The sensor for one stay of a card. A touch waits until a key asks for it; two that nobody takes are one.

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
        """Lay a finger on."""
        with self._changed:
            self._is_touched = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Forget every touch, and end the wait for one: the card loses its power, or says nothing any more."""
        with self._changed:
            self._is_touched, self._taken_at = False, None
            self._cancelled += 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Take a touch, waiting so long for it. False when none has come, or the wait was cancelled."""
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
        """Whether a touch has been taken within the last so many seconds."""
        with self._changed:
            return self._taken_at is not None and monotonic() - self._taken_at < seconds
