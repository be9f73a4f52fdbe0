# SPDX-License-Identifier: MIT
"""Content of PIV's data objects on ready-made cards (SP 800-73-5 part 1, chapter 3 and appendix A)."""

from __future__ import annotations

import hashlib
import random

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .. import certificates, tlv
from ..tables import (
    BIT_GROUP,
    CCC,
    CHUID,
    DISCOVERY,
    FACE,
    FINGERPRINTS,
    IRISES,
    KEY_HISTORY,
    PAIRING_CODE,
    PIV_AID,
    PRINTED_INFORMATION,
    SECURE_MESSAGING_SIGNER,
    SECURITY_OBJECT,
)
from . import biometrics, cms
from .ca import TestCA
from .cardholder import Cardholder
from .certificate_options import CertificateOptions
from .certificate_profiles import certify_issuer
from .cms import Signer

_CHUID_CONTENT, _LDS_CONTENT = "2.16.840.1.101.3.6.1", "1.3.27.1.1.1"
_ERROR_DETECTION_CODE = (0xFE, b"")

# The data groups of the security object: containers by the numbers of part 1, table 2. All but certificates.
_DATA_GROUPS = {
    1: (0xDB00, CCC),
    2: (0x3000, CHUID),
    3: (0x6010, FINGERPRINTS),
    4: (0x6030, FACE),
    5: (0x3001, PRINTED_INFORMATION),
    6: (0x1015, IRISES),
    7: (0x6050, DISCOVERY),
    8: (0x6060, KEY_HISTORY),
    9: (0x1016, BIT_GROUP),
    10: (0x1018, PAIRING_CODE),
}


def blank(person: Cardholder, pin_usage: bytes, retired: int = 0) -> dict[int, bytes]:
    """Return the objects that every card has, and the history of so many retired keys; unsigned."""
    return {
        CHUID: _chuid(person),
        CCC: _capabilities(person.guid),
        DISCOVERY: discovery(pin_usage),
        KEY_HISTORY: _key_history(retired),
    }


def few(person: Cardholder, signer: Signer, pin_usage: bytes, retired: int) -> dict[int, bytes]:
    """Return the objects that every card has, signed by the issuer."""
    return _secured(blank(person, pin_usage, retired) | {CHUID: _chuid(person, signer)}, signer)


def full(person: Cardholder, signer: Signer, pin_usage: bytes, retired: int) -> dict[int, bytes]:
    """Return all of the standard's objects but certificates, signed by the issuer, of realistic sizes."""
    chance = random.Random(person.guid)
    holder = biometrics.Holder(person.fasc_n, person.guid, person.issued, person.expires)
    objects = blank(person, pin_usage, retired) | {
        CHUID: _chuid(person, signer),
        FINGERPRINTS: fields((0xBC, biometrics.fingerprints(holder, signer, chance)), _ERROR_DETECTION_CODE),
        FACE: fields((0xBC, biometrics.face(holder, signer, chance)), _ERROR_DETECTION_CODE),
        IRISES: fields((0xBC, biometrics.irises(holder, signer, chance)), _ERROR_DETECTION_CODE),
        PRINTED_INFORMATION: _printed(person),
        BIT_GROUP: fields((0x02, b"\0")),  # no fingers are compared on the card
        SECURE_MESSAGING_SIGNER: certificate(signer.certificate),
        PAIRING_CODE: fields((0x99, f"{chance.randrange(10**8):08}".encode()), _ERROR_DETECTION_CODE),
    }
    return _secured(objects, signer)


def discovery(pin_usage: bytes) -> bytes:
    """Return the discovery object: application identifier and PIN usage policy (3.3.2), two bytes."""
    return fields((0x4F, PIV_AID), (0x5F2F, pin_usage))


def certificate(of: x509.Certificate, is_compressed: bool = False) -> bytes:
    """Return the data object of a certificate."""
    return certificates.encode(of.public_bytes(serialization.Encoding.DER), is_compressed)


def fields(*fields: tuple[int, bytes]) -> bytes:
    """Encode data objects one after the other."""
    return b"".join(tlv.encode(tag, value) for tag, value in fields)


def issuer(person: Cardholder, ca: TestCA, options: CertificateOptions) -> Signer:
    """Return a signer for the data objects of this card."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key, certify_issuer(ca, person, key.public_key(), options))


def _chuid(person: Cardholder, signer: Signer | None = None) -> bytes:
    """Return the CHUID; its signature covers all other fields, and carries the issuer's certificate."""
    content = (0x30, person.fasc_n), (0x34, person.guid), (0x35, f"{person.expires:%Y%m%d}".encode())
    to_sign = fields(*content, _ERROR_DETECTION_CODE)
    signature = b"" if signer is None else signer.sign(_CHUID_CONTENT, to_sign, with_certificate=True)
    return fields(*content, (0x3E, signature), _ERROR_DETECTION_CODE)


def _capabilities(guid: bytes) -> bytes:
    card_identifier = bytes.fromhex("A000000116 FF 02") + guid[:14]  # the issuer's RID, a Java card, its number
    nothing_more = (0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE)
    return fields(
        (0xF0, card_identifier),
        (0xF1, b"\x21"),
        (0xF2, b"\x21"),
        (0xF3, b""),
        (0xF4, b"\x00"),
        (0xF5, b"\x10"),
        *((tag, b"") for tag in nothing_more),
    )


def _key_history(on_card: int) -> bytes:
    """Return the key history for so many retired keys with certificates on the card (3.3.3)."""
    return fields((0xC1, bytes([on_card])), (0xC2, b"\0"), _ERROR_DETECTION_CODE)


def _printed(person: Cardholder) -> bytes:
    return fields(
        (0x01, person.printed_name.encode()),
        (0x02, b"EMPLOYEE"),
        (0x04, f"{person.expires:%Y%b%d}".upper().encode()),
        (0x05, person.guid[-5:].hex().upper().encode()),
        (0x06, b"999999999900001"),
        (0x07, b"cardtear"),
        (0x08, b"Test cards"),
        _ERROR_DETECTION_CODE,
    )


def _secured(objects: dict[int, bytes], signer: Signer) -> dict[int, bytes]:
    """Add the security object: containers by data group, and their signed digests (3.1.7).

    The content type is the one that PIV cards have, from the first version of the passports' standard.
    """
    groups = {group: (container, tag) for group, (container, tag) in _DATA_GROUPS.items() if tag in objects}
    mapping = b"".join(bytes([group]) + container.to_bytes(2, "big") for group, (container, _) in groups.items())
    digests = {group: hashlib.sha256(objects[tag]).digest() for group, (_, tag) in groups.items()}
    signed = signer.sign(_LDS_CONTENT, cms.security_object(digests), is_detached=False)
    return objects | {SECURITY_OBJECT: fields((0xBA, mapping), (0xBB, signed), _ERROR_DETECTION_CODE)}
