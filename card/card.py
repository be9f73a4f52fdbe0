# SPDX-License-Identifier: MIT
"""The interface between readers and cards: activation (ISO/IEC 7816-3, 6), deactivation, and APDUs in between."""

from __future__ import annotations

from typing import Protocol

from .touch import NO_TOUCH_INPUT, TouchInput


class CardTorn(Exception):
    """Raised when power is lost while a command runs; nothing of the command has reached the card's memory."""


class Activation(Protocol):
    """A card under power, with all volatile state."""

    atr: bytes

    def transmit(self, command: bytes) -> bytes:
        """Carry out one command APDU and return the response APDU with its status word. Raises only CardTorn."""
        ...


class Card(Protocol):
    """A card that can be put into a reader. `name` is for people: traces, messages, `status`.

    A card that `is_dead` does not respond in any reader any more.
    """

    name: str
    is_dead: bool

    @property
    def revision(self) -> int:
        """Return a number that grows with each change of keys or data on the card."""
        ...

    @property
    def asks_for_touches(self) -> bool:
        """Return whether a key on the card waits for a touch at the sensor of its activation."""
        ...

    @property
    def asks_at_the_pin_pad(self) -> bool:
        """Return whether programs may have its PIN typed at the reader."""
        ...

    def activate(
        self, sensor: TouchInput = NO_TOUCH_INPUT, is_contactless: bool = False, is_warm: bool = False
    ) -> Activation:
        """Power up or reset: begin an activation, with no PIN verified and no application selected.

        Keys that want a touch wait for it at the `sensor`, which has to end the wait when it takes the power away.
        A warm reset is one under power (ISO/IEC 7816-3, 6.2.3), to which a card may respond with another ATR.
        Any activation given before is over: what still runs on it raises CardTorn and changes nothing.
        """
        ...

    def deactivate(self) -> None:
        """Remove power. May be called from any thread at any time and does not wait."""
        ...
