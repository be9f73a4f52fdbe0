# SPDX-License-Identifier: MIT
"""DSA keys of a session: from attributes to the library's keys and back (PKCS #11 3.1, 6.2).

Diffie-Hellman in such fields is not offered: the library is about to drop it.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import dsa

from .attributes import Attributes, number, ulong
from .constants import CKA, CKK, CKR
from .errors import P11Error

_BITS = (1024, 2048, 3072, 4096)


def public_attributes(public: dsa.DSAPublicKey) -> Attributes:
    """The group and the public value."""
    return {
        CKA.KEY_TYPE: ulong(CKK.DSA),
        **_group_attributes(public.parameters()),
        CKA.VALUE: number(public.public_numbers().y),
    }


def private_attributes(key: dsa.DSAPrivateKey) -> Attributes:
    """The group and the secret value."""
    return {**public_attributes(key.public_key()), CKA.VALUE: number(key.private_numbers().x)}


def public_from(attributes: Attributes) -> dsa.DSAPublicKey:
    """Raises ValueError for numbers that make no key, P11Error(KEY_SIZE_RANGE)."""
    return dsa.DSAPublicNumbers(_integer(attributes, CKA.VALUE), _group(attributes)).public_key()


def private_from(attributes: Attributes) -> dsa.DSAPrivateKey:
    """The public value follows from the secret one. Raises as public_from()."""
    group, x = _group(attributes), _integer(attributes, CKA.VALUE)
    return dsa.DSAPrivateNumbers(x, dsa.DSAPublicNumbers(pow(group.g, x, group.p), group)).private_key()


def maker(attributes: Attributes) -> Callable[[], dsa.DSAPrivateKey]:
    """What makes new keys in the group of a template. Raises as public_from()."""
    return _group(attributes).parameters().generate_private_key


def new_group(bits: int) -> Attributes:
    """A new group. Raises P11Error(KEY_SIZE_RANGE)."""
    if bits not in _BITS:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return _group_attributes(dsa.generate_parameters(bits))


def _group_attributes(parameters: dsa.DSAParameters) -> Attributes:
    group = parameters.parameter_numbers()
    return {CKA.PRIME: number(group.p), CKA.SUBPRIME: number(group.q), CKA.BASE: number(group.g)}


def _group(attributes: Attributes) -> dsa.DSAParameterNumbers:
    p, q, g = (_integer(attributes, kind) for kind in (CKA.PRIME, CKA.SUBPRIME, CKA.BASE))
    if p.bit_length() not in _BITS:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return dsa.DSAParameterNumbers(p, q, g)


def _integer(attributes: Attributes, kind: CKA) -> int:
    """Asked for its length first, for numbers of any length would take any time."""
    value: bytes = attributes[kind]
    if len(value) > _BITS[-1] // 8:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return int.from_bytes(value, "big")
