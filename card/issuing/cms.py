# SPDX-License-Identifier: MIT
"""Signed data (CMS, RFC 5652) as it lies on PIV cards: one signer on P-256, signed attributes, SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..tlv import encode

_INTEGER, _OCTET_STRING, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_SIGNED_DATA, _CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_SHA256, _ECDSA_WITH_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
_SIGNED_DATA_VERSION, _SIGNER_VERSION = b"\3", b"\1"

PIV_SIGNER = "2.16.840.1.101.3.6.5"
"""The attribute with the signer's name (SP 800-76-2, 9.3)."""


@dataclass(frozen=True)
class Signer:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def sign(
        self,
        content_type: str,
        content: bytes,
        attributes: Mapping[str, bytes] | None = None,
        is_detached: bool = True,
        with_certificate: bool = False,
    ) -> bytes:
        """Return a signed ContentInfo (DER). `attributes` are further signed attributes: their DER by OID."""
        name = self.certificate.subject.public_bytes()
        signed = {
            _CONTENT_TYPE: oid(content_type),
            _MESSAGE_DIGEST: encode(_OCTET_STRING, hashlib.sha256(content).digest()),
            PIV_SIGNER: name,
            **(attributes or {}),
        }
        encoded = b"".join(sorted(encode(_SEQUENCE, oid(kind), encode(_SET, value)) for kind, value in signed.items()))
        signature = self.key.sign(encode(_SET, encoded), ec.ECDSA(hashes.SHA256()))
        issuer = self.certificate.issuer.public_bytes()
        signer_info = encode(
            _SEQUENCE,
            encode(_INTEGER, _SIGNER_VERSION),
            encode(_SEQUENCE, issuer, integer(self.certificate.serial_number)),
            encode(_SEQUENCE, oid(_SHA256)),
            encode(0xA0, encoded),
            encode(_SEQUENCE, oid(_ECDSA_WITH_SHA256)),
            encode(_OCTET_STRING, signature),
        )
        wrapped = b"" if is_detached else encode(0xA0, encode(_OCTET_STRING, content))
        certificates = self.certificate.public_bytes(serialization.Encoding.DER)
        signed_data = encode(
            _SEQUENCE,
            encode(_INTEGER, _SIGNED_DATA_VERSION),
            encode(_SET, encode(_SEQUENCE, oid(_SHA256))),
            encode(_SEQUENCE, oid(content_type), wrapped),
            encode(0xA0, certificates) if with_certificate else b"",
            encode(_SET, signer_info),
        )
        return encode(_SEQUENCE, oid(_SIGNED_DATA), encode(0xA0, signed_data))


def security_object(hashes_by_group: Mapping[int, bytes]) -> bytes:
    """Return ICAO's LDSSecurityObject (Doc 9303 part 10, 4.6.2): SHA-256 digests by data group number."""
    groups = [
        encode(_SEQUENCE, integer(group), encode(_OCTET_STRING, digest)) for group, digest in hashes_by_group.items()
    ]
    return encode(_SEQUENCE, integer(0), encode(_SEQUENCE, oid(_SHA256)), encode(_SEQUENCE, *groups))


def integer(number: int) -> bytes:
    """Encode a non-negative INTEGER."""
    return encode(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def octets(value: bytes) -> bytes:
    """Encode an OCTET STRING."""
    return encode(_OCTET_STRING, value)


def oid(dotted: str) -> bytes:
    """Encode an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    return encode(_OID, b"".join(map(_base128, (40 * first + second, *rest))))


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))
