# SPDX-License-Identifier: MIT
"""A finger on the card, for which a key with a touch policy waits. The waiting itself and the clock are outside."""

from __future__ import annotations

from typing import Protocol

CACHED_SECONDS = 15.0
"""So long a touch is good for further uses of keys whose policy says so."""


class TouchSensor(Protocol):
    """Where the card feels a finger."""

    def wait(self, seconds: float) -> bool:
        """Take a touch, waiting for it. False when none has come, or the card's power has gone."""
        ...

    def was_touched(self, seconds: float) -> bool:
        """Whether a touch has been taken within the last so many seconds."""
        ...


class NoSensor:
    """A card that nobody can reach."""

    def wait(self, seconds: float) -> bool:
        """No touch ever comes, so there is nothing to wait for."""
        return False

    def was_touched(self, seconds: float) -> bool:
        """Never."""
        return False


NO_SENSOR = NoSensor()
