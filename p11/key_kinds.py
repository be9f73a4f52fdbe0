# SPDX-License-Identifier: MIT
"""Kinds of new key pairs: from a template, for a card, and generated in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa

from ..card.crypto import dsa_keys
from ..card.crypto.curves import Curve, CurveKey
from ..card.tables import RSA_BITS, Algorithm
from . import curves, finite_fields, post_quantum
from .attributes import Attributes, as_ulong
from .constants import CKA, CKK, CKR
from .errors import P11Error

SoftKey = rsa.RSAPrivateKey | CurveKey | post_quantum.PrivateKeys | finite_fields.PrivateKeys

KeyKind = int | Curve | finite_fields.DomainOfKeys | Callable[[], SoftKey]
"""A kind of new key pair: the bits of a modulus, a curve, a domain, or a function that generates a session's key."""

_RSA = {bits: algorithm for algorithm, bits in RSA_BITS.items()}
RSA_SIZES = range(512, 4096 + 1)
"""Bits of a modulus in a session; a card has a few of them, and the library makes none of less than 1024."""

_SMALLEST_NEW_RSA = 1024


def kind_of(template: Attributes, key_type: int) -> KeyKind:
    """Return the kind that the template of a public key asks for. Raises P11Error."""
    try:
        if key_type == CKK.RSA:
            return as_ulong(template[CKA.MODULUS_BITS])
        if key_type in post_quantum.KEY_TYPES:
            return post_quantum.key_generator(template, key_type)
        if key_type in finite_fields.KEY_TYPES:
            return finite_fields.domain_of_template(template, key_type)
        return curves.named(template[CKA.EC_PARAMS], key_type)
    except ValueError:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None


def card_algorithm(kind: KeyKind) -> Algorithm:
    """Return the card's algorithm identifier.

    Raises P11Error(KEY_SIZE_RANGE, CURVE_NOT_SUPPORTED, TEMPLATE_INCONSISTENT).
    """
    if isinstance(kind, int):
        if kind not in _RSA:
            raise P11Error(CKR.KEY_SIZE_RANGE)
        return _RSA[kind]
    if isinstance(kind, finite_fields.DomainOfKeys) and kind.for_card is not None:
        return finite_fields.card_algorithm(kind.for_card)
    if not isinstance(kind, Curve):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    if kind.algorithm is None:
        raise P11Error(CKR.CURVE_NOT_SUPPORTED)
    return kind.algorithm


class CardKind(NamedTuple):
    """The kind of a key pair on a card; only DSA has a domain."""

    algorithm: Algorithm
    domain: dsa_keys.Domain | None = None


def card_kind(kind: KeyKind) -> CardKind:
    """Return the kind for a card. Raises as card_algorithm()."""
    return CardKind(card_algorithm(kind), kind.for_card if isinstance(kind, finite_fields.DomainOfKeys) else None)


def generate(kind: KeyKind, exponent: int = 65537) -> SoftKey:
    """Generate a private key in memory. Raises P11Error(KEY_SIZE_RANGE)."""
    if not isinstance(kind, int):
        return kind.generate() if isinstance(kind, Curve) else kind()
    if kind not in RSA_SIZES or kind < _SMALLEST_NEW_RSA or kind % 8:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return rsa.generate_private_key(exponent, kind)
