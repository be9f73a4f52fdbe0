# SPDX-License-Identifier: MIT
"""Certificates as people have them: each is broken in its own way, and all of them are one DER SEQUENCE."""

from __future__ import annotations

import random
from functools import cache

from cardtear.card import tlv
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P256_KEY = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
"""The key of all that have one."""

_SEQUENCE, _SET, _INTEGER, _BITS, _OCTETS, _OID, _UTF8, _UTC, _GENERALIZED = 48, 49, 2, 3, 4, 6, 12, 23, 24
_ECDSA = tlv.encode(_SEQUENCE, tlv.encode(_OID, bytes.fromhex("2A8648CE3D040302")))
_CN, _BASIC_CONSTRAINTS, _SAN = bytes.fromhex("550403"), bytes.fromhex("551D13"), bytes.fromhex("551D11")


def name(text: bytes, kind: int = _UTF8) -> bytes:
    """A Name with one common name, in any type of string."""
    attribute = tlv.encode(_SEQUENCE, tlv.encode(_OID, _CN), tlv.encode(kind, text))
    return tlv.encode(_SEQUENCE, tlv.encode(_SET, attribute))


def key_info(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = P256_KEY) -> bytes:
    """A SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate(
    *,
    version: bytes = tlv.encode(0xA0, b"\2\1\2"),
    serial: bytes = b"\2\1\5",
    issuer: bytes = name(b"issuer"),
    not_before: bytes = tlv.encode(_UTC, b"260101000000Z"),
    not_after: bytes = tlv.encode(_UTC, b"360101000000Z"),
    subject: bytes = name(b"subject"),
    key: bytes = key_info(),
    extensions: bytes = b"",
) -> bytes:
    """A certificate of these fields, each as DER; the signature is none."""
    validity = tlv.encode(_SEQUENCE, not_before, not_after)
    fields = (version, serial, _ECDSA, issuer, validity, subject, key, extensions)
    return tlv.encode(_SEQUENCE, tlv.encode(_SEQUENCE, *fields), _ECDSA, tlv.encode(_BITS, bytes(65)))


def extension(identifier: bytes, value: bytes) -> bytes:
    """The extensions of a certificate that has this one."""
    one = tlv.encode(_SEQUENCE, tlv.encode(_OID, identifier), tlv.encode(_OCTETS, value))
    return tlv.encode(0xA3, tlv.encode(_SEQUENCE, one))


def unknown_key(identifier: str, parameters: bytes = b"\5\0") -> bytes:
    """A SubjectPublicKeyInfo of an algorithm (OID contents) that nobody knows."""
    algorithm = tlv.encode(_SEQUENCE, tlv.encode(_OID, bytes.fromhex(identifier)), parameters)
    return tlv.encode(_SEQUENCE, algorithm, tlv.encode(_BITS, b"\0" + bytes(32)))


def huge_rsa() -> bytes:
    """A SubjectPublicKeyInfo with a modulus of 16384 bits."""
    numbers = tlv.encode(_INTEGER, b"\0\xc1" + bytes(2046) + b"\1"), tlv.encode(_INTEGER, b"\1\0\1")
    algorithm = tlv.encode(_SEQUENCE, tlv.encode(_OID, bytes.fromhex("2A864886F70D010101")), b"\5\0")
    return tlv.encode(_SEQUENCE, algorithm, tlv.encode(_BITS, b"\0" + tlv.encode(_SEQUENCE, *numbers)))


KINDS: dict[str, bytes] = {
    "good": certificate(),
    "negative serial": certificate(serial=b"\2\1\xfb"),
    "zero serial": certificate(serial=b"\2\1\0"),
    "serial of 30 bytes": certificate(serial=tlv.encode(_INTEGER, b"\x7f" * 30)),
    "serial with zeros before it": certificate(serial=b"\2\3\0\0\5"),
    "serial without bytes": certificate(serial=b"\2\0"),
    "version 7": certificate(version=tlv.encode(0xA0, b"\2\1\7")),
    "absurd version": certificate(version=tlv.encode(0xA0, tlv.encode(_INTEGER, b"\x7f" * 9))),
    "version that is no number": certificate(version=tlv.encode(0xA0, tlv.encode(_UTF8, b"three"))),
    "version 1 without saying so": certificate(version=b""),
    "empty subject": certificate(subject=tlv.encode(_SEQUENCE)),
    "empty issuer": certificate(issuer=tlv.encode(_SEQUENCE)),
    "both empty": certificate(subject=tlv.encode(_SEQUENCE), issuer=tlv.encode(_SEQUENCE)),
    "unknown key algorithm": certificate(key=unknown_key("2A0304055101")),
    "unknown curve": certificate(key=unknown_key("2A8648CE3D0201", tlv.encode(_OID, bytes.fromhex("2A03040551")))),
    "huge RSA key": certificate(key=huge_rsa()),
    "key that is none": certificate(key=tlv.encode(_SEQUENCE)),
    "point off the curve": certificate(key=key_info()[:-2] + b"\0\0"),
    "month 13": certificate(not_before=tlv.encode(_UTC, b"261301000000Z")),
    "dates that are none": certificate(not_before=tlv.encode(_UTC, b"tomorrow"), not_after=tlv.encode(_UTF8, b"later")),
    "year 0": certificate(not_before=tlv.encode(_GENERALIZED, b"00000101000000Z")),
    "year 9999": certificate(not_after=tlv.encode(_GENERALIZED, b"99991231235959Z")),
    "end before beginning": certificate(not_after=tlv.encode(_UTC, b"500101000000Z")),
    "BMP subject": certificate(subject=name("Zoë".encode("utf-16-be"), 30)),
    "half a BMP character": certificate(subject=name(b"\0Z\0", 30)),
    "universal string": certificate(subject=name("Zoë".encode("utf-32-be"), 28)),
    "teletex subject": certificate(subject=name(b"Zo\xeb", 20)),
    "printable string that is not": certificate(subject=name(b"a@b*c_\xff", 19)),
    "UTF-8 that is not": certificate(subject=name(b"\xff\xfe")),
    "escape sequences in the subject": certificate(subject=name(b"\x1b[31mred\x07\n")),
    "a number for a name": certificate(subject=name(b"\1\2", _INTEGER)),
    "trailing data in an extension": certificate(extensions=extension(_BASIC_CONSTRAINTS, b"\x30\0" + b"\1\2\3")),
    "an extension that is noise": certificate(extensions=extension(_SAN, b"noise")),
    "an alternative name of no kind": certificate(extensions=extension(_SAN, tlv.encode(_SEQUENCE, b"\x9f\x1f\0"))),
    "nothing in it": tlv.encode(_SEQUENCE),
    "another SEQUENCE": tlv.encode(_SEQUENCE, b"\2\1\1\2\1\2"),
}


@cache
def mutated(count: int, seed: int = 1) -> tuple[bytes, ...]:
    """A good certificate with one to three bytes changed behind the header of the outer SEQUENCE."""
    chance = random.Random(seed)
    good = certificate(extensions=extension(_BASIC_CONSTRAINTS, b"\x30\3\1\1\xff"))
    found = []
    for _ in range(count):
        changed = bytearray(good)
        for at in chance.choices(range(len(good) - len(tlv.read(good)[1]), len(good)), k=chance.randint(1, 3)):
            changed[at] = chance.randrange(256)
        found.append(bytes(changed))
    return tuple(found)
