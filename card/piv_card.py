# SPDX-License-Identifier: MIT
"""The cards that go into readers: a PIV card over an image, and one that is something else."""

from __future__ import annotations

import logging
from pathlib import Path

from . import keys
from .applet import Applet
from .card import CardTorn
from .chaining import Chaining
from .status import SW
from .store import ImageError, Store
from .tables import INS

LOG = logging.getLogger(__name__)

_INTERNAL_ERROR = SW.INTERNAL_ERROR.to_bytes(2, "big")


class PivActivation:
    """A PIV card under power: the applet behind the transport layer."""

    def __init__(self, card: PivCard) -> None:
        self.atr = card.atr
        self._card = card
        self.applet = Applet(card.store, card.load_key)
        self._transport = Chaining(self.applet.execute).transmit

    def transmit(self, command: bytes) -> bytes:
        """One APDU. Raises CardTorn when the power was taken away before it was answered."""
        try:
            response = self._transport(command)
        except CardTorn:
            raise
        except Exception:
            LOG.exception("the card %s failed at a command", self._card.name)
            response = _INTERNAL_ERROR
        if self._card.activation is not self:
            raise CardTorn
        return response


class PivCard:
    """A PIV card whose memory is the image at `path`. Raises ImageError.

    `close` ends the card; until then no other process can open the image.
    """

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        properties = self.store.state.properties
        try:
            self.name = properties["name"].decode()
            self.profile = properties["profile"].decode()
            self.atr = properties["atr"]
        except (KeyError, UnicodeDecodeError):
            self.store.close()
            raise ImageError(f"{path} is damaged (no name or ATR); restore it from a copy or make a new one") from None
        self.activation: PivActivation | None = None
        self._loaded: dict[int, tuple[object, keys.PrivateKey]] = {}

    def activate(self) -> PivActivation:
        """Cold or warm reset: a new activation; the one before it can change nothing any more."""
        activation = PivActivation(self)
        self.activation = activation
        self.store.own(activation.applet)
        return activation

    def deactivate(self) -> None:
        """Take the power away, at any time and from any thread."""
        self.activation = None
        self.store.own(None)

    def load_key(self, slot: int) -> keys.PrivateKey | None:
        """The private key of a slot; unpacked once for as long as it is the same."""
        stored = self.store.state.keys.get(slot)
        if stored is None:
            return None
        loaded = self._loaded.get(slot)
        if loaded is None or loaded[0] is not stored:
            loaded = self._loaded[slot] = (stored, keys.load(stored.value, stored.algorithm))
        return loaded[1]

    def close(self) -> None:
        """Close the image."""
        self.deactivate()
        self.store.close()


class ForeignCard:
    """A card with no PIV application: another ATR, and nothing that can be selected."""

    def __init__(self, name: str, atr: bytes) -> None:
        self.name = name
        self.atr = atr
        self.profile = "unrecognised"

    def activate(self) -> ForeignCard:
        """There is nothing volatile."""
        return self

    def deactivate(self) -> None:
        """There is nothing to lose."""

    def transmit(self, command: bytes) -> bytes:
        """6A82 to SELECT, 6D00 to everything else."""
        selects = len(command) > 1 and command[1] == INS.SELECT
        return (SW.NOT_FOUND if selects else SW.INS_NOT_SUPPORTED).to_bytes(2, "big")

    def close(self) -> None:
        """There is nothing to close."""
