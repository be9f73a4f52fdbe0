# SPDX-License-Identifier: MIT
"""Decoding of mechanism parameters. Everything here raises P11Error(MECHANISM_PARAM_INVALID)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Container
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes

from ...card.crypto.edwards import Variant
from ..constants import CKD, CKG, CKH, CKP, CKR, CKZ
from ..errors import P11Error
from ..mechanisms import DIGESTS
from ..wire import Mechanism, MessageParameter

_ULONG = struct.Struct("@L")
_PSS = struct.Struct("@3L")
_OAEP = struct.Struct("@5L")
_RSA_AES = struct.Struct("@2L")
_GCM = struct.Struct("@6L")
_NSS_GCM = struct.Struct("@5L")
_CCM = struct.Struct("@6L")
_CONTEXT = struct.Struct("@3L")
_EDDSA = struct.Struct("@?2L")
_CTR = struct.Struct("@L16s")
_CHACHA20 = struct.Struct("@4L")
_POLY1305 = struct.Struct("@4L")
_GCM_MESSAGE = struct.Struct("@6L")
_PBKD2 = struct.Struct("@9L")
_AGREEMENT = struct.Struct("@5L")

HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha512_224": hashes.SHA512_224(),
    "sha512_256": hashes.SHA512_256(),
    "sha3_224": hashes.SHA3_224(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}
"""By hashlib's names."""

MASKS: dict[int, str] = {
    CKG.MGF1_SHA1: "sha1",
    CKG.MGF1_SHA224: "sha224",
    CKG.MGF1_SHA256: "sha256",
    CKG.MGF1_SHA384: "sha384",
    CKG.MGF1_SHA512: "sha512",
    CKG.MGF1_SHA3_224: "sha3_224",
    CKG.MGF1_SHA3_256: "sha3_256",
    CKG.MGF1_SHA3_384: "sha3_384",
    CKG.MGF1_SHA3_512: "sha3_512",
}
"""The digests of mask generation functions, by hashlib's names."""

_LONGEST_SALT = 512
_LONGEST_CONTEXT = 255


_FUNCTIONS: dict[int, str] = {
    CKP.PKCS5_PBKD2_HMAC_SHA1: "sha1",
    CKP.PKCS5_PBKD2_HMAC_SHA224: "sha224",
    CKP.PKCS5_PBKD2_HMAC_SHA256: "sha256",
    CKP.PKCS5_PBKD2_HMAC_SHA384: "sha384",
    CKP.PKCS5_PBKD2_HMAC_SHA512: "sha512",
    CKP.PKCS5_PBKD2_HMAC_SHA512_224: "sha512_224",
    CKP.PKCS5_PBKD2_HMAC_SHA512_256: "sha512_256",
}
"""Of PBKDF2; that of GOST is missing."""

_MOST_ITERATIONS = 1 << 25
"""Of all blocks together: a minute or so."""


def invalid() -> P11Error:
    """Return the error that all functions of this file raise."""
    return P11Error(CKR.MECHANISM_PARAM_INVALID)


class Pss(NamedTuple):
    """CK_RSA_PKCS_PSS_PARAMS: hash and MGF hash by their names in hashlib, and the length of the salt."""

    digest: str
    mgf_digest: str
    salt_length: int


class Oaep(NamedTuple):
    """CK_RSA_PKCS_OAEP_PARAMS."""

    digest: str
    mgf_digest: str
    label: bytes


class Agreement(NamedTuple):
    """CK_ECDH1_DERIVE_PARAMS or CK_X9_42_DH1_DERIVE_PARAMS: `shared` is for the KDF, `public` the other side's key."""

    kdf: int
    shared: bytes
    public: bytes


class Password(NamedTuple):
    """CK_PKCS5_PBKD2_PARAMS2; the pseudo-random function by the name of its hash in hashlib."""

    digest: str
    password: bytes
    salt: bytes
    iterations: int

    def require_bounded(self, length: int) -> None:
        """Refuse a derivation that would take minutes: OpenSSL cannot be stopped, not even after a removal."""
        blocks = -(-length // HASHES[self.digest].digest_size)
        if self.iterations * blocks > _MOST_ITERATIONS:
            raise invalid()

    def stretched(self, length: int) -> bytes:
        """Derive as many bytes (PBKDF2; RFC 8018, 5.2)."""
        return hashlib.pbkdf2_hmac(self.digest, self.password, self.salt, self.iterations, length)


class AeadParameters(NamedTuple):
    """The parameters of GCM, CCM and ChaCha20-Poly1305; only CCM has the length of the data."""

    nonce: bytes
    additional: bytes
    tag_length: int
    data_length: int | None = None


class GcmMessageParameters(NamedTuple):
    """CK_GCM_MESSAGE_PARAMS; `fixed_bits` of the IV stay, `generator` makes the others."""

    iv: bytes
    fixed_bits: int
    generator: int
    tag: bytes


def none(mechanism: Mechanism) -> None:
    """Require that a mechanism has no parameter."""
    if mechanism.parameter:
        raise invalid()


def pss(mechanism: Mechanism, digest: str | None) -> Pss:
    """Decode CK_RSA_PKCS_PSS_PARAMS; `digest` is the hash of the mechanism, None if the application hashes."""
    kind, mask, salt_length = _unpack(_PSS, mechanism.parameter)
    parsed = Pss(_digest(kind), _mask(mask), salt_length)
    if salt_length > _LONGEST_SALT or (digest is not None and digest != parsed.digest):
        raise invalid()
    return parsed


def oaep(mechanism: Mechanism) -> Oaep:
    """Decode CK_RSA_PKCS_OAEP_PARAMS; the label is in `pSourceData`."""
    kind, mask, source, _, length = _unpack(_OAEP, mechanism.parameter)
    (label,) = _pointed(mechanism.pointers, 1)
    if source not in (0, CKZ.DATA_SPECIFIED) or (source == 0 and length):
        raise invalid()
    return Oaep(_digest(kind), _mask(mask), label)


def rsa_aes(mechanism: Mechanism) -> tuple[int, Oaep]:
    """Decode CK_RSA_AES_KEY_WRAP_PARAMS: bytes of the AES key, and the parameters of OAEP."""
    bits, _ = _unpack(_RSA_AES, mechanism.parameter)
    inner, label = _pointed(mechanism.pointers, 2)
    if bits not in (128, 192, 256):
        raise invalid()
    return bits // 8, oaep(Mechanism(mechanism.type, inner, (label,)))


def iv(mechanism: Mechanism, length: int) -> bytes:
    """Return an initialisation vector of just this length."""
    if len(mechanism.parameter) != length:
        raise invalid()
    return mechanism.parameter


def counter(mechanism: Mechanism) -> tuple[int, bytes]:
    """Decode CK_AES_CTR_PARAMS: the bits of the counter, and the first block."""
    bits, block = _unpack(_CTR, mechanism.parameter)
    if not 1 <= bits <= 128:
        raise invalid()
    return bits, block


def gcm(mechanism: Mechanism) -> AeadParameters:
    """Decode CK_GCM_PARAMS, also the form without ulIvBits that NSS and older programs use."""
    if len(mechanism.parameter) == _NSS_GCM.size:
        _, _, _, _, tag_bits = _unpack(_NSS_GCM, mechanism.parameter)
    else:
        _, _, _, _, _, tag_bits = _unpack(_GCM, mechanism.parameter)
    nonce, additional = _pointed(mechanism.pointers, 2)
    if not 8 <= len(nonce) <= 128 or not 32 <= tag_bits <= 128 or tag_bits % 8:
        raise invalid()
    return AeadParameters(nonce, additional, tag_bits // 8)


def gmac(mechanism: Mechanism) -> AeadParameters:
    """Decode CK_GCM_PARAMS without additional data, which is the data here."""
    aead = gcm(mechanism)
    if aead.additional:
        raise invalid()
    return aead


def ccm(mechanism: Mechanism) -> AeadParameters:
    """Decode CK_CCM_PARAMS."""
    data_length, _, _, _, _, tag_length = _unpack(_CCM, mechanism.parameter)
    nonce, additional = _pointed(mechanism.pointers, 2)
    if not 7 <= len(nonce) <= 13 or tag_length not in range(4, 17, 2):
        raise invalid()
    return AeadParameters(nonce, additional, tag_length, data_length)


def poly1305(mechanism: Mechanism) -> AeadParameters:
    """Decode CK_SALSA20_CHACHA20_POLY1305_PARAMS; the nonce is that of RFC 8439, not the older one of eight bytes."""
    _unpack(_POLY1305, mechanism.parameter)
    nonce, additional = _pointed(mechanism.pointers, 2)
    if len(nonce) != 12:
        raise invalid()
    return AeadParameters(nonce, additional, 16)


def chacha20(mechanism: Mechanism) -> tuple[int, bytes]:
    """Decode CK_CHACHA20_PARAMS: the bits of the block counter, and counter and nonce together."""
    _, counter_bits, _, nonce_bits = _unpack(_CHACHA20, mechanism.parameter)
    block, nonce = _pointed(mechanism.pointers, 2)
    if (counter_bits, nonce_bits) not in ((32, 96), (64, 64)) or len(block + nonce) != 16:
        raise invalid()
    return counter_bits, block + nonce


def gcm_message(parameter: MessageParameter | None) -> GcmMessageParameters:
    """Decode CK_GCM_MESSAGE_PARAMS."""
    if parameter is None:
        raise invalid()
    _, _, fixed_bits, generator, _, tag_bits = _unpack(_GCM_MESSAGE, parameter.parameter)
    nonce, tag = _pointed(parameter.pointers, 2)
    fits = 8 <= len(nonce) <= 128 and fixed_bits <= 8 * len(nonce) and 32 <= tag_bits <= 128 and tag_bits % 8 == 0
    if not fits or len(tag) != tag_bits // 8:
        raise invalid()
    return GcmMessageParameters(nonce, fixed_bits, generator, tag)


def eddsa(mechanism: Mechanism, is_448: bool) -> Variant | None:
    """Decode CK_EDDSA_PARAMS (3.1, 6.3.15); None is plain Ed25519 or Ed448.

    Only Ed25519 may be used without the parameters; with them it is Ed25519ctx, also with an empty context.
    """
    if not mechanism.parameter and not is_448:
        return None
    prehashed, _, _ = _unpack(_EDDSA, mechanism.parameter)
    (context,) = _pointed(mechanism.pointers, 1)
    if len(context) > _LONGEST_CONTEXT:
        raise invalid()
    return None if is_448 and not context and not prehashed else Variant(context, prehashed)


def signature_context(mechanism: Mechanism, signs: bool) -> bytes:
    """Return the context of CK_SIGN_ADDITIONAL_CONTEXT, which may be left out. The library always hedges signatures."""
    if not mechanism.parameter:
        return b""
    variant, _, _ = _unpack(_CONTEXT, mechanism.parameter)
    (context,) = _pointed(mechanism.pointers, 1)
    hedged = variant in (CKH.HEDGE_PREFERRED, CKH.HEDGE_REQUIRED) or not signs
    if not hedged or len(context) > _LONGEST_CONTEXT:
        raise invalid()
    return context


def length(mechanism: Mechanism, longest: int) -> int:
    """Decode CK_MAC_GENERAL_PARAMS."""
    (wanted,) = _unpack(_ULONG, mechanism.parameter)
    if not 1 <= wanted <= longest:
        raise invalid()
    return int(wanted)


def ulong(mechanism: Mechanism) -> int:
    """Decode a parameter that is one number, such as a handle or a bit position."""
    return int(_unpack(_ULONG, mechanism.parameter)[0])


def string(mechanism: Mechanism) -> bytes:
    """Decode CK_KEY_DERIVATION_STRING_DATA."""
    if len(mechanism.parameter) != 16:
        raise invalid()
    return _pointed(mechanism.pointers, 1)[0]


def _digest(kind: int) -> str:
    if kind not in DIGESTS or DIGESTS[kind] == "md5":
        raise invalid()
    return DIGESTS[kind]


def _mask(kind: int) -> str:
    if kind not in MASKS:
        raise invalid()
    return MASKS[kind]


def _unpack(form: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) != form.size:
        raise invalid()
    return form.unpack(data)


def _pointed(pointers: tuple[bytes, ...], count: int) -> tuple[bytes, ...]:
    if len(pointers) != count:
        raise invalid()
    return pointers


def agreement(mechanism: Mechanism, kdfs: Container[int]) -> Agreement:
    """Decode the parameters of a key agreement with one of these KDFs, or with none and no data for it."""
    kdf, *_ = _unpack(_AGREEMENT, mechanism.parameter)
    shared, public = _pointed(mechanism.pointers, 2)
    if (kdf == CKD.NULL and shared) or (kdf != CKD.NULL and kdf not in kdfs):
        raise invalid()
    return Agreement(kdf, shared, public)


def password(mechanism: Mechanism) -> Password:
    """Decode CK_PKCS5_PBKD2_PARAMS2 (PKCS #11 3.1, 2.38.3): a salt is given, the function takes no data."""
    if len(mechanism.parameter) != _PBKD2.size or len(mechanism.pointers) != 3:
        raise invalid()
    source, _, _, iterations, function, *_ = _PBKD2.unpack(mechanism.parameter)
    salt, data, given = mechanism.pointers
    if source != CKZ.SALT_SPECIFIED or function not in _FUNCTIONS or data or not 1 <= iterations <= _MOST_ITERATIONS:
        raise invalid()
    return Password(_FUNCTIONS[function], given or b"", salt or b"", iterations)
