# SPDX-License-Identifier: MIT
"""The curves, as one table: names, object identifiers, the library's classes, and the card's algorithm identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x448, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ..tables import Algorithm
from . import curve_orders

WeierstrassKey = ec.EllipticCurvePrivateKey
EdwardsKey = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
MontgomeryKey = x25519.X25519PrivateKey | x448.X448PrivateKey
CurveKey = WeierstrassKey | EdwardsKey | MontgomeryKey

EdwardsPublicKey = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
MontgomeryPublicKey = x25519.X25519PublicKey | x448.X448PublicKey
CurvePublicKey = ec.EllipticCurvePublicKey | EdwardsPublicKey | MontgomeryPublicKey


class CurveFamily(Enum):
    """The form of a curve's equation, which determines the use of its keys."""

    WEIERSTRASS = auto()
    EDWARDS = auto()
    MONTGOMERY = auto()


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve. `parameters` is its object identifier in DER, `size` the bytes of a coordinate.

    `algorithm` is the card's identifier, None if no card has the curve. `group` is the library's curve, or its classes
    of private and public keys where each curve has its own.
    """

    name: str
    parameters: bytes
    family: CurveFamily
    size: int
    group: Any
    algorithm: Algorithm | None = None

    def generate(self) -> CurveKey:
        """Generate a private key."""
        if self.family is CurveFamily.WEIERSTRASS:
            return ec.generate_private_key(self.group)
        made: CurveKey = self.group[0].generate()
        return made

    def private(self, value: bytes) -> CurveKey:
        """Return the private key of its bytes. Raises ValueError for a number that makes no key."""
        if self.family is CurveFamily.WEIERSTRASS:
            return curve_orders.private_key(int.from_bytes(value, "big"), self.group)
        made: CurveKey = self.group[0].from_private_bytes(value)
        return made

    def public(self, point: bytes) -> CurvePublicKey:
        """Return the public key of a point. Raises ValueError for what is no point of the curve."""
        if self.family is CurveFamily.WEIERSTRASS:
            return ec.EllipticCurvePublicKey.from_encoded_point(self.group, point)
        made: CurvePublicKey = self.group[1].from_public_bytes(point)
        return made


# Name, object identifier, bytes of a coordinate.
_NIST = """
secp192r1       06082a8648ce3d030101   24
secp224r1       06052b81040021         28
secp256r1       06082a8648ce3d030107   32
secp384r1       06052b81040022         48
secp521r1       06052b81040023         66
secp256k1       06052b8104000a         32
brainpoolP256r1 06092b2403030208010107 32
brainpoolP384r1 06092b240303020801010b 48
brainpoolP512r1 06092b240303020801010d 64
"""

_GROUPS: dict[str, ec.EllipticCurve] = {
    curve.name: curve
    for curve in (
        ec.SECP192R1(),
        ec.SECP224R1(),
        ec.SECP256R1(),
        ec.SECP384R1(),
        ec.SECP521R1(),
        ec.SECP256K1(),
        ec.BrainpoolP256R1(),
        ec.BrainpoolP384R1(),
        ec.BrainpoolP512R1(),
    )
}
_ON_CARD = {
    "secp224r1": Algorithm.P224,
    "secp256r1": Algorithm.P256,
    "secp384r1": Algorithm.P384,
    "secp521r1": Algorithm.P521,
    "secp256k1": Algorithm.K256,
}

CURVES = [
    Curve(name, bytes.fromhex(identifier), CurveFamily.WEIERSTRASS, int(size), _GROUPS[name], _ON_CARD.get(name))
    for name, identifier, size in (line.split() for line in _NIST.strip().splitlines())
]
CURVES += [
    Curve(name, bytes.fromhex(identifier), kind, size, group, algorithm)
    for name, identifier, kind, size, group, algorithm in (
        (
            "edwards25519",
            "06032b6570",
            CurveFamily.EDWARDS,
            32,
            (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
            Algorithm.ED25519,
        ),
        (
            "edwards448",
            "06032b6571",
            CurveFamily.EDWARDS,
            57,
            (ed448.Ed448PrivateKey, ed448.Ed448PublicKey),
            Algorithm.ED448,
        ),
        (
            "curve25519",
            "06032b656e",
            CurveFamily.MONTGOMERY,
            32,
            (x25519.X25519PrivateKey, x25519.X25519PublicKey),
            Algorithm.X25519,
        ),
        (
            "curve448",
            "06032b656f",
            CurveFamily.MONTGOMERY,
            56,
            (x448.X448PrivateKey, x448.X448PublicKey),
            Algorithm.X448,
        ),
    )
]

BY_PARAMETERS = {row.parameters: row for row in CURVES}
BY_ALGORITHM = {row.algorithm: row for row in CURVES if row.algorithm is not None}
BY_NAME = {row.name: row for row in CURVES}
BY_NAME |= {"prime192v1": BY_NAME["secp192r1"], "prime256v1": BY_NAME["secp256r1"]}
_BY_CLASS = {row.group[1]: row for row in CURVES if row.family is not CurveFamily.WEIERSTRASS}

_DIGESTS = (hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def of_key(public: CurvePublicKey) -> Curve | None:
    """Return the curve that a public key is on, None for one that is not in the table."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        return BY_NAME.get(public.curve.name)
    return next((row for kind, row in _BY_CLASS.items() if isinstance(public, kind)), None)


def hash_to_sign(data: bytes, size: int) -> tuple[bytes, Prehashed]:
    """Pad or cut a hash of the order's `size` bytes to a length that the library takes.

    Raises ValueError for a number that fills more bytes than any hash has (secp521r1).
    """
    longest = _DIGESTS[-1].digest_size
    if size > longest:
        if any(data[: len(data) - longest]):
            raise ValueError("a number longer than any hash")
        data = data[-longest:]
    digest = next(each for each in _DIGESTS if each.digest_size >= min(size, longest))
    return data.ljust(digest.digest_size, b"\0"), Prehashed(digest)
