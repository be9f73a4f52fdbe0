# SPDX-License-Identifier: MIT
"""The cards that go into readers: a PIV card over an image, and one that is something else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from . import atr
from .applet.applet import PivApplet
from .applet.applications import Applet, Applications
from .applet.card_manager import CardManager
from .applet.chaining import ByteProtocol, Chaining
from .applet.context import Context
from .applet.device import Device
from .applet.keys import KeyRing
from .applet.touch import NO_SENSOR, TouchSensor
from .applet.variants import make_of_state
from .card import CardTorn
from .image.store import ImageError, NotWritten, Store
from .status import SW
from .tables import TRAITS_OBJECT, Touch
from .token_traits import Traits

LOG = logging.getLogger(__name__)

_INTERNAL_ERROR = SW.INTERNAL_ERROR.to_bytes(2, "big")


class PoweredCard:
    """One activation of a card: its applications behind the transport layer."""

    def __init__(self, card: PivCard | ForeignCard, applets: Sequence[Applet], answer: bytes) -> None:
        self.atr = answer
        self._card = card
        transport = ByteProtocol if atr.protocols(answer) == (0,) else Chaining
        self._transmit = transport(Applications(applets).execute).transmit

    def transmit(self, command: bytes) -> bytes:
        """One APDU. Raises CardTorn when the power was taken away before it was answered."""
        card = self._card
        if card.activation is not self:
            raise CardTorn
        try:
            response = self._transmit(command)
        except CardTorn:
            raise
        except Exception:
            if card.activation is self:
                LOG.exception("the card %s failed at a command", card.name)
            response = _INTERNAL_ERROR
        if card.activation is not self:
            raise CardTorn
        return response


class PivCard:
    """A PIV card whose memory is the image at `path`. Raises ImageError.

    `close` ends the card; until then nobody else can open the image. `activation` is the one that has the power.
    `applets` makes the applications that it has besides PIV and the card manager, anew for each activation.
    """

    def __init__(
        self, path: Path, passphrase: bytes | None = None, applets: Callable[[], Sequence[Applet]] = tuple
    ) -> None:
        self.store = Store(path, passphrase)
        self.make = make_of_state(self.store.state)
        self.name = self.store.state.name
        self.is_dead = False
        self.profile = self.store.state.profile
        self.atr = self.store.state.atr
        self.activation: PoweredCard | None = None
        self._applets = applets
        self._keys = KeyRing()
        self._context = Context(self.store, self._keys, self.make)

    @property
    def revision(self) -> int:
        """The number of changes of keys and data since the image was opened."""
        return self.store.revision

    def activate(
        self, sensor: TouchSensor = NO_SENSOR, is_contactless: bool = False, is_warm: bool = False
    ) -> PoweredCard:
        """Cold or warm reset: a new activation; the one before it can change nothing any more."""
        context = self._context = Context(self.store, self._keys, self.make, sensor, is_contactless)
        self.store.own(context)
        serial, version = self.store.state.serial, self.make.version
        applets: list[Applet] = [CardManager(serial), PivApplet(context)]
        applets += [Device(serial, version)] if version else []
        applets += self._applets()
        self.activation = PoweredCard(self, applets, self._answer(is_contactless, is_warm))
        return self.activation

    def _answer(self, is_contactless: bool, is_warm: bool) -> bytes:
        """To a warm reset the same as to a cold one, unless its traits say otherwise."""
        if is_contactless:
            return atr.contactless(self.atr)
        traits = Traits.decode(self.store.state.objects.get(TRAITS_OBJECT) if is_warm else None)
        return self.atr if traits.warm_atr is None else bytes.fromhex(traits.warm_atr)

    @property
    def asks_for_touches(self) -> bool:
        """Whether a key that is on it now wants a finger."""
        return any(key.touch is not Touch.NEVER for key in self.store.state.keys.values())

    @property
    def asks_at_the_pin_pad(self) -> bool:
        """Whether programs are to have its PIN typed at the reader."""
        return Traits.decode(self.store.state.objects.get(TRAITS_OBJECT)).pin_pad

    def set_tries(self, reference: int, left: int) -> None:
        """Leave so many tries to the PIN or PUK, as after wrong ones. Raises ValueError, CardTorn, ImageError."""
        now = self.store.state.references[reference]
        if not 0 <= left <= now.maximum:
            raise ValueError(f"of {now.maximum} tries {left} cannot be left")
        try:
            with self.store.together():
                self.store.count(self._context, reference, left)
        except NotWritten as error:
            raise ImageError(error.why) from None
        status = self._context.status
        self._context.status = replace(status, verified=status.verified - {reference}, verified_by=-1)

    def deactivate(self) -> None:
        """Take the power away, at any time and from any thread, without waiting."""
        self.store.owner = None
        self.activation = None

    def close(self) -> None:
        """Close the image."""
        self.deactivate()
        self.store.close()


class ForeignCard:
    """A card without PIV: another ATR, and nothing that can be selected."""

    profile = "unrecognised"
    revision = 0
    asks_for_touches = False
    asks_at_the_pin_pad = False

    def __init__(self, name: str, atr: bytes) -> None:
        self.name = name
        self.is_dead = False
        self.atr = atr
        self.activation: PoweredCard | None = None

    def activate(
        self, sensor: TouchSensor = NO_SENSOR, is_contactless: bool = False, is_warm: bool = False
    ) -> PoweredCard:
        """Reset; it has no keys that want a touch."""
        self.activation = PoweredCard(self, (), self.atr)
        return self.activation

    def deactivate(self) -> None:
        """Take the power away."""
        self.activation = None

    def close(self) -> None:
        """Nothing is kept, so nothing is open."""
        self.deactivate()
