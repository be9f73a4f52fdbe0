# SPDX-License-Identifier: MIT
"""The curves, as one table: what CKA_EC_PARAMS calls them, what the library makes of them, and which a card has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x448, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ..card import tlv
from ..card.applet import curve_orders
from ..card.tables import Algorithm
from .constants import CKK, CKR
from .errors import P11Error

WeierstrassKey = ec.EllipticCurvePrivateKey
EdwardsKey = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
MontgomeryKey = x25519.X25519PrivateKey | x448.X448PrivateKey
CurveKey = WeierstrassKey | EdwardsKey | MontgomeryKey

EdwardsPublicKey = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
MontgomeryPublicKey = x25519.X25519PublicKey | x448.X448PublicKey
CurvePublicKey = ec.EllipticCurvePublicKey | EdwardsPublicKey | MontgomeryPublicKey


@dataclass(frozen=True, slots=True)
class Curve:
    """One row. `size` is that of a coordinate in bytes; `algorithm` is the card's name, None if no card has it.

    `group` is the library's curve, or its classes of private and public keys where each curve has its own.
    """

    name: str
    parameters: bytes
    key_type: CKK
    size: int
    group: Any
    algorithm: Algorithm | None = None

    def generate(self) -> CurveKey:
        """A new private key in memory."""
        if self.key_type is CKK.EC:
            return ec.generate_private_key(self.group)
        made: CurveKey = self.group[0].generate()
        return made

    def private(self, value: bytes) -> CurveKey:
        """Of CKA_VALUE. Raises ValueError for a number that makes no key."""
        if self.key_type is CKK.EC:
            return curve_orders.private_key(int.from_bytes(value, "big"), self.group)
        made: CurveKey = self.group[0].from_private_bytes(value)
        return made

    def public(self, point: bytes) -> CurvePublicKey:
        """Raises ValueError for a point that is none."""
        if self.key_type is CKK.EC:
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

_ROWS = [
    Curve(name, bytes.fromhex(identifier), CKK.EC, int(size), _GROUPS[name], _ON_CARD.get(name))
    for name, identifier, size in (line.split() for line in _NIST.strip().splitlines())
]
_ROWS += [
    Curve(name, bytes.fromhex(identifier), kind, size, group, algorithm)
    for name, identifier, kind, size, group, algorithm in (
        (
            "edwards25519",
            "06032b6570",
            CKK.EC_EDWARDS,
            32,
            (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
            Algorithm.ED25519,
        ),
        (
            "edwards448",
            "06032b6571",
            CKK.EC_EDWARDS,
            57,
            (ed448.Ed448PrivateKey, ed448.Ed448PublicKey),
            Algorithm.ED448,
        ),
        (
            "curve25519",
            "06032b656e",
            CKK.EC_MONTGOMERY,
            32,
            (x25519.X25519PrivateKey, x25519.X25519PublicKey),
            Algorithm.X25519,
        ),
        ("curve448", "06032b656f", CKK.EC_MONTGOMERY, 56, (x448.X448PrivateKey, x448.X448PublicKey), Algorithm.X448),
    )
]

_BY_PARAMETERS = {row.parameters: row for row in _ROWS}
_BY_ALGORITHM = {row.algorithm: row for row in _ROWS if row.algorithm is not None}
_BY_GROUP = {row.group[1]: row for row in _ROWS if row.key_type is not CKK.EC}
# The names that CKA_EC_PARAMS may have instead of the object identifier (PKCS #11 3.1, 6.3.3).
_BY_NAME = {row.name: row for row in _ROWS}
_BY_NAME |= {"prime192v1": _BY_NAME["secp192r1"], "prime256v1": _BY_NAME["secp256r1"]}
# Other names that programs know the curves by: object identifiers from before RFC 8410, and a PrintableString whose
# length is wrong, which is what OpenSC 0.23's pkcs11-tool sends for curve25519.
_ALIASES = {
    bytes.fromhex("06092b06010401da470f01"): bytes.fromhex("06032b6570"),
    bytes.fromhex("060a2b060104019755010501"): bytes.fromhex("06032b656e"),
    b"\x13\x0bcurve25519": bytes.fromhex("06032b656e"),
}

_DIGESTS = (hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def well_formed(parameters: bytes) -> bytes:
    """CKA_EC_PARAMS by the name that everybody understands."""
    return _ALIASES.get(parameters, parameters)


def named(parameters: bytes, key_type: int) -> Curve:
    """What CKA_EC_PARAMS names. Raises P11Error: CURVE_NOT_SUPPORTED, DOMAIN_PARAMS_INVALID for what is no name."""
    parameters = well_formed(parameters)
    try:
        tag, value, end = tlv.read(parameters)
        if end != len(parameters):
            raise P11Error(CKR.DOMAIN_PARAMS_INVALID)
        if tag == 0x13:
            known = _BY_NAME.get(value.decode("ascii"))
        elif tag == 0x06:
            known = _BY_PARAMETERS.get(parameters)
        else:
            raise P11Error(CKR.CURVE_NOT_SUPPORTED if tag == 0x30 else CKR.DOMAIN_PARAMS_INVALID)
    except (tlv.TlvError, UnicodeDecodeError):
        raise P11Error(CKR.DOMAIN_PARAMS_INVALID) from None
    if known is None:
        raise P11Error(CKR.CURVE_NOT_SUPPORTED)
    if known.key_type != key_type:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    return known


def of_algorithm(algorithm: Algorithm) -> Curve:
    """The curve of a card's key."""
    return _BY_ALGORITHM[algorithm]


def of_key(public: CurvePublicKey) -> Curve:
    """The curve that a public key is on. Raises P11Error(CURVE_NOT_SUPPORTED)."""
    known = None
    if isinstance(public, ec.EllipticCurvePublicKey):
        known = _BY_NAME.get(public.curve.name)
    else:
        known = next((row for kind, row in _BY_GROUP.items() if isinstance(public, kind)), None)
    if known is None:
        raise P11Error(CKR.CURVE_NOT_SUPPORTED)
    return known


# Of points that can begin like an OCTET STRING: uncompressed ones, and those of the other curves.
_POINT_LENGTHS = frozenset(2 * row.size + 1 if row.key_type is CKK.EC else row.size for row in _ROWS)


def bare_point(value: bytes) -> bytes:
    """The point in CKA_EC_POINT or in a mechanism's parameter: in a DER OCTET STRING, or as it is."""
    if len(value) in _POINT_LENGTHS:
        return value
    try:
        tag, inner, end = tlv.read(value)
    except tlv.TlvError:
        return value
    return inner if tag == 0x04 and end == len(value) else value


def hash_to_sign(data: bytes, size: int) -> tuple[bytes, Prehashed]:
    """A hash of the order's `size` bytes as one of a length that the library takes; what is behind it does not count.

    Raises P11Error(DATA_LEN_RANGE) for what fills more bytes than any hash has (secp521r1).
    """
    longest = _DIGESTS[-1].digest_size
    if size > longest:
        if any(data[: len(data) - longest]):
            raise P11Error(CKR.DATA_LEN_RANGE)
        data = data[-longest:]
    digest = next(each for each in _DIGESTS if each.digest_size >= min(size, longest))
    return data.ljust(digest.digest_size, b"\0"), Prehashed(digest)
