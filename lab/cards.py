# SPDX-License-Identifier: MIT
"""What is on a card image, for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..card import certificates, tlv
from ..card.profiles import open_card
from ..card.tables import (
    ATTESTATION,
    ATTESTATION_CERTIFICATE,
    CHUID,
    PIN,
    PUK,
    SLOTS,
    TRAITS_OBJECT,
    Algorithm,
    PinRule,
    Slot,
)
from ..card.traits import Traits

_SLOTS = SLOTS | {ATTESTATION: Slot("Attestation", PinRule.NEVER, ATTESTATION_CERTIFICATE)}


def describe(path: Path, passphrase: bytes | None = None) -> dict[str, Any]:
    """Name, profile, serial, tries, memory, traits, and keys with their certificates. Raises ImageError."""
    card = open_card(path, passphrase)
    try:
        state = card.store.state
        guid = dict(tlv.decode(state.objects.get(CHUID, b""))).get(0x34, b"")
        return {
            "name": card.name,
            "profile": card.profile,
            "serial": guid[-8:].hex().upper() or str(int.from_bytes(state.serial[-4:], "big")),
            "atr": card.atr.hex().upper(),
            "pin_tries": state.references[PIN].tries,
            "puk_tries": state.references[PUK].tries,
            "capacity": state.capacity,
            "used": state.used,
            "traits": json.loads(Traits.decode(state.objects.get(TRAITS_OBJECT)).encode()),
            "keys": [
                {
                    "slot": f"{number:02X}",
                    "purpose": slot.name,
                    "algorithm": Algorithm(state.keys[number].algorithm).name,
                    "pin": state.keys[number].pin_rule.value,
                    "certificate": _subject(state.objects.get(slot.certificate)),
                }
                for number, slot in _SLOTS.items()
                if number in state.keys
            ],
        }
    finally:
        card.close()


def _subject(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        subject = x509.load_der_x509_certificate(certificates.decode(value)).subject
        return subject.rfc4514_string({NameOID.SERIAL_NUMBER: "serialNumber"})
    except ValueError:
        return "a certificate that cannot be read"
