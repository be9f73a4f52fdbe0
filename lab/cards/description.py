# SPDX-License-Identifier: MIT
"""What is on a card image, for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...card import certificates, tlv
from ...card.applet.keys import belongs
from ...card.certificate_reader import read
from ...card.image.state import CardState
from ...card.image.store import read_image
from ...card.issuing import certificate_text
from ...card.shown import shown
from ...card.tables import (
    ATTESTATION,
    ATTESTATION_CERTIFICATE,
    CHUID,
    PIN,
    PUK,
    SLOTS,
    TRAITS_OBJECT,
    Algorithm,
    KeySlot,
    PinRule,
)
from ...card.token_traits import Traits
from ...p11 import image_objects

_SLOTS = SLOTS | {ATTESTATION: KeySlot("Attestation", PinRule.NEVER, ATTESTATION_CERTIFICATE)}


def describe(path: Path, passphrase: bytes | None = None) -> dict[str, Any]:
    """Name, profile, serial, tries, memory, traits, and keys with their certificates. Raises ImageError."""
    state = read_image(path, passphrase)
    guid = _guid(state.objects.get(CHUID, b""))
    return {
        "name": state.name,
        "profile": state.profile,
        "serial": guid[-8:].hex().upper() or str(int.from_bytes(state.serial[-4:], "big")),
        "atr": state.atr.hex().upper(),
        "pin_tries": state.references[PIN].remaining,
        "puk_tries": state.references[PUK].remaining,
        "capacity": state.capacity,
        "used": state.used,
        "traits": json.loads(Traits.decode(state.objects.get(TRAITS_OBJECT)).encode()),
        "keys": [
            _slot(number, slot, state)
            for number, slot in _SLOTS.items()
            if number in state.keys or state.objects.get(slot.certificate)
        ],
        "certificates": [
            {"label": shown(label), **certificate_text.describe(certificate)}
            for label, certificate in image_objects.certificates(state.objects)
        ],
    }


def _guid(chuid: bytes) -> bytes:
    """The card's number in the CHUID; empty for one that cannot be read."""
    try:
        return dict(tlv.decode(chuid)).get(0x34, b"")
    except tlv.TlvError:
        return b""


def _slot(number: int, slot: KeySlot, state: CardState) -> dict[str, Any]:
    """A key slot; `certificate` is the subject, `of_another_key` true for one that is not the key's."""
    key, value = state.keys.get(number), state.objects.get(slot.certificate)
    certificate = read(certificates.decode(value))
    told = None if certificate is None else certificate_text.describe(certificate)
    subject = "a certificate that cannot be read" if value else None
    return {
        "slot": f"{number:02X}",
        "purpose": slot.name,
        "algorithm": None if key is None else Algorithm(key.algorithm).name,
        "pin": None if key is None else key.pin_rule.value,
        "certificate": subject if told is None else told["subject"],
        "details": told,
        "of_another_key": certificate is not None and key is not None and not belongs(certificate, key),
    }
