# SPDX-License-Identifier: MIT
"""Readers of a simulator whose cards come from PC/SC."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ...reader.errors import ReaderOccupied, TestbedError
from ...reader.testbed import Testbed

if TYPE_CHECKING:
    from ...reader.pcsc.pcsc_card import PcscCard
    from ...reader.pcsc.pcsc_reader import PcscReader

_PATIENCE = 5.0
"""Seconds to wait for a first look at PC/SC."""


class NoPyscard(TestbedError):
    code = "no-pyscard"

    def __init__(self) -> None:
        super().__init__("cards of PC/SC need pyscard: pip install 'cardtear[pcsc]'")


class AttachedAlready(TestbedError):
    code = "attached-already"

    def __init__(self, reader: str) -> None:
        super().__init__(f"the cards of reader {reader!r} come from PC/SC already")


class NoCardInPcsc(TestbedError):
    code = "no-card-in-pcsc"

    def __init__(self, reader: str) -> None:
        super().__init__(f"PC/SC has no card for reader {reader!r} now")


class FromPcsc:
    """The adapters by the names of our readers. Each ends with `close`."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._adapters: dict[str, PcscReader] = {}
        self._lock = threading.Lock()

    def attach(self, reader: str, name: str, exclusive: bool) -> str | None:
        """Mirror the cards of the PC/SC reader with this name into `reader` from now on. Raises TestbedError.

        Returns when it has been looked for a first time: the name of the card, if there is one.
        """
        place = self._testbed.reader(reader)
        try:
            from ...reader.pcsc.pcsc_reader import PcscReader  # nobody else needs pyscard
        except ModuleNotFoundError as error:
            if error.name != "smartcard":
                raise
            raise NoPyscard from None
        with self._lock:
            if reader in self._adapters:
                raise AttachedAlready(reader)
            if (insertion := place.insertion) is not None:
                raise ReaderOccupied(reader, insertion.card.name, "remove it first")
            adapter = self._adapters[reader] = PcscReader(place, name, exclusive)
        adapter.ready.wait(_PATIENCE)
        return None if adapter.card is None else adapter.card.name

    def detach(self, reader: str) -> bool:
        """Take the card out of `reader`, and mirror no others. Returns False if it is not attached."""
        adapter = self._adapters.pop(reader, None)
        if adapter is not None:
            adapter.close()
        return adapter is not None

    def name_of(self, reader: str) -> str | None:
        """Return the name of the PC/SC reader mirrored into `reader`, "" for any; None if it is not attached."""
        adapter = self._adapters.get(reader)
        return None if adapter is None else adapter.wanted

    def card(self, reader: str) -> PcscCard | None:
        """Return the card to put back into an attached reader; None for another reader. Raises TestbedError."""
        adapter = self._adapters.get(reader)
        if adapter is None:
            return None
        card = adapter.card
        if card is None or card.is_lost:
            raise NoCardInPcsc(reader)
        return card

    def close(self) -> None:
        """Detach all."""
        for reader in list(self._adapters):
            self.detach(reader)
