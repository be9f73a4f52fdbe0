# SPDX-License-Identifier: MIT
"""The mechanisms, as one table: what each needs, does and is allowed to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from .constants import CKF, CKK, CKM


@unique
class Scheme(StrEnum):
    """The encoding between data and key."""

    RSA_PKCS = "rsa-pkcs"
    RSA_RAW = "rsa-raw"
    RSA_PSS = "rsa-pss"
    RSA_OAEP = "rsa-oaep"
    ECDSA = "ecdsa"
    ECDH = "ecdh"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class MechanismRule:
    """One row: `digest` is hashlib's name, None where the application brings the hash itself; sizes are in bits."""

    type: CKM
    scheme: Scheme
    flags: int
    digest: str | None = None
    key_type: CKK | None = None
    sizes: tuple[int, int] = (0, 0)


_RSA = (2048, 3072)
_EC = (256, 384)
_SIGN = CKF.HW | CKF.SIGN | CKF.VERIFY
_CRYPT = CKF.HW | CKF.ENCRYPT | CKF.DECRYPT
_CURVES = CKF.EC_F_P | CKF.EC_OID | CKF.EC_UNCOMPRESS

_HASHES = {
    "sha1": (CKM.SHA_1, CKM.SHA1_RSA_PKCS, CKM.SHA1_RSA_PKCS_PSS, CKM.ECDSA_SHA1),
    "sha224": (CKM.SHA224, CKM.SHA224_RSA_PKCS, CKM.SHA224_RSA_PKCS_PSS, CKM.ECDSA_SHA224),
    "sha256": (CKM.SHA256, CKM.SHA256_RSA_PKCS, CKM.SHA256_RSA_PKCS_PSS, CKM.ECDSA_SHA256),
    "sha384": (CKM.SHA384, CKM.SHA384_RSA_PKCS, CKM.SHA384_RSA_PKCS_PSS, CKM.ECDSA_SHA384),
    "sha512": (CKM.SHA512, CKM.SHA512_RSA_PKCS, CKM.SHA512_RSA_PKCS_PSS, CKM.ECDSA_SHA512),
}

DIGESTS: dict[int, str] = {row[0]: name for name, row in _HASHES.items()}
"""Digest mechanisms by number, as hashlib names: also in the parameters of PSS and OAEP."""

_ROWS = [
    MechanismRule(CKM.RSA_PKCS, Scheme.RSA_PKCS, _SIGN | _CRYPT, None, CKK.RSA, _RSA),
    MechanismRule(CKM.RSA_X_509, Scheme.RSA_RAW, _SIGN | _CRYPT, None, CKK.RSA, _RSA),
    MechanismRule(CKM.RSA_PKCS_OAEP, Scheme.RSA_OAEP, _CRYPT, None, CKK.RSA, _RSA),
    MechanismRule(CKM.RSA_PKCS_PSS, Scheme.RSA_PSS, _SIGN, None, CKK.RSA, _RSA),
    MechanismRule(CKM.ECDSA, Scheme.ECDSA, _SIGN | _CURVES, None, CKK.EC, _EC),
    MechanismRule(CKM.ECDH1_DERIVE, Scheme.ECDH, CKF.HW | CKF.DERIVE | _CURVES, None, CKK.EC, _EC),
]
for _name, (_hash, _pkcs, _pss, _ecdsa) in _HASHES.items():
    _ROWS += [
        MechanismRule(_hash, Scheme.DIGEST, CKF.DIGEST, _name),
        MechanismRule(_pkcs, Scheme.RSA_PKCS, _SIGN, _name, CKK.RSA, _RSA),
        MechanismRule(_pss, Scheme.RSA_PSS, _SIGN, _name, CKK.RSA, _RSA),
        MechanismRule(_ecdsa, Scheme.ECDSA, _SIGN | _CURVES, _name, CKK.EC, _EC),
    ]

_ROWS += [
    MechanismRule(
        CKM.RSA_PKCS_KEY_PAIR_GEN, Scheme.RSA_RAW, CKF.HW | CKF.GENERATE_KEY_PAIR, None, CKK.RSA, (1024, 4096)
    ),
    MechanismRule(CKM.EC_KEY_PAIR_GEN, Scheme.ECDSA, CKF.HW | CKF.GENERATE_KEY_PAIR, None, CKK.EC, (256, 384)),
]
MECHANISMS: dict[int, MechanismRule] = {row.type: row for row in _ROWS}
