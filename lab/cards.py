# SPDX-License-Identifier: MIT
"""What is on a card image, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509

from ..card import tlv
from ..card.profiles import open_card
from ..card.tables import CHUID, PIN, PUK, SLOTS, Algorithm


def describe(path: Path) -> dict[str, Any]:
    """Name, profile, serial, tries, and keys with their certificates. Raises ImageError."""
    card = open_card(path)
    try:
        state = card.store.state
        guid = dict(tlv.decode(state.objects.get(CHUID, b""))).get(0x34, b"")
        return {
            "name": card.name,
            "profile": card.profile,
            "serial": guid[-8:].hex().upper(),
            "atr": card.atr.hex().upper(),
            "pin_tries": state.references[PIN].tries,
            "puk_tries": state.references[PUK].tries,
            "keys": [
                {
                    "slot": f"{number:02X}",
                    "purpose": slot.name,
                    "algorithm": Algorithm(state.keys[number].algorithm).name,
                    "certificate": _subject(state.objects.get(slot.certificate)),
                }
                for number, slot in SLOTS.items()
                if number in state.keys
            ],
        }
    finally:
        card.close()


def _subject(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return x509.load_der_x509_certificate(dict(tlv.decode(value))[0x70]).subject.rfc4514_string()
    except (ValueError, KeyError):
        return "a certificate that cannot be read"
