# SPDX-License-Identifier: MIT
"""The names that PKCS #11 has for curves: CKA_EC_PARAMS, CKA_EC_POINT and key types (3.1, 6.3)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ..card import tlv
from ..card.crypto import curves as table
from ..card.crypto.curves import Curve, CurveFamily, CurvePublicKey
from ..card.tables import Algorithm
from .constants import CKK, CKR
from .errors import P11Error

KEY_TYPES = {
    CurveFamily.WEIERSTRASS: CKK.EC,
    CurveFamily.EDWARDS: CKK.EC_EDWARDS,
    CurveFamily.MONTGOMERY: CKK.EC_MONTGOMERY,
}

# Other names that programs know the curves by: object identifiers from before RFC 8410, and a PrintableString whose
# length is wrong, which is what OpenSC 0.23's pkcs11-tool sends for curve25519.
_ALIASES = {
    bytes.fromhex("06092b06010401da470f01"): bytes.fromhex("06032b6570"),
    bytes.fromhex("060a2b060104019755010501"): bytes.fromhex("06032b656e"),
    b"\x13\x0bcurve25519": bytes.fromhex("06032b656e"),
}


def well_formed(parameters: bytes) -> bytes:
    """Return CKA_EC_PARAMS with its usual object identifier in place of another name."""
    return _ALIASES.get(parameters, parameters)


def named(parameters: bytes, key_type: int) -> Curve:
    """Return the curve that CKA_EC_PARAMS names, by object identifier or PrintableString (6.3.3).

    Raises P11Error: CURVE_NOT_SUPPORTED, DOMAIN_PARAMS_INVALID for what is no name, TEMPLATE_INCONSISTENT.
    """
    parameters = well_formed(parameters)
    try:
        tag, value, end = tlv.read(parameters)
        if end != len(parameters):
            raise P11Error(CKR.DOMAIN_PARAMS_INVALID)
        if tag == 0x13:
            known = table.BY_NAME.get(value.decode("ascii"))
        elif tag == 0x06:
            known = table.BY_PARAMETERS.get(parameters)
        else:
            raise P11Error(CKR.CURVE_NOT_SUPPORTED if tag == 0x30 else CKR.DOMAIN_PARAMS_INVALID)
    except (tlv.TlvError, UnicodeDecodeError):
        raise P11Error(CKR.DOMAIN_PARAMS_INVALID) from None
    if known is None:
        raise P11Error(CKR.CURVE_NOT_SUPPORTED)
    if KEY_TYPES[known.family] != key_type:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    return known


def of_algorithm(algorithm: Algorithm) -> Curve:
    """Return the curve of an algorithm identifier of PIV."""
    return table.BY_ALGORITHM[algorithm]


def of_key(public: CurvePublicKey) -> Curve:
    """Return the curve that a public key is on. Raises P11Error(CURVE_NOT_SUPPORTED)."""
    known = table.of_key(public)
    if known is None:
        raise P11Error(CKR.CURVE_NOT_SUPPORTED)
    return known


_POINT_LENGTHS = frozenset(
    2 * row.size + 1 if row.family is CurveFamily.WEIERSTRASS else row.size for row in table.CURVES
)
"""Bytes of points that may begin like an OCTET STRING: uncompressed ones, and those of the other curves."""


def bare_point(value: bytes) -> bytes:
    """Return the point in CKA_EC_POINT or a mechanism's parameter, which may be in a DER OCTET STRING or bare."""
    if len(value) in _POINT_LENGTHS:
        return value
    try:
        tag, inner, end = tlv.read(value)
    except tlv.TlvError:
        return value
    return inner if tag == 0x04 and end == len(value) else value


def hash_to_sign(data: bytes, size: int) -> tuple[bytes, Prehashed]:
    """Pad or cut a hash of the order's `size` bytes for the library. Raises P11Error(DATA_LEN_RANGE)."""
    try:
        return table.hash_to_sign(data, size)
    except ValueError:
        raise P11Error(CKR.DATA_LEN_RANGE) from None
