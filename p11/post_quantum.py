# SPDX-License-Identifier: MIT
"""ML-DSA and ML-KEM keys of a session, by parameter set (PKCS #11 3.2, 6.67, 6.68; FIPS 203, 204).

A private key is its seed, the only form that the library reads and writes: it has CKA_SEED and no CKA_VALUE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem
except ImportError:  # cryptography before 47
    from .absent import mldsa, mlkem  # type: ignore[no-redef]

from .absent import is_absent
from .attributes import Attributes, as_ulong, ulong
from .constants import CKA, CKK, CKP, CKR
from .errors import P11Error

SigningKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
VerifyingKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
DecapsulationKey = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
EncapsulationKey = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
PublicKeys = VerifyingKey | EncapsulationKey
PrivateKeys = SigningKey | DecapsulationKey
KEY_TYPES = (CKK.ML_DSA, CKK.ML_KEM)

AVAILABLE = not is_absent(mldsa)
"""Whether the installed cryptography has them."""

# Key type, parameter set, the library's classes, bytes of a signature or of an encapsulated secret.
# The library has no ML-KEM-512.
_ROWS: tuple[tuple[CKK, CKP, Any, Any, int], ...] = (
    (CKK.ML_DSA, CKP.ML_DSA_44, mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey, 2420),
    (CKK.ML_DSA, CKP.ML_DSA_65, mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey, 3309),
    (CKK.ML_DSA, CKP.ML_DSA_87, mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey, 4627),
    (CKK.ML_KEM, CKP.ML_KEM_768, mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey, 1088),
    (CKK.ML_KEM, CKP.ML_KEM_1024, mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey, 1568),
)


def output_length(public: PublicKeys) -> int:
    """Return the bytes of a signature, or of an encapsulated secret."""
    return _row_of(public)[4]


def public_attributes(public: PublicKeys) -> Attributes:
    """Return parameter set and public key."""
    key_type, parameter_set, *_ = _row_of(public)
    return {
        CKA.KEY_TYPE: ulong(key_type),
        CKA.PARAMETER_SET: ulong(parameter_set),
        CKA.VALUE: public.public_bytes_raw(),
    }


def private_attributes(key: PrivateKeys) -> Attributes:
    """Return parameter set and seed."""
    attributes = public_attributes(key.public_key())
    del attributes[CKA.VALUE]
    return {**attributes, CKA.SEED: key.private_bytes_raw()}


def public_from(attributes: Attributes, key_type: int) -> PublicKeys:
    """Return a template's public key. Raises ValueError, P11Error(PARAMETER_SET_NOT_SUPPORTED)."""
    made: PublicKeys = _row(attributes, key_type)[3].from_public_bytes(attributes[CKA.VALUE])
    return made


def private_from(attributes: Attributes, key_type: int) -> PrivateKeys:
    """Return the private key of a seed. Raises as public_from(), P11Error(TEMPLATE_INCOMPLETE) without seed."""
    kind = _row(attributes, key_type)[2]
    if not attributes.get(CKA.SEED) and attributes.get(CKA.VALUE):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)  # the library makes keys of seeds only
    if not attributes.get(CKA.SEED):
        raise P11Error(CKR.TEMPLATE_INCOMPLETE)
    made: PrivateKeys = kind.from_seed_bytes(attributes[CKA.SEED])
    return made


def key_generator(attributes: Attributes, key_type: int) -> Callable[[], PrivateKeys]:
    """Return what generates keys of a template's parameter set. Raises P11Error(PARAMETER_SET_NOT_SUPPORTED)."""
    made: Callable[[], PrivateKeys] = _row(attributes, key_type)[2].generate
    return made


def _row(attributes: Attributes, key_type: int) -> tuple[CKK, CKP, Any, Any, int]:
    wanted = (key_type, as_ulong(attributes[CKA.PARAMETER_SET]))
    for row in _ROWS:
        if row[:2] == wanted:
            return row
    raise P11Error(CKR.PARAMETER_SET_NOT_SUPPORTED)


def _row_of(public: PublicKeys) -> tuple[CKK, CKP, Any, Any, int]:
    return next(row for row in _ROWS if isinstance(public, row[3]))
