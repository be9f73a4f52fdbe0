# SPDX-License-Identifier: MIT
"""Key agreement and the simple derivations (PKCS #11 3.1, 6.3.17 to 6.43)."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from ...card.certificate_reader import elements
from ...card.crypto.curves import MontgomeryPublicKey
from .. import curves
from ..constants import CKD, CKF, CKM, CKR
from ..errors import P11Error
from ..keys import PrivateKey
from ..mechanisms import DIGESTS, MechanismRule, Scheme
from ..wire import Mechanism
from . import parameters
from .ciphers import block_cipher

_HKDF = struct.Struct("@2B6x7L")

_Stretch = Callable[[str, bytes, bytes, int], bytes]
"""From hashlib's name of a hash, a shared secret, the data that both sides know, and a length. Raises ValueError."""


def _by_class(kdf: type[X963KDF] | type[ConcatKDFHash]) -> _Stretch:
    return lambda name, secret, shared, length: kdf(parameters.HASHES[name], length, shared or None).derive(secret)


def in_asn1(name: str, secret: bytes, shared: bytes, length: int) -> bytes:
    """Stretch a secret by the function of X9.42 that counts within its data, an OtherInfo (RFC 2631, 2.1.2).

    Raises P11Error(MECHANISM_PARAM_INVALID) for other data.
    """
    outer = elements(shared)
    info = elements(outer[0].content) if outer and outer[0].whole == shared else []
    fields = elements(info[0].content) if info else []
    if [each.tag for each in fields] != [_IDENTIFIER, _OCTETS] or len(fields[1].content) != _COUNTER_LENGTH:
        raise parameters.invalid()
    at = len(shared) - len(outer[0].content) + len(info[0].whole) - _COUNTER_LENGTH
    blocks = -(-length // hashlib.new(name).digest_size)
    counted = (each.to_bytes(_COUNTER_LENGTH, "big") for each in range(1, blocks + 1))
    whole = (secret + shared[:at] + each + shared[at + _COUNTER_LENGTH :] for each in counted)
    return b"".join(hashlib.new(name, each).digest() for each in whole)[:length]


_IDENTIFIER, _OCTETS, _COUNTER_LENGTH = 6, 4, 4

_X9_63, _SP800_56C = _by_class(X963KDF), _by_class(ConcatKDFHash)
_KDF_HASHES = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512")
_CURVE_KDFS: dict[int, tuple[_Stretch, str]] = {
    **{CKD[f"{name}_KDF"]: (_X9_63, name.lower()) for name in _KDF_HASHES},
    **{CKD[f"{name}_KDF_SP800"]: (_SP800_56C, name.lower()) for name in _KDF_HASHES},
}
"""X9.63, and the one-step function of SP 800-56C (4), each with hashlib's name of the hash."""
_FIELD_KDFS: dict[int, tuple[_Stretch, str]] = {
    CKD.SHA1_KDF_ASN1: (in_asn1, "sha1"),
    CKD.SHA1_KDF_CONCATENATE: (_X9_63, "sha1"),
}
"""Those of X9.42; the one that concatenates is the same as X9.63's."""


def agreed(key: PrivateKey, mechanism: Mechanism, wanted: int | None) -> bytes:
    """Return the shared secret of ECDH1, cut from the left to `wanted` bytes or stretched by a KDF.

    Raises P11Error: MECHANISM_PARAM_INVALID also for a point that is not on the curve; CardRemoved.
    """
    given = parameters.agreement(mechanism, _CURVE_KDFS)
    point = curves.bare_point(given.public)
    public = key.public
    if not isinstance(public, ec.EllipticCurvePublicKey | MontgomeryPublicKey):
        raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
    size = curves.of_key(public).size
    lengths = (1 + 2 * size, 1 + size) if isinstance(public, ec.EllipticCurvePublicKey) else (size,)
    if len(point) not in lengths:
        raise parameters.invalid()
    if given.kdf == CKD.NULL:
        _require_length(wanted, size)  # before an APDU is sent
    return _secret(key, given._replace(public=point), _CURVE_KDFS, wanted)


def agreed_in_field(key: PrivateKey, rule: MechanismRule, mechanism: Mechanism, wanted: int | None) -> bytes:
    """Return the shared secret of DH_PKCS_DERIVE or X9_42_DH_DERIVE, cut from the left or stretched by a KDF.

    Raises P11Error: MECHANISM_PARAM_INVALID also for a value outside the domain, KEY_SIZE_RANGE.
    """
    if rule.type == CKM.X9_42_DH_DERIVE:
        given = parameters.agreement(mechanism, _FIELD_KDFS)
    else:
        given = parameters.Agreement(CKD.NULL, b"", mechanism.parameter)
    return _secret(key, given, _FIELD_KDFS, wanted)


def _secret(
    key: PrivateKey, given: parameters.Agreement, kdfs: Mapping[int, tuple[_Stretch, str]], wanted: int | None
) -> bytes:
    try:
        secret = key.agree(given.public)
    except P11Error as error:
        # A point that is not on the curve is the parameter's fault, and the only thing a card complains of.
        raise parameters.invalid() if error.value is CKR.DATA_INVALID else error from None
    if given.kdf == CKD.NULL:
        _require_length(wanted, len(secret))
        return secret[len(secret) - (wanted or len(secret)) :]
    stretch, name = kdfs[given.kdf]
    try:
        return stretch(name, secret, given.shared, wanted or parameters.HASHES[name].digest_size)
    except ValueError:
        raise P11Error(CKR.KEY_SIZE_RANGE) from None


def _require_length(wanted: int | None, most: int) -> None:
    if wanted is not None and not 1 <= wanted <= most:
        raise P11Error(CKR.KEY_SIZE_RANGE)


def combined(rule: MechanismRule, mechanism: Mechanism, base: bytes, other: bytes) -> bytes:
    """Derive from a secret key; `other` is the second key of a concatenation of keys."""
    match rule.scheme:
        case Scheme.CONCATENATE_KEY:
            return base + other
        case Scheme.CONCATENATE_DATA:
            return base + parameters.string(mechanism)
        case Scheme.PREPEND_DATA:
            return parameters.string(mechanism) + base
        case Scheme.XOR_DATA:
            return bytes(a ^ b for a, b in zip(base, parameters.string(mechanism), strict=False))
        case Scheme.HASH_KEY:
            parameters.none(mechanism)
            return hashlib.new(str(rule.digest), base).digest()
        case Scheme.ENCRYPT_DATA:
            return _encrypted(rule, mechanism, base)
        case Scheme.EXTRACT:
            return base
    raise P11Error(CKR.MECHANISM_INVALID)


def extracted(base: bytes, first_bit: int, wanted: int) -> bytes:
    """Return `wanted` bytes of the key from a bit on, cyclically (EXTRACT_KEY_FROM_KEY)."""
    bits = 8 * len(base)
    if first_bit >= bits or not 1 <= wanted <= len(base):
        raise parameters.invalid() if first_bit >= bits else P11Error(CKR.KEY_SIZE_RANGE)
    number = int.from_bytes(base, "big")
    rotated = (number << first_bit | number >> (bits - first_bit)) & ((1 << bits) - 1)
    return rotated.to_bytes(len(base), "big")[:wanted]


def require_data(mechanism: Mechanism, base: bytes) -> None:
    """Check a data object that is a base key (6.62.3). Raises P11Error(MECHANISM_PARAM_INVALID, KEY_SIZE_RANGE)."""
    extract, _, digest, salt_type, *_ = _hkdf_fields(mechanism)
    if not extract or salt_type == CKF.HKDF_SALT_NULL:
        raise parameters.invalid()
    if len(base) != parameters.HASHES[DIGESTS[digest]].digest_size:
        raise P11Error(CKR.KEY_SIZE_RANGE)


def hkdf(mechanism: Mechanism, base: bytes, salt_key: bytes, wanted: int | None) -> bytes:
    """Derive by HKDF (RFC 5869): extract, expand or both; without `wanted` as many bytes as the hash has."""
    extract, expand, kind, salt_type, *_ = _hkdf_fields(mechanism)
    salt, info = mechanism.pointers
    digest_name = DIGESTS[kind]
    digest = parameters.HASHES[digest_name]
    wanted = digest.digest_size if wanted is None else wanted
    if salt_type == CKF.HKDF_SALT_KEY:
        salt = salt_key
    elif salt_type == CKF.HKDF_SALT_NULL:
        salt = b""
    elif salt_type != CKF.HKDF_SALT_DATA and extract:
        raise parameters.invalid()
    try:
        if not expand:
            return hmac.new(salt or bytes(digest.digest_size), base, digest_name).digest()
        if not extract:
            return HKDFExpand(digest, wanted, info).derive(base)
        return HKDF(digest, wanted, salt or None, info).derive(base)
    except ValueError:
        raise P11Error(CKR.KEY_SIZE_RANGE) from None


def hkdf_salt_handle(mechanism: Mechanism) -> int | None:
    """Return the handle of the key that is the salt, None if the salt is no key."""
    extract, _, _, salt_type, _, _, handle, *_ = _hkdf_fields(mechanism)
    return handle if extract and salt_type == CKF.HKDF_SALT_KEY else None


def _hkdf_fields(mechanism: Mechanism) -> tuple[int, ...]:
    """Return the fields of CK_HKDF_PARAMS. Raises P11Error(MECHANISM_PARAM_INVALID)."""
    if len(mechanism.parameter) != _HKDF.size or len(mechanism.pointers) != 2:
        raise parameters.invalid()
    fields = _HKDF.unpack(mechanism.parameter)
    if fields[2] not in DIGESTS or not (fields[0] or fields[1]):
        raise parameters.invalid()
    return fields


def _encrypted(rule: MechanismRule, mechanism: Mechanism, key: bytes) -> bytes:
    """Return the data encrypted with the key (ECB_ENCRYPT_DATA, CBC_ENCRYPT_DATA)."""
    algorithm = block_cipher(rule, key)
    size = algorithm.block_size // 8
    if len(mechanism.pointers) != 1:
        raise parameters.invalid()
    (data,) = mechanism.pointers
    mode: Any = modes.ECB()
    if "CBC" in rule.type.name:
        if len(mechanism.parameter) < size:
            raise parameters.invalid()
        mode = modes.CBC(mechanism.parameter[:size])
    if not data or len(data) % size:
        raise parameters.invalid()
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()
