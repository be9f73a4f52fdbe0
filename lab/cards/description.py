# SPDX-License-Identifier: MIT
"""The description of a card image that `cardtear card show` prints."""

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
    """Return name, profile, serial number, retry counters, memory, traits and keys with certificates of an image.

    Raises ImageError.
    """
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
    """Return the GUID in the CHUID (SP 800-73-5 part 1, 3.1.2); nothing if it cannot be read."""
    try:
        return dict(tlv.decode(chuid)).get(0x34, b"")
    except tlv.TlvError:
        return b""


def _slot(number: int, slot: KeySlot, state: CardState) -> dict[str, Any]:
    """Return the description of a key slot.

    `certificate` is the subject; `of_another_key` tells that the certificate is not for the key in the slot.
    """
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
