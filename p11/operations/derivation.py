# SPDX-License-Identifier: MIT
"""New secrets from old ones: key agreement and the simple derivations (PKCS #11 3.1, 6.3.17 to 6.43)."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from .. import curves
from ..constants import CKD, CKF, CKM, CKR
from ..curves import MontgomeryPublicKey
from ..errors import P11Error
from ..keys import PrivateKey
from ..mechanisms import DIGESTS, MechanismRule, Scheme
from ..wire import Mechanism
from . import parameters
from .ciphers import block_cipher

_ECDH1 = struct.Struct("@5L")
_X9_42_DH1 = struct.Struct("@5L")
_HKDF = struct.Struct("@2B6x7L")

_Kdf = type[X963KDF] | type[ConcatKDFHash]
_KDF_HASHES = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512")
_KDFS: dict[int, tuple[_Kdf, str]] = {
    **{CKD[f"{name}_KDF"]: (X963KDF, name.lower()) for name in _KDF_HASHES},
    **{CKD[f"{name}_KDF_SP800"]: (ConcatKDFHash, name.lower()) for name in _KDF_HASHES},
}
"""X9.63, and the one-step function of SP 800-56C (4), each with hashlib's name of the hash."""


def agreed(key: PrivateKey, mechanism: Mechanism, wanted: int | None) -> bytes:
    """ECDH1: the shared secret, cut from the left to `wanted` bytes, or stretched by a KDF to as many.

    Raises P11Error: MECHANISM_PARAM_INVALID also for a point that is not on the curve; CardRemoved.
    """
    if len(mechanism.parameter) != _ECDH1.size or len(mechanism.pointers) != 2:
        raise parameters.invalid()
    kdf = _ECDH1.unpack(mechanism.parameter)[0]
    shared, given = mechanism.pointers
    point = curves.bare_point(given)
    public = key.public
    if not isinstance(public, ec.EllipticCurvePublicKey | MontgomeryPublicKey):
        raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
    size = curves.of_key(public).size
    lengths = (1 + 2 * size, 1 + size) if isinstance(public, ec.EllipticCurvePublicKey) else (size,)
    if len(point) not in lengths or (kdf == CKD.NULL and shared) or (kdf != CKD.NULL and kdf not in _KDFS):
        raise parameters.invalid()
    if kdf == CKD.NULL and wanted is not None and not 1 <= wanted <= size:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    try:
        secret = key.agree(point)
    except P11Error as error:
        # A point that is not on the curve is the parameter's fault, and the only thing a card complains of.
        raise parameters.invalid() if error.value is CKR.DATA_INVALID else error from None
    if kdf == CKD.NULL:
        return secret[len(secret) - (wanted or len(secret)) :]
    stretch, name = _KDFS[kdf]
    digest = parameters.HASHES[name]
    try:
        return stretch(digest, wanted or digest.digest_size, shared or None).derive(secret)
    except ValueError:
        raise P11Error(CKR.KEY_SIZE_RANGE) from None


def agreed_in_field(key: PrivateKey, rule: MechanismRule, mechanism: Mechanism, wanted: int | None) -> bytes:
    """DH_PKCS_DERIVE and X9_42_DH_DERIVE without a KDF: the shared secret, cut from the left to `wanted` bytes.

    Raises P11Error: MECHANISM_PARAM_INVALID also for a value that is none of the domain, KEY_SIZE_RANGE.
    """
    given = mechanism.parameter
    if rule.type == CKM.X9_42_DH_DERIVE:
        if len(given) != _X9_42_DH1.size or len(mechanism.pointers) != 2 or _X9_42_DH1.unpack(given)[0] != CKD.NULL:
            raise parameters.invalid()
        shared, given = mechanism.pointers
        if shared:
            raise parameters.invalid()
    try:
        secret = key.agree(given)
    except P11Error as error:
        raise parameters.invalid() if error.value is CKR.DATA_INVALID else error from None
    if wanted is not None and not 1 <= wanted <= len(secret):
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return secret[len(secret) - (wanted or len(secret)) :]


def combined(rule: MechanismRule, mechanism: Mechanism, base: bytes, other: bytes) -> bytes:
    """The derivations from a secret key; `other` is the second key of a concatenation of keys."""
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
    """EXTRACT_KEY_FROM_KEY: `wanted` bytes from a bit on, round and round."""
    bits = 8 * len(base)
    if first_bit >= bits or not 1 <= wanted <= len(base):
        raise parameters.invalid() if first_bit >= bits else P11Error(CKR.KEY_SIZE_RANGE)
    number = int.from_bytes(base, "big")
    rotated = (number << first_bit | number >> (bits - first_bit)) & ((1 << bits) - 1)
    return rotated.to_bytes(len(base), "big")[:wanted]


def require_data(mechanism: Mechanism, base: bytes) -> None:
    """What a data object has to be that takes a key's place (6.62.3). Raises P11Error(MECHANISM_PARAM_INVALID ...)."""
    extract, _, digest, salt_type, *_ = _hkdf_fields(mechanism)
    if not extract or salt_type == CKF.HKDF_SALT_NULL:
        raise parameters.invalid()
    if len(base) != parameters.HASHES[DIGESTS[digest]].digest_size:
        raise P11Error(CKR.KEY_SIZE_RANGE)


def hkdf(mechanism: Mechanism, base: bytes, salt_key: bytes, wanted: int | None) -> bytes:
    """HKDF (RFC 5869): extract, expand, or both; as much as the hash gives where nothing is `wanted`."""
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
    """The handle of the key that is the salt, if it is one."""
    extract, _, _, salt_type, _, _, handle, *_ = _hkdf_fields(mechanism)
    return handle if extract and salt_type == CKF.HKDF_SALT_KEY else None


def _hkdf_fields(mechanism: Mechanism) -> tuple[int, ...]:
    """CK_HKDF_PARAMS, whose two flags say what is to be done. Raises P11Error(MECHANISM_PARAM_INVALID)."""
    if len(mechanism.parameter) != _HKDF.size or len(mechanism.pointers) != 2:
        raise parameters.invalid()
    fields = _HKDF.unpack(mechanism.parameter)
    if fields[2] not in DIGESTS or not (fields[0] or fields[1]):
        raise parameters.invalid()
    return fields


def _encrypted(rule: MechanismRule, mechanism: Mechanism, key: bytes) -> bytes:
    """ECB_ENCRYPT_DATA and CBC_ENCRYPT_DATA: the ciphertext of the data is the key."""
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
