# SPDX-License-Identifier: MIT
"""Keys: private keys on the card or in a session behind one interface, and their attributes."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from ..card import tlv
from ..card.applet import keys as arithmetic
from ..card.certificate_reader import NO_KEY
from ..card.crypto import dsa_keys, edwards
from ..card.crypto.curves import CurvePublicKey, EdwardsKey, WeierstrassKey
from ..card.crypto.edwards import Variant
from ..card.status import CardError
from ..card.tables import Algorithm, PinRule
from . import curves, finite_fields, post_quantum
from .attributes import Attributes, number, ulong
from .constants import CKA, CKK, CKR
from .errors import P11Error
from .key_kinds import RSA_SIZES, SoftKey, card_algorithm
from .piv_client import PivClient
from .status_words import To, error_for

PublicKey = rsa.RSAPublicKey | CurvePublicKey | post_quantum.PublicKeys | finite_fields.PublicKeys


class PrivateKey(Protocol):
    """A private key that can be used.

    `use` is the bare operation: RSA on a block of the length of the modulus, ECDSA and DSA (DER) on a digest, EdDSA on
    the message. `agree` takes the other side's public key and returns the shared secret. Both raise P11Error and, for a
    key on a card, CardRemoved. The card wants the PIN for a key that `needs_login`, before each use if
    `always_authenticate`.
    """

    @property
    def public(self) -> PublicKey: ...

    @property
    def signature_length(self) -> int: ...

    @property
    def needs_login(self) -> bool: ...

    @property
    def always_authenticate(self) -> bool: ...

    def use(self, data: bytes) -> bytes: ...

    def agree(self, point: bytes) -> bytes: ...

    def has_variants(self) -> bool: ...

    def use_variant(self, message: bytes, variant: Variant) -> bytes: ...


class CardKey:
    """A private key in a slot of the card, with the PIN policy `rule`."""

    def __init__(self, card: PivClient, slot: int, public: PublicKey, rule: PinRule) -> None:
        self.slot = slot
        self.public = public
        self.rule = rule
        self.signature_length = signature_length(public)
        self.needs_login = rule is not PinRule.NEVER
        self.always_authenticate = rule is PinRule.ALWAYS
        self._card = card
        self._algorithm = algorithm_of(public)

    def use(self, data: bytes) -> bytes:
        """Send GENERAL AUTHENTICATE with a challenge."""
        return self._card.use_key(self.slot, self._algorithm, data)

    def agree(self, point: bytes) -> bytes:
        """Send GENERAL AUTHENTICATE with the exponentiation tag."""
        return self._card.use_key(self.slot, self._algorithm, point, 0x85)

    def has_variants(self) -> bool:
        """Return whether the card has EdDSA with a context or of a hash."""
        return self._card.has_edwards_variants()

    def use_variant(self, message: bytes, variant: Variant) -> bytes:
        """Sign by EdDSA with a context or of a hash."""
        return self._card.use_edwards_key(self.slot, self._algorithm, message, variant)


class SessionKey:
    """A private key in the simulator's memory, as long as its session."""

    needs_login = False

    def __init__(self, key: SoftKey, always_authenticate: bool = False) -> None:
        self.private = key
        self.always_authenticate = always_authenticate
        self.public: PublicKey = key.public_key()
        self.signature_length = signature_length(self.public)
        self._rsa = arithmetic.RsaKey(key) if isinstance(key, rsa.RSAPrivateKey) else None

    def use(self, data: bytes) -> bytes:
        """Do the same as a key on a card."""
        key = self.private
        if self._rsa is not None:
            try:
                return self._rsa.respond(data)
            except CardError as error:
                raise error_for(To.USE, error.status) from None
        if isinstance(key, ec.EllipticCurvePrivateKey):
            digest, scheme = curves.hash_to_sign(data, curves.of_key(key.public_key()).size)
            return key.sign(digest, ec.ECDSA(scheme))
        if isinstance(key, finite_fields.SigningKey):
            digest, scheme = curves.hash_to_sign(data, self.signature_length // 2)
            return key.sign(digest, scheme)
        if isinstance(key, EdwardsKey):
            return key.sign(data)
        raise P11Error(CKR.KEY_TYPE_INCONSISTENT)

    def agree(self, point: bytes) -> bytes:
        """Do the same as a key on a card."""
        key: Any = self.private
        try:
            if isinstance(key, finite_fields.AgreementKey):
                return key.exchange(point)
            peer = (curves.of_key(key.public_key()).public(point),)
            secret: bytes = key.exchange(*((ec.ECDH(), *peer) if isinstance(key, WeierstrassKey) else peer))
        except ValueError:
            raise P11Error(CKR.DATA_INVALID) from None
        return secret

    def has_variants(self) -> bool:
        """Return True: the library has the variants."""
        return True

    def use_variant(self, message: bytes, variant: Variant) -> bytes:
        """Sign by EdDSA with a context or of a hash."""
        if not isinstance(self.private, EdwardsKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        return edwards.sign(self.private, message, variant)


def signature_length(key: PublicKey) -> int:
    """Return the bytes of a signature: of the modulus, of r and s, or of the parameter set."""
    if isinstance(key, rsa.RSAPublicKey):
        return (key.key_size + 7) // 8
    if isinstance(key, CurvePublicKey):
        return 2 * curves.of_key(key).size
    if isinstance(key, finite_fields.PublicKeys):
        return finite_fields.signature_length(key)
    return post_quantum.output_length(key)


def algorithm_of(public: PublicKey) -> Algorithm:
    """Return the card's algorithm identifier for a key. Raises P11Error(KEY_SIZE_RANGE, CURVE_NOT_SUPPORTED)."""
    if isinstance(public, CurvePublicKey):
        return card_algorithm(curves.of_key(public))
    if isinstance(public, rsa.RSAPublicKey):
        return card_algorithm(public.key_size)
    if isinstance(public, finite_fields.VerifyingKey):
        return finite_fields.card_algorithm(dsa_keys.domain_of(public))
    raise P11Error(CKR.TEMPLATE_INCONSISTENT)


def public_attributes(public: PublicKey) -> Attributes:
    """Return the attributes of a public key (RSA: PKCS #11 3.1, 6.1.2; curves: 6.3.3 to 6.3.7)."""
    if isinstance(public, finite_fields.PublicKeys):
        return finite_fields.public_attributes(public)
    common: Attributes = {CKA.PUBLIC_KEY_INFO: public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {
            **common,
            CKA.KEY_TYPE: ulong(CKK.RSA),
            CKA.MODULUS: number(numbers.n),
            CKA.MODULUS_BITS: ulong(public.key_size),
            CKA.PUBLIC_EXPONENT: number(numbers.e),
        }
    if isinstance(public, post_quantum.PublicKeys):
        return {**common, **post_quantum.public_attributes(public)}
    curve = curves.of_key(public)
    return {
        **common,
        CKA.KEY_TYPE: ulong(curves.KEY_TYPES[curve.family]),
        CKA.EC_PARAMS: curve.parameters,
        CKA.EC_POINT: tlv.encode(0x04, point(public)),
    }


def private_attributes(key: SoftKey) -> Attributes:
    """Return the attributes of a private key, secret ones included."""
    public = public_attributes(key.public_key())
    public.pop(CKA.MODULUS_BITS, None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        return {
            **public,
            CKA.PRIVATE_EXPONENT: number(numbers.d),
            CKA.PRIME_1: number(numbers.p),
            CKA.PRIME_2: number(numbers.q),
            CKA.EXPONENT_1: number(numbers.dmp1),
            CKA.EXPONENT_2: number(numbers.dmq1),
            CKA.COEFFICIENT: number(numbers.iqmp),
        }
    if isinstance(key, post_quantum.PrivateKeys):
        public.pop(CKA.VALUE)
        return {**public, **post_quantum.private_attributes(key)}
    if isinstance(key, finite_fields.PrivateKeys):
        return {**public, **finite_fields.private_attributes(key)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {**public, CKA.VALUE: number(key.private_numbers().private_value)}
    return {**public, CKA.VALUE: key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())}


def public_from(attributes: Attributes, key_type: int) -> PublicKey:
    """Return a template's public key.

    Raises P11Error(ATTRIBUTE_VALUE_INVALID, KEY_SIZE_RANGE, CURVE_NOT_SUPPORTED).
    """
    try:
        if key_type == CKK.RSA:
            modulus, exponent = (_integer(attributes[kind]) for kind in (CKA.MODULUS, CKA.PUBLIC_EXPONENT))
            if modulus.bit_length() not in RSA_SIZES:
                raise P11Error(CKR.KEY_SIZE_RANGE)
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        if key_type in post_quantum.KEY_TYPES:
            return post_quantum.public_from(attributes, key_type)
        if key_type in finite_fields.KEY_TYPES:
            return finite_fields.public_from(attributes, key_type)
        curve = curves.named(attributes[CKA.EC_PARAMS], key_type)
        return curve.public(curves.bare_point(attributes[CKA.EC_POINT]))
    except (ValueError, TypeError):
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None


def public_from_info(value: bytes) -> PublicKey:
    """Return the key of a SubjectPublicKeyInfo. Raises ValueError for another kind of key."""
    try:
        key = load_der_public_key(value)
    except NO_KEY as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, PublicKey):
        raise ValueError(f"a public key of type {type(key).__name__}")
    return key


def domain_attributes(attributes: Attributes, key_type: int) -> Attributes:
    """Return the lengths of the numbers of a domain. Raises P11Error(ATTRIBUTE_VALUE_INVALID, KEY_SIZE_RANGE)."""
    try:
        return finite_fields.domain_attributes(attributes, key_type)
    except ValueError:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None


def private_from(attributes: Attributes, key_type: int) -> SoftKey:
    """Return a template's private key. Raises P11Error: ATTRIBUTE_VALUE_INVALID for numbers that make none."""
    try:
        if key_type == CKK.RSA:
            return _rsa_from(attributes)
        if key_type in post_quantum.KEY_TYPES:
            return post_quantum.private_from(attributes, key_type)
        if key_type in finite_fields.KEY_TYPES:
            return finite_fields.private_from(attributes, key_type)
        curve = curves.named(attributes[CKA.EC_PARAMS], key_type)
        key = curve.private(attributes[CKA.VALUE])
        if key_type != CKK.EC:
            return key
        told = attributes.get(CKA.EC_POINT)
        if told and curves.bare_point(told) != point(key.public_key()):
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        return key
    except (ValueError, TypeError):
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None


def card_numbers(key: SoftKey) -> dict[int, bytes]:
    """Return the numbers of a private key by the tags of IMPORT KEY. Raises P11Error(TEMPLATE_INCONSISTENT)."""
    if isinstance(key, rsa.RSAPrivateKey):
        half = key.key_size // 16
        numbers = key.private_numbers()
        values = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        return {tag: value.to_bytes(half, "big") for tag, value in enumerate(values, start=1)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {0x06: key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")}
    if isinstance(key, finite_fields.SigningKey):
        value = key.private_numbers().x
        return {**dsa_keys.domain_of(key.public_key()).encode(0x09), 0x0C: number(value)}
    if isinstance(key, finite_fields.PrivateKeys | post_quantum.PrivateKeys):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)  # no card has any
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return {0x07 if isinstance(key, EdwardsKey) else 0x08: raw}


def point(public: CurvePublicKey) -> bytes:
    """Return a point as the card has it: uncompressed, or the bare bytes of the other curves."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def identity(public: PublicKey) -> bytes:
    """Return the CKA_ID of a key without certificate: the SHA-1 of modulus, point or value, as in NSS."""
    value: bytes
    if isinstance(public, rsa.RSAPublicKey):
        value = number(public.public_numbers().n)
    else:
        value = point(public) if isinstance(public, CurvePublicKey) else public_attributes(public)[CKA.VALUE]
    return hashlib.sha1(value, usedforsecurity=False).digest()


def _rsa_from(attributes: Attributes) -> rsa.RSAPrivateKey:
    given = {kind: _integer(attributes[kind]) for kind in _RSA_NUMBERS if attributes.get(kind)}
    n, d = given[CKA.MODULUS], given[CKA.PRIVATE_EXPONENT]
    if n.bit_length() not in RSA_SIZES:  # first, for a calculation with longer numbers might take any time
        raise P11Error(CKR.KEY_SIZE_RANGE)
    p, q = given.get(CKA.PRIME_1), given.get(CKA.PRIME_2)
    e = given.get(CKA.PUBLIC_EXPONENT)
    if e is None:
        e = _likely_exponent(n, d) if p is None or q is None else pow(d, -1, (p - 1) * (q - 1))
    if p is None or q is None:
        p, q = rsa.rsa_recover_prime_factors(n, e, d)
    dp = given.get(CKA.EXPONENT_1) or rsa.rsa_crt_dmp1(d, p)
    dq = given.get(CKA.EXPONENT_2) or rsa.rsa_crt_dmq1(d, q)
    inverse = given.get(CKA.COEFFICIENT) or rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, inverse, rsa.RSAPublicNumbers(e, n)).private_key()


def _likely_exponent(n: int, d: int) -> int:
    """Find the public exponent, which the standard lets a template omit. Raises P11Error(TEMPLATE_INCOMPLETE)."""
    for e in (65537, 3):
        if pow(pow(2, e, n), d, n) == 2:
            return e
    raise P11Error(CKR.TEMPLATE_INCOMPLETE)


_RSA_NUMBERS = (
    CKA.MODULUS,
    CKA.PUBLIC_EXPONENT,
    CKA.PRIVATE_EXPONENT,
    CKA.PRIME_1,
    CKA.PRIME_2,
    CKA.EXPONENT_1,
    CKA.EXPONENT_2,
    CKA.COEFFICIENT,
)


def _integer(value: bytes) -> int:
    if len(value) > 2 * RSA_SIZES.stop // 8:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return int.from_bytes(value, "big")
