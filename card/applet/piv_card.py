# SPDX-License-Identifier: MIT
"""The cards that go into readers: PivCard over an image, and ForeignCard without PIV."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from .. import atr
from ..card import CardTorn
from ..image.store import ImageError, NotWritten, Store
from ..status import SW
from ..tables import TRAITS_OBJECT, TouchPolicy
from ..token_traits import Traits
from ..touch import NO_TOUCH_INPUT, TouchInput
from .applet import PivApplet
from .applications import Applet, Applications
from .card_manager import CardManager
from .chaining import ByteProtocol, Chaining
from .context import CommandContext
from .device import Device
from .keys import KeyRing
from .variants import variant_of_state

LOG = logging.getLogger(__name__)

_INTERNAL_ERROR = SW.INTERNAL_ERROR.to_bytes(2, "big")


class PoweredCard:
    """One activation of a card: its applications behind the transport layer."""

    def __init__(self, card: PivCard | ForeignCard, applets: Sequence[Applet], reset_answer: bytes) -> None:
        self.atr = reset_answer
        self._card = card
        transport = ByteProtocol if atr.protocols(reset_answer) == (0,) else Chaining
        self._transmit = transport(Applications(applets).execute).transmit

    def transmit(self, command: bytes) -> bytes:
        """Carry out one APDU. Raises CardTorn when power was lost before the response."""
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
        self.variant = variant_of_state(self.store.state)
        self.name = self.store.state.name
        self.is_dead = False
        self.profile = self.store.state.profile
        self.atr = self.store.state.atr
        self.activation: PoweredCard | None = None
        self._applets = applets
        self._keys = KeyRing()
        self._context = CommandContext(self.store, self._keys, self.variant)

    @property
    def revision(self) -> int:
        """Return the number of changes of keys and data since the image was opened."""
        return self.store.revision

    def activate(
        self, sensor: TouchInput = NO_TOUCH_INPUT, is_contactless: bool = False, is_warm: bool = False
    ) -> PoweredCard:
        """Reset the card, cold or warm: begin an activation; the previous one cannot change anything any more."""
        context = self._context = CommandContext(self.store, self._keys, self.variant, sensor, is_contactless)
        self.store.own(context)
        serial, version = self.store.state.serial, self.variant.version
        applets: list[Applet] = [CardManager(serial), PivApplet(context)]
        applets += [Device(serial, version)] if version else []
        applets += self._applets()
        self.activation = PoweredCard(self, applets, self._atr_of_reset(is_contactless, is_warm))
        return self.activation

    def _atr_of_reset(self, is_contactless: bool, is_warm: bool) -> bytes:
        """Return the ATR, which is the same for a warm and a cold reset unless the card's traits differ."""
        if is_contactless:
            return atr.contactless(self.atr)
        traits = Traits.decode(self.store.state.objects.get(TRAITS_OBJECT) if is_warm else None)
        return self.atr if traits.warm_atr is None else bytes.fromhex(traits.warm_atr)

    @property
    def asks_for_touches(self) -> bool:
        """Return whether a key on the card requires touches."""
        return any(key.touch is not TouchPolicy.NEVER for key in self.store.state.keys.values())

    @property
    def asks_at_the_pin_pad(self) -> bool:
        """Return whether programs may have its PIN typed at the reader."""
        return Traits.decode(self.store.state.objects.get(TRAITS_OBJECT)).pin_pad

    def set_retry_counter(self, reference: int, left: int) -> None:
        """Set the retry counter of PIN or PUK, as wrong values would. Raises ValueError, CardTorn, ImageError."""
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
        """Remove power, at any time and from any thread, without waiting."""
        self.store.owner = None
        self.activation = None

    def close(self) -> None:
        """Deactivate the card and close its image."""
        self.deactivate()
        self.store.close()


class ForeignCard:
    """A card without PIV: another ATR, and no application to select."""

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
        self, sensor: TouchInput = NO_TOUCH_INPUT, is_contactless: bool = False, is_warm: bool = False
    ) -> PoweredCard:
        """Reset the card; it has no keys that require touches."""
        self.activation = PoweredCard(self, (), self.atr)
        return self.activation

    def deactivate(self) -> None:
        """Remove power."""
        self.activation = None

    def close(self) -> None:
        """Deactivate the card; there is no image to close."""
        self.deactivate()
