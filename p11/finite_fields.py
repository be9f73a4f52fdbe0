# SPDX-License-Identifier: MIT
"""DSA and Diffie-Hellman keys (PKCS #11 3.1, 2.2 and 2.4; FIPS 186-4, RFC 2631), for old test suites.

A private key is a number below the order of its base; domain parameters come with the template. DSA is the library's,
which no longer has all of Diffie-Hellman: that is one exponentiation, by GMP. A card can have DSA keys, a session all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..card.crypto import domain_generation, dsa_keys
from ..card.crypto.domain_generation import MayStop
from ..card.tables import DSA_BITS, Algorithm
from .attributes import Attributes, as_ulong, number, ulong
from .constants import CKA, CKK, CKR
from .errors import P11Error


@dataclass(frozen=True)
class AgreementPublicKey:
    """A Diffie-Hellman public key: prime, base, the base's order for X9.42, and value."""

    p: int
    g: int
    q: int | None
    y: int


@dataclass(frozen=True)
class AgreementKey:
    """A Diffie-Hellman private key: the public key and the private value."""

    public: AgreementPublicKey
    x: int

    def __repr__(self) -> str:
        return f"AgreementKey({self.public})"

    def public_key(self) -> AgreementPublicKey:
        """Return the public key."""
        return self.public

    def exchange(self, value: bytes) -> bytes:
        """Return the secret shared with the holder of a public value, as long as the prime. Raises ValueError."""
        p, y = self.public.p, _integer(value)
        if not 1 < y < p - 1:
            raise ValueError("no public value of this domain")
        return dsa_keys.power(y, self.x, p).to_bytes((p.bit_length() + 7) // 8, "big")


SigningKey = dsa.DSAPrivateKey
VerifyingKey = dsa.DSAPublicKey
PublicKeys = dsa.DSAPublicKey | AgreementPublicKey
PrivateKeys = dsa.DSAPrivateKey | AgreementKey
KEY_TYPES = (CKK.DSA, CKK.DH, CKK.X9_42_DH)

_SIZES = {CKK.DSA: range(1024, 4096 + 1), CKK.DH: range(512, 8192 + 1), CKK.X9_42_DH: range(512, 8192 + 1)}
"""Bits of the prime."""


def signature_length(public: PublicKeys) -> int:
    """Return the bytes of a DSA signature, r and s; 0 for keys that do not sign."""
    if isinstance(public, dsa.DSAPublicKey):
        return 2 * ((public.public_numbers().parameter_numbers.q.bit_length() + 7) // 8)
    return 0


def public_attributes(public: PublicKeys) -> Attributes:
    """Return domain parameters and public value; for DSA the SubjectPublicKeyInfo, too."""
    if isinstance(public, dsa.DSAPublicKey):
        numbers = public.public_numbers()
        domain = numbers.parameter_numbers
        return {
            CKA.KEY_TYPE: ulong(CKK.DSA),
            CKA.PUBLIC_KEY_INFO: public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            **_domain(domain.p, domain.g, domain.q),
            CKA.VALUE: number(numbers.y),
        }
    return {
        CKA.KEY_TYPE: ulong(CKK.DH if public.q is None else CKK.X9_42_DH),
        **_domain(public.p, public.g, public.q),
        CKA.VALUE: number(public.y),
    }


def private_attributes(key: PrivateKeys) -> Attributes:
    """Return domain parameters and private value, and its length where a template may give that."""
    attributes = public_attributes(key.public_key())
    if isinstance(key, AgreementKey):
        return {**attributes, CKA.VALUE: number(key.x), CKA.VALUE_BITS: ulong(key.x.bit_length())}
    return {**attributes, CKA.VALUE: number(key.private_numbers().x)}


def _domain(p: int, g: int, q: int | None) -> Attributes:
    attributes: Attributes = {CKA.PRIME: number(p), CKA.BASE: number(g)}
    return attributes if q is None else {**attributes, CKA.SUBPRIME: number(q)}


def public_from(attributes: Attributes, key_type: int) -> PublicKeys:
    """Return the public key of a template. Raises ValueError for numbers that make none, P11Error(KEY_SIZE_RANGE)."""
    return _public(attributes, key_type, _integer(attributes[CKA.VALUE]))


def private_from(attributes: Attributes, key_type: int) -> PrivateKeys:
    """Return the private key of a template. Raises as public_from()."""
    return _private(attributes, key_type, _integer(attributes[CKA.VALUE]))


@dataclass(frozen=True)
class DomainOfKeys:
    """A domain for new keys; `bits` is the length of their private values, None for any."""

    key_type: int
    parameters: Attributes
    bits: int | None

    def __call__(self) -> PrivateKeys:
        """Generate a key."""
        order = self._order
        anything = secrets.randbelow(order - 3) + 2
        value = anything if self.bits is None else secrets.randbits(self.bits - 1) | 1 << (self.bits - 1)
        return _private(self.parameters, self.key_type, value)

    def check(self) -> None:
        """Check the domain. Raises ValueError, P11Error(ATTRIBUTE_VALUE_INVALID, KEY_SIZE_RANGE)."""
        order = self._order
        if order < 4 or (self.bits is not None and not 1 < self.bits < order.bit_length()):
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
        _private(self.parameters, self.key_type, 2)

    @property
    def for_card(self) -> dsa_keys.Domain | None:
        """Return the domain for a DSA key on the card, None for Diffie-Hellman."""
        return _dsa_domain(self.parameters) if self.key_type == CKK.DSA else None

    @property
    def _order(self) -> int:
        return _integer(self.parameters.get(CKA.SUBPRIME) or self.parameters[CKA.PRIME])


def domain_of_template(attributes: Attributes, key_type: int) -> DomainOfKeys:
    """Return a template's domain; CKA_VALUE_BITS is the length of private values. Raises ValueError, P11Error."""
    told = attributes.get(CKA.VALUE_BITS)
    numbers: Attributes = {kind: attributes[kind] for kind in (CKA.PRIME, CKA.SUBPRIME, CKA.BASE) if kind in attributes}
    made = DomainOfKeys(key_type, numbers, None if told is None else as_ulong(told))
    made.check()
    return made


_ORDERS = {1024: (160,), 2048: (256, 224), 3072: (256,)}
"""Bits of the order by those of the prime, for new domains of DSA (FIPS 186-4, 4.2); the first is the default."""
_NEW_DH_BITS, _NEW_ORDER_BITS = range(512, 4096 + 1), range(160, 512 + 1)


def new_domain(template: Attributes, key_type: int) -> Callable[[MayStop], Attributes]:
    """Return what generates a domain of a template's lengths. Raises P11Error(ATTRIBUTE_VALUE_INVALID)."""
    bits = as_ulong(template[CKA.PRIME_BITS])
    told = template.get(CKA.SUBPRIME_BITS)
    if key_type == CKK.DSA:
        known = _ORDERS.get(bits, ())
        order_bits = as_ulong(told) if told is not None else next(iter(known), 0)
        fits = order_bits in known
    else:
        order_bits = 0 if told is None else as_ulong(told)
        fits = bits in _NEW_DH_BITS and (key_type == CKK.DH or order_bits in _NEW_ORDER_BITS) and order_bits < bits - 1
    if not fits:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)

    def make(may_stop: MayStop) -> Attributes:
        if key_type == CKK.DH:
            p, g = domain_generation.safe_prime(bits, may_stop)
            return _domain(p, g, None)
        p, q, g = domain_generation.with_order(bits, order_bits, may_stop)
        return _domain(p, g, q)

    return make


def domain_attributes(attributes: Attributes, key_type: int) -> Attributes:
    """Return the lengths of the numbers of a domain. Raises ValueError, P11Error(KEY_SIZE_RANGE)."""
    p, g = _integer(attributes[CKA.PRIME]), _integer(attributes[CKA.BASE])
    _check_size(p, key_type)
    if not p % 2 or not 1 < g < p - 1:
        raise ValueError("no domain")
    lengths: Attributes = {CKA.PRIME_BITS: ulong(p.bit_length())}
    if key_type == CKK.DH:
        return lengths
    q = _integer(attributes[CKA.SUBPRIME])
    if not 1 < q < p or dsa_keys.power(g, q, p) != 1:
        raise ValueError("an order of another base")
    return {**lengths, CKA.SUBPRIME_BITS: ulong(q.bit_length())}


def card_algorithm(domain: dsa_keys.Domain) -> Algorithm:
    """Return the card's algorithm identifier for DSA keys in a domain. Raises P11Error(KEY_SIZE_RANGE)."""
    for algorithm, bits in DSA_BITS.items():
        if domain.p.bit_length() == bits:
            return algorithm
    raise P11Error(CKR.KEY_SIZE_RANGE)


def _public(attributes: Mapping[int, bytes], key_type: int, y: int) -> PublicKeys:
    p, g = _integer(attributes[CKA.PRIME]), _integer(attributes[CKA.BASE])
    _check_size(p, key_type)
    if not p % 2 or not 1 < g < p - 1 or not 1 < y < p:
        raise ValueError("not in this domain")
    if key_type == CKK.DSA:
        return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(*_dsa_domain(attributes))).public_key()
    return AgreementPublicKey(p, g, _integer(attributes[CKA.SUBPRIME]) if key_type == CKK.X9_42_DH else None, y)


def _private(attributes: Mapping[int, bytes], key_type: int, x: int) -> PrivateKeys:
    p, g = _integer(attributes[CKA.PRIME]), _integer(attributes[CKA.BASE])
    _check_size(p, key_type)
    if key_type == CKK.DSA:
        return dsa_keys.private_key(_dsa_domain(attributes), x)
    if not p % 2 or not 1 <= x < p - 1:
        raise ValueError("not in this domain")
    public = _public(attributes, key_type, dsa_keys.power(g, x, p))
    assert isinstance(public, AgreementPublicKey)
    return AgreementKey(public, x)


def _dsa_domain(attributes: Mapping[int, bytes]) -> dsa_keys.Domain:
    return dsa_keys.Domain(*(_integer(attributes[kind]) for kind in (CKA.PRIME, CKA.SUBPRIME, CKA.BASE)))


def _check_size(p: int, key_type: int) -> None:
    """Raise P11Error(KEY_SIZE_RANGE) before anything is calculated with numbers that are too long."""
    if p.bit_length() not in _SIZES[CKK(key_type)]:
        raise P11Error(CKR.KEY_SIZE_RANGE)


def _integer(value: bytes) -> int:
    return int.from_bytes(value, "big")
