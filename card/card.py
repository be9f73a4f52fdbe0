# SPDX-License-Identifier: MIT
"""What a reader needs of a card: activation (ISO/IEC 7816-3, 6), deactivation, and APDUs in between."""

from __future__ import annotations

from typing import Protocol

from .applet.touch import NO_SENSOR, TouchSensor


class CardTorn(Exception):
    """The contacts were lost while a command was running; nothing of it has reached the card's memory."""


class Activation(Protocol):
    """A card under power: everything volatile lives here and dies with it."""

    atr: bytes

    def transmit(self, command: bytes) -> bytes:
        """One command APDU to one response APDU, status word included. Never raises but CardTorn."""
        ...


class Card(Protocol):
    """A card that can be put into a reader. `name` is for people: traces, messages, `status`.

    One that `is_dead` will not answer in any reader any more.
    """

    name: str
    is_dead: bool

    @property
    def revision(self) -> int:
        """Another number whenever keys or data on the card have changed; never a smaller one."""
        ...

    @property
    def asks_for_touches(self) -> bool:
        """Whether a key that is on it now waits for a touch at the sensor of its activation."""
        ...

    @property
    def asks_at_the_pin_pad(self) -> bool:
        """Whether programs may have its PIN typed at the reader."""
        ...

    def activate(
        self, sensor: TouchSensor = NO_SENSOR, is_contactless: bool = False, is_warm: bool = False
    ) -> Activation:
        """Power up or reset: a new activation, in which no PIN is verified and no application has been selected.

        Keys that want a touch wait for it at the `sensor`, which has to end the wait when it takes the power away.
        A warm reset is one under power (ISO/IEC 7816-3, 6.2.3), to which a card may give another answer.
        Any activation given before is over: what still runs on it raises CardTorn and changes nothing.
        """
        ...

    def deactivate(self) -> None:
        """Take the power away. May be called from any thread at any time and does not wait."""
        ...
