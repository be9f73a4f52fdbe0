# SPDX-License-Identifier: MIT
"""The mechanisms, as one table: scheme, key types and sizes, and the functions that each is for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from . import post_quantum
from .constants import CKF, CKK, CKM


@unique
class Scheme(StrEnum):
    """What a mechanism does with data and key."""

    RSA_PKCS = "rsa-pkcs"
    RSA_RAW = "rsa-raw"
    RSA_PSS = "rsa-pss"
    RSA_OAEP = "rsa-oaep"
    RSA_AES = "rsa-aes"
    ECDSA = "ecdsa"
    EDDSA = "eddsa"
    ML_DSA = "ml-dsa"
    ML_KEM = "ml-kem"
    ECDH = "ecdh"
    DIGEST = "digest"
    HMAC = "hmac"
    CMAC = "cmac"
    GMAC = "gmac"
    CBC_MAC = "cbc-mac"
    ECB = "ecb"
    CBC = "cbc"
    CBC_PAD = "cbc-pad"
    CTR = "ctr"
    OFB = "ofb"
    CFB = "cfb"
    CFB8 = "cfb8"
    GCM = "gcm"
    CCM = "ccm"
    CHACHA20 = "chacha20"
    CHACHA20_POLY1305 = "chacha20-poly1305"
    KEY_WRAP = "key-wrap"
    KEY_WRAP_PAD = "key-wrap-pad"
    GENERATE = "generate"
    GENERATE_PAIR = "generate-pair"
    GENERATE_DOMAIN = "generate-domain"
    CONCATENATE_KEY = "concatenate-key"
    CONCATENATE_DATA = "concatenate-data"
    PREPEND_DATA = "prepend-data"
    XOR_DATA = "xor-data"
    EXTRACT = "extract"
    HASH_KEY = "hash-key"
    ENCRYPT_DATA = "encrypt-data"
    HKDF = "hkdf"
    KBKDF = "kbkdf"
    DSA = "dsa"
    DH = "dh"
    PBKDF2 = "pbkdf2"


@dataclass(frozen=True, slots=True)
class MechanismRule:
    """A mechanism. `digest` is the hash by its name in hashlib, None if the application hashes or there is none.

    `key_types` are those of the keys it uses, or of the one that it makes. `sizes` are in the mechanism's unit: bits
    for RSA, curves and the generation of generic secrets, bytes for other secret keys. A `general` MAC is cut to the
    length in its parameter.
    """

    type: CKM
    scheme: Scheme
    flags: int
    digest: str | None = None
    key_types: tuple[CKK, ...] = ()
    sizes: tuple[int, int] = (0, 0)
    general: bool = False

    @property
    def block(self) -> int:
        """Return the bytes of a block of its cipher."""
        return 16 if CKK.AES in self.key_types else 8

    @property
    def key_type(self) -> CKK | None:
        """Return the key type of a mechanism that has only one, else None."""
        return self.key_types[0] if self.key_types else None


# What only sessions have does not say CKF_HW.
_SIGNATURE = CKF.HW | CKF.SIGN | CKF.VERIFY
_RECOVERY = CKF.SIGN_RECOVER | CKF.VERIFY_RECOVER
_ENCRYPTION = CKF.ENCRYPT | CKF.DECRYPT
_WRAPPING = CKF.WRAP | CKF.UNWRAP
_CIPHER = _ENCRYPTION | _WRAPPING
_PAIR = CKF.HW | CKF.GENERATE_KEY_PAIR
_MAC = CKF.SIGN | CKF.VERIFY
_CURVES = CKF.EC_F_P | CKF.EC_OID | CKF.EC_UNCOMPRESS

_RSA, _EC, _ED, _X = (CKK.RSA,), (CKK.EC,), (CKK.EC_EDWARDS,), (CKK.EC_MONTGOMERY,)
_NEW_RSA_BITS, _RSA_BITS = (1024, 4096), (512, 4096)
_EC_BITS, _ED_BITS, _X_BITS = (192, 521), (255, 448), (255, 448)
_ML_DSA, _ML_DSA_SIZES, _ML_KEM, _ML_KEM_SIZES = (CKK.ML_DSA,), (1312, 2592), (CKK.ML_KEM,), (1184, 1568)
_AES, _AES_SIZES = (CKK.AES,), (16, 32)
_DES, _DES_SIZES = (CKK.DES,), (8, 8)
_DES3, _DES3_SIZES = (CKK.DES3, CKK.DES2), (16, 24)
_CHACHA20, _CHACHA20_SIZES = (CKK.CHACHA20,), (32, 32)
_ANY_SECRET = (CKK.GENERIC_SECRET, CKK.AES, CKK.DES3, CKK.DES2, CKK.DES, CKK.CHACHA20)
_DSA, _DSA_BITS, _DH_BITS = (CKK.DSA,), (1024, 4096), (512, 8192)
_HKDF = (CKK.HKDF, CKK.GENERIC_SECRET)
_PRF_KEYS = (CKK.GENERIC_SECRET, CKK.AES, *_DES3, *(kind for kind in CKK if kind.name.endswith("_HMAC")))
_ANY_SIZES, _ANY_BITS = (1, 4096), (8, 8 * 4096)

_ROWS = [
    MechanismRule(CKM.RSA_PKCS_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, _PAIR, None, _RSA, _NEW_RSA_BITS),
    MechanismRule(CKM.EC_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, _PAIR | _CURVES, None, _EC, _EC_BITS),
    MechanismRule(CKM.EC_EDWARDS_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, _PAIR | _CURVES, None, _ED, _ED_BITS),
    MechanismRule(CKM.EC_MONTGOMERY_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, _PAIR | _CURVES, None, _X, _X_BITS),
    MechanismRule(CKM.ML_DSA_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, CKF.GENERATE_KEY_PAIR, None, _ML_DSA, _ML_DSA_SIZES),
    MechanismRule(CKM.ML_KEM_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, CKF.GENERATE_KEY_PAIR, None, _ML_KEM, _ML_KEM_SIZES),
    MechanismRule(CKM.RSA_PKCS, Scheme.RSA_PKCS, _SIGNATURE | _RECOVERY | _CIPHER, None, _RSA, _RSA_BITS),
    MechanismRule(CKM.RSA_X_509, Scheme.RSA_RAW, _SIGNATURE | _RECOVERY | _CIPHER, None, _RSA, _RSA_BITS),
    MechanismRule(CKM.RSA_PKCS_OAEP, Scheme.RSA_OAEP, CKF.HW | _CIPHER, None, _RSA, _RSA_BITS),
    MechanismRule(CKM.RSA_PKCS_PSS, Scheme.RSA_PSS, _SIGNATURE, None, _RSA, _RSA_BITS),
    MechanismRule(CKM.RSA_AES_KEY_WRAP, Scheme.RSA_AES, CKF.HW | _WRAPPING, None, _RSA, _RSA_BITS),
    MechanismRule(CKM.ECDSA, Scheme.ECDSA, _SIGNATURE | _CURVES, None, _EC, _EC_BITS),
    MechanismRule(CKM.EDDSA, Scheme.EDDSA, _SIGNATURE | _CURVES, None, _ED, _ED_BITS),
    MechanismRule(CKM.ML_DSA, Scheme.ML_DSA, _MAC, None, _ML_DSA, _ML_DSA_SIZES),
    MechanismRule(CKM.ML_KEM, Scheme.ML_KEM, CKF.ENCAPSULATE | CKF.DECAPSULATE, None, _ML_KEM, _ML_KEM_SIZES),
    MechanismRule(CKM.ECDH1_DERIVE, Scheme.ECDH, CKF.HW | CKF.DERIVE | _CURVES, None, (*_EC, *_X), _EC_BITS),
    MechanismRule(CKM.ECDH1_COFACTOR_DERIVE, Scheme.ECDH, CKF.HW | CKF.DERIVE | _CURVES, None, _EC, _EC_BITS),
    MechanismRule(CKM.AES_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, _AES, _AES_SIZES),
    MechanismRule(CKM.DES3_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, (CKK.DES3,), (24, 24)),
    MechanismRule(CKM.DES2_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, (CKK.DES2,), (16, 16)),
    MechanismRule(CKM.DES_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, _DES, _DES_SIZES),
    MechanismRule(CKM.CHACHA20_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, _CHACHA20, _CHACHA20_SIZES),
    MechanismRule(CKM.GENERIC_SECRET_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, (CKK.GENERIC_SECRET,), _ANY_BITS),
    MechanismRule(CKM.HKDF_KEY_GEN, Scheme.GENERATE, CKF.GENERATE, None, (CKK.HKDF,), _ANY_SIZES),
    MechanismRule(CKM.AES_ECB, Scheme.ECB, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CBC, Scheme.CBC, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CBC_PAD, Scheme.CBC_PAD, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CTR, Scheme.CTR, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_OFB, Scheme.OFB, _ENCRYPTION, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CFB128, Scheme.CFB, _ENCRYPTION, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CFB8, Scheme.CFB8, _ENCRYPTION, None, _AES, _AES_SIZES),
    MechanismRule(
        CKM.AES_GCM,
        Scheme.GCM,
        _CIPHER | CKF.MESSAGE_ENCRYPT | CKF.MESSAGE_DECRYPT | CKF.MULTI_MESSAGE,
        None,
        _AES,
        _AES_SIZES,
    ),
    MechanismRule(CKM.AES_CCM, Scheme.CCM, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_KEY_WRAP, Scheme.KEY_WRAP, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_KEY_WRAP_PAD, Scheme.KEY_WRAP_PAD, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_KEY_WRAP_KWP, Scheme.KEY_WRAP_PAD, _CIPHER, None, _AES, _AES_SIZES),
    # NSS unwraps with a number of its own (until 3.11x, as in Thunderbird 140), on the token that has derived the key.
    # Without it no mail to an EC key is decrypted: the token knows the KDF of CMS, and nothing moves to NSS's own.
    MechanismRule(CKM.NSS_AES_KEY_WRAP, Scheme.KEY_WRAP, _CIPHER, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CMAC, Scheme.CMAC, _MAC, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CMAC_GENERAL, Scheme.CMAC, _MAC, None, _AES, _AES_SIZES, general=True),
    MechanismRule(CKM.AES_MAC, Scheme.CBC_MAC, _MAC, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_MAC_GENERAL, Scheme.CBC_MAC, _MAC, None, _AES, _AES_SIZES, general=True),
    MechanismRule(CKM.AES_GMAC, Scheme.GMAC, _MAC, None, _AES, _AES_SIZES),
    MechanismRule(CKM.DES3_ECB, Scheme.ECB, _CIPHER, None, _DES3, _DES3_SIZES),
    MechanismRule(CKM.DES3_CBC, Scheme.CBC, _CIPHER, None, _DES3, _DES3_SIZES),
    MechanismRule(CKM.DES3_CBC_PAD, Scheme.CBC_PAD, _CIPHER, None, _DES3, _DES3_SIZES),
    MechanismRule(CKM.DES3_CMAC, Scheme.CMAC, _MAC, None, _DES3, _DES3_SIZES),
    MechanismRule(CKM.DES3_CMAC_GENERAL, Scheme.CMAC, _MAC, None, _DES3, _DES3_SIZES, general=True),
    MechanismRule(CKM.DES_ECB, Scheme.ECB, _CIPHER, None, _DES, _DES_SIZES),
    MechanismRule(CKM.DES_CBC, Scheme.CBC, _CIPHER, None, _DES, _DES_SIZES),
    MechanismRule(CKM.DES_CBC_PAD, Scheme.CBC_PAD, _CIPHER, None, _DES, _DES_SIZES),
    MechanismRule(CKM.CHACHA20, Scheme.CHACHA20, _ENCRYPTION, None, _CHACHA20, _CHACHA20_SIZES),
    MechanismRule(CKM.CHACHA20_POLY1305, Scheme.CHACHA20_POLY1305, _CIPHER, None, _CHACHA20, _CHACHA20_SIZES),
    MechanismRule(CKM.CONCATENATE_BASE_AND_KEY, Scheme.CONCATENATE_KEY, CKF.DERIVE, None, _ANY_SECRET, _ANY_SIZES),
    MechanismRule(CKM.CONCATENATE_BASE_AND_DATA, Scheme.CONCATENATE_DATA, CKF.DERIVE, None, _ANY_SECRET, _ANY_SIZES),
    MechanismRule(CKM.CONCATENATE_DATA_AND_BASE, Scheme.PREPEND_DATA, CKF.DERIVE, None, _ANY_SECRET, _ANY_SIZES),
    MechanismRule(CKM.XOR_BASE_AND_DATA, Scheme.XOR_DATA, CKF.DERIVE, None, _ANY_SECRET, _ANY_SIZES),
    MechanismRule(CKM.EXTRACT_KEY_FROM_KEY, Scheme.EXTRACT, CKF.DERIVE, None, _ANY_SECRET, _ANY_SIZES),
    MechanismRule(CKM.AES_ECB_ENCRYPT_DATA, Scheme.ENCRYPT_DATA, CKF.DERIVE, None, _AES, _AES_SIZES),
    MechanismRule(CKM.AES_CBC_ENCRYPT_DATA, Scheme.ENCRYPT_DATA, CKF.DERIVE, None, _AES, _AES_SIZES),
    MechanismRule(CKM.DES3_ECB_ENCRYPT_DATA, Scheme.ENCRYPT_DATA, CKF.DERIVE, None, _DES3, _DES3_SIZES),
    MechanismRule(CKM.DES3_CBC_ENCRYPT_DATA, Scheme.ENCRYPT_DATA, CKF.DERIVE, None, _DES3, _DES3_SIZES),
    MechanismRule(CKM.DES_ECB_ENCRYPT_DATA, Scheme.ENCRYPT_DATA, CKF.DERIVE, None, _DES, _DES_SIZES),
    MechanismRule(CKM.DES_CBC_ENCRYPT_DATA, Scheme.ENCRYPT_DATA, CKF.DERIVE, None, _DES, _DES_SIZES),
    MechanismRule(CKM.HKDF_DERIVE, Scheme.HKDF, CKF.DERIVE, None, _HKDF, _ANY_SIZES),
    MechanismRule(CKM.HKDF_DATA, Scheme.HKDF, CKF.DERIVE, None, _HKDF, _ANY_SIZES),
    MechanismRule(CKM.SP800_108_COUNTER_KDF, Scheme.KBKDF, CKF.DERIVE, None, _PRF_KEYS, _ANY_SIZES),
    MechanismRule(CKM.SP800_108_FEEDBACK_KDF, Scheme.KBKDF, CKF.DERIVE, None, _PRF_KEYS, _ANY_SIZES),
    MechanismRule(CKM.SP800_108_DOUBLE_PIPELINE_KDF, Scheme.KBKDF, CKF.DERIVE, None, _PRF_KEYS, _ANY_SIZES),
    MechanismRule(CKM.PKCS5_PBKD2, Scheme.PBKDF2, CKF.GENERATE),
    MechanismRule(CKM.DSA_PARAMETER_GEN, Scheme.GENERATE_DOMAIN, CKF.GENERATE, None, _DSA, (1024, 3072)),
    MechanismRule(CKM.DH_PKCS_PARAMETER_GEN, Scheme.GENERATE_DOMAIN, CKF.GENERATE, None, (CKK.DH,), (512, 4096)),
    MechanismRule(CKM.X9_42_DH_PARAMETER_GEN, Scheme.GENERATE_DOMAIN, CKF.GENERATE, None, (CKK.X9_42_DH,), (512, 4096)),
    MechanismRule(CKM.DSA_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, _PAIR, None, _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA, Scheme.DSA, _SIGNATURE, None, _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA1, Scheme.DSA, _SIGNATURE, "sha1", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA224, Scheme.DSA, _SIGNATURE, "sha224", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA256, Scheme.DSA, _SIGNATURE, "sha256", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA384, Scheme.DSA, _SIGNATURE, "sha384", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA512, Scheme.DSA, _SIGNATURE, "sha512", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA3_224, Scheme.DSA, _SIGNATURE, "sha3_224", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA3_256, Scheme.DSA, _SIGNATURE, "sha3_256", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA3_384, Scheme.DSA, _SIGNATURE, "sha3_384", _DSA, _DSA_BITS),
    MechanismRule(CKM.DSA_SHA3_512, Scheme.DSA, _SIGNATURE, "sha3_512", _DSA, _DSA_BITS),
    MechanismRule(CKM.DH_PKCS_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, CKF.GENERATE_KEY_PAIR, None, (CKK.DH,), _DH_BITS),
    MechanismRule(CKM.DH_PKCS_DERIVE, Scheme.DH, CKF.DERIVE, None, (CKK.DH,), _DH_BITS),
    MechanismRule(
        CKM.X9_42_DH_KEY_PAIR_GEN, Scheme.GENERATE_PAIR, CKF.GENERATE_KEY_PAIR, None, (CKK.X9_42_DH,), _DH_BITS
    ),
    MechanismRule(CKM.X9_42_DH_DERIVE, Scheme.DH, CKF.DERIVE, None, (CKK.X9_42_DH,), _DH_BITS),
]

# The digests, and the mechanisms that are made with each: digest, HMAC, HMAC of a given length, key derivation, RSA
# PKCS #1, PSS and ECDSA. An empty place is a mechanism that the standard does not have.
_HASHED = """
md5        MD5        MD5_HMAC        MD5_HMAC_GENERAL        MD5_KEY_DERIVATION        MD5_RSA_PKCS      -                     -
sha1       SHA_1      SHA_1_HMAC      SHA_1_HMAC_GENERAL      SHA1_KEY_DERIVATION       SHA1_RSA_PKCS     SHA1_RSA_PKCS_PSS     ECDSA_SHA1
sha224     SHA224     SHA224_HMAC     SHA224_HMAC_GENERAL     SHA224_KEY_DERIVATION     SHA224_RSA_PKCS   SHA224_RSA_PKCS_PSS   ECDSA_SHA224
sha256     SHA256     SHA256_HMAC     SHA256_HMAC_GENERAL     SHA256_KEY_DERIVATION     SHA256_RSA_PKCS   SHA256_RSA_PKCS_PSS   ECDSA_SHA256
sha384     SHA384     SHA384_HMAC     SHA384_HMAC_GENERAL     SHA384_KEY_DERIVATION     SHA384_RSA_PKCS   SHA384_RSA_PKCS_PSS   ECDSA_SHA384
sha512     SHA512     SHA512_HMAC     SHA512_HMAC_GENERAL     SHA512_KEY_DERIVATION     SHA512_RSA_PKCS   SHA512_RSA_PKCS_PSS   ECDSA_SHA512
sha512_224 SHA512_224 SHA512_224_HMAC SHA512_224_HMAC_GENERAL SHA512_224_KEY_DERIVATION -                 -                     -
sha512_256 SHA512_256 SHA512_256_HMAC SHA512_256_HMAC_GENERAL SHA512_256_KEY_DERIVATION -                 -                     -
sha3_224   SHA3_224   SHA3_224_HMAC   SHA3_224_HMAC_GENERAL   SHA3_224_KEY_DERIVATION   SHA3_224_RSA_PKCS SHA3_224_RSA_PKCS_PSS ECDSA_SHA3_224
sha3_256   SHA3_256   SHA3_256_HMAC   SHA3_256_HMAC_GENERAL   SHA3_256_KEY_DERIVATION   SHA3_256_RSA_PKCS SHA3_256_RSA_PKCS_PSS ECDSA_SHA3_256
sha3_384   SHA3_384   SHA3_384_HMAC   SHA3_384_HMAC_GENERAL   SHA3_384_KEY_DERIVATION   SHA3_384_RSA_PKCS SHA3_384_RSA_PKCS_PSS ECDSA_SHA3_384
sha3_512   SHA3_512   SHA3_512_HMAC   SHA3_512_HMAC_GENERAL   SHA3_512_KEY_DERIVATION   SHA3_512_RSA_PKCS SHA3_512_RSA_PKCS_PSS ECDSA_SHA3_512
"""  # noqa: E501 - a table

DIGESTS: dict[int, str] = {}
"""Digest mechanisms by number, as hashlib names: also in the parameters of PSS, OAEP and HKDF."""


def _hashed(name: str, digest: str, hmac: str, general: str, derivation: str, pkcs: str, pss: str, ecdsa: str) -> None:
    DIGESTS[CKM[digest]] = name
    _ROWS.append(MechanismRule(CKM[digest], Scheme.DIGEST, CKF.DIGEST, name))
    keys = (CKK.GENERIC_SECRET, CKK[hmac])
    _ROWS.append(MechanismRule(CKM[hmac], Scheme.HMAC, _MAC, name, keys, _ANY_SIZES))
    _ROWS.append(MechanismRule(CKM[general], Scheme.HMAC, _MAC, name, keys, _ANY_SIZES, general=True))
    _ROWS.append(MechanismRule(CKM[derivation], Scheme.HASH_KEY, CKF.DERIVE, name, _ANY_SECRET, _ANY_SIZES))
    for mechanism, scheme, key_types, sizes, flags in (
        (pkcs, Scheme.RSA_PKCS, _RSA, _RSA_BITS, _SIGNATURE),
        (pss, Scheme.RSA_PSS, _RSA, _RSA_BITS, _SIGNATURE),
        (ecdsa, Scheme.ECDSA, _EC, _EC_BITS, _SIGNATURE | _CURVES),
    ):
        if mechanism != "-":
            _ROWS.append(MechanismRule(CKM[mechanism], scheme, flags, name, key_types, sizes))


for _line in _HASHED.strip().splitlines():
    _hashed(*_line.split())

_LACKING: tuple[CKK, ...] = () if post_quantum.AVAILABLE else post_quantum.KEY_TYPES

KNOWN: dict[int, MechanismRule] = {row.type: row for row in _ROWS}
"""All rows, also of what the installed cryptography lacks."""

MECHANISMS: dict[int, MechanismRule] = {
    number: row for number, row in KNOWN.items() if not any(key_type in _LACKING for key_type in row.key_types)
}
