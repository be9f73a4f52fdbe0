# SPDX-License-Identifier: MIT
"""What `status` says of a reader (docs/control.md)."""

from __future__ import annotations

from typing import Any

from ...card.applet.piv_card import ForeignCard, PivCard
from ...reader.pcsc.vpcd_slots import VpcdSlots
from ...reader.reader import Reader
from .from_pcsc import FromPcsc


def of_reader(reader: Reader, slots: VpcdSlots | None, from_pcsc: FromPcsc) -> dict[str, Any]:
    """Return its card, and how it is connected to PC/SC. The caller holds the testbed's lock."""
    insertion = reader.insertion
    card = None if insertion is None else insertion.card
    adapter = None if slots is None else slots.adapter_of(reader)
    return {
        "name": reader.name,
        "card": None if card is None else card.name,
        "profile": card.profile if isinstance(card, PivCard | ForeignCard) else None,
        "atr": None if insertion is None else insertion.atr.hex().upper(),
        "contactless": reader.is_contactless,
        "pcsc": None if adapter is None else {"port": adapter.port, "shown": adapter.is_shown},
        "from_pcsc": from_pcsc.name_of(reader.name),
    }
