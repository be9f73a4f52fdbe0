# SPDX-License-Identifier: MIT
"""The touch sensor as keys with a touch policy see it. The clock and the waiting are outside the applet."""

from __future__ import annotations

from typing import Protocol

CACHED_SECONDS = 15.0
"""How long a touch is valid for further uses of keys with the policy CACHED."""


class TouchInput(Protocol):
    """Interface of a touch sensor."""

    def wait(self, seconds: float) -> bool:
        """Wait for a touch and take it. Returns False when none has come in time, or the card lost power."""
        ...

    def was_touched(self, seconds: float) -> bool:
        """Return whether a touch was taken within the last `seconds`."""
        ...


class NoTouchInput:
    """The sensor of a card that cannot be touched."""

    def wait(self, seconds: float) -> bool:
        """Return False at once: no touch can come."""
        return False

    def was_touched(self, seconds: float) -> bool:
        """Return False."""
        return False


NO_TOUCH_INPUT = NoTouchInput()
