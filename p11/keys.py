# SPDX-License-Identifier: MIT
"""Keys: private ones on the card or in a session behind one interface, and the attributes that numbers travel in."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from ..card import keys as arithmetic
from ..card import tlv
from ..card.status import CardError
from ..card.tables import RSA_BITS, Algorithm, PinRule
from .attributes import Attributes, number, ulong
from .constants import CKA, CKK, CKR
from .errors import P11Error, from_status
from .piv_client import PivClient

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey
SoftKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey

_P256 = bytes.fromhex("06082a8648ce3d030107")
_P384 = bytes.fromhex("06052b81040022")
_ED25519 = bytes.fromhex("06032b6570")
_X25519 = bytes.fromhex("06032b656e")

# The names that CKA_EC_PARAMS may have instead of the object identifier (PKCS #11 3.1, 6.3.3).
_BY_NAME = {
    "secp256r1": _P256,
    "prime256v1": _P256,
    "secp384r1": _P384,
    "edwards25519": _ED25519,
    "curve25519": _X25519,
}
# Other names that programs know the curves by: object identifiers from before RFC 8410, and a PrintableString whose
# length is wrong, which is what OpenSC 0.23's pkcs11-tool sends for curve25519.
_ALIASES = {
    bytes.fromhex("06092b06010401da470f01"): _ED25519,
    bytes.fromhex("060a2b060104019755010501"): _X25519,
    b"\x13\x0bcurve25519": _X25519,
}
CURVES: dict[bytes, tuple[CKK, Algorithm]] = {
    _P256: (CKK.EC, Algorithm.P256),
    _P384: (CKK.EC, Algorithm.P384),
    _ED25519: (CKK.EC_EDWARDS, Algorithm.ED25519),
    _X25519: (CKK.EC_MONTGOMERY, Algorithm.X25519),
}
"""Key type and the card's algorithm by CKA_EC_PARAMS."""

_NIST: dict[Algorithm, ec.EllipticCurve] = {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}
_RSA = {bits: algorithm for algorithm, bits in RSA_BITS.items()}
_LARGEST_RSA = 4096
_POINT_LENGTHS = (32, 65, 97)


class PrivateKey(Protocol):
    """A private key that works. `use` is the bare operation: RSA on a block of the length of the modulus, ECDSA (DER)
    on a digest, EdDSA on the message. `agree` takes the other side's point and gives the shared secret.

    Both raise P11Error and, for a key on a card, CardRemoved. The card wants the PIN for a key that `needs_login`,
    before each use for one that will `always_authenticate`.
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


class CardKey:
    """A private key in a slot of the card; `rule` is the card's rule for it."""

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
        """GENERAL AUTHENTICATE with a challenge."""
        return self._card.use_key(self.slot, self._algorithm, data)

    def agree(self, point: bytes) -> bytes:
        """GENERAL AUTHENTICATE with the exponentiation tag."""
        return self._card.use_key(self.slot, self._algorithm, point, 0x85)


class SessionKey:
    """A private key that lives in the simulator's memory, for as long as its session."""

    needs_login = False

    def __init__(self, key: SoftKey, always_authenticate: bool = False) -> None:
        self.private = key
        self.always_authenticate = always_authenticate
        self.public: PublicKey = key.public_key()
        self.signature_length = signature_length(self.public)
        self._working: Any = arithmetic.wrap(key)

    def use(self, data: bytes) -> bytes:
        """The same operation as a card's."""
        try:
            result: bytes = self._working.answer(data)
        except CardError as error:
            raise from_status(error.status) from None
        return result

    def agree(self, point: bytes) -> bytes:
        """The same operation as a card's."""
        try:
            result: bytes = self._working.agree(point)
        except CardError as error:
            raise from_status(error.status) from None
        return result


def signature_length(key: PublicKey) -> int:
    """Bytes of a signature: the modulus, or r and s."""
    if isinstance(key, rsa.RSAPublicKey):
        return (key.key_size + 7) // 8
    if isinstance(key, ec.EllipticCurvePublicKey):
        return 2 * ((key.key_size + 7) // 8)
    return 64


def algorithm_of(public: PublicKey) -> Algorithm:
    """The card's name for a kind of key. Raises P11Error(KEY_SIZE_RANGE) for one that no card has."""
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size not in _RSA:
            raise P11Error(CKR.KEY_SIZE_RANGE)
        return _RSA[public.key_size]
    return CURVES[_parameters(public)][1]


def rsa_algorithm(bits: int) -> Algorithm:
    """Raises P11Error(KEY_SIZE_RANGE)."""
    if bits not in _RSA:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return _RSA[bits]


def well_formed(parameters: bytes) -> bytes:
    """CKA_EC_PARAMS by the name that everybody understands."""
    return _ALIASES.get(parameters, parameters)


def curve(parameters: bytes, key_type: int) -> Algorithm:
    """What CKA_EC_PARAMS names. Raises P11Error: CURVE_NOT_SUPPORTED, DOMAIN_PARAMS_INVALID for what is no name."""
    parameters = well_formed(parameters)
    try:
        tag, value, end = tlv.read(parameters)
        if end != len(parameters):
            raise P11Error(CKR.DOMAIN_PARAMS_INVALID)
        if tag == 0x13:
            parameters = _BY_NAME.get(value.decode("ascii"), b"")
        elif tag != 0x06:
            raise P11Error(CKR.CURVE_NOT_SUPPORTED if tag == 0x30 else CKR.DOMAIN_PARAMS_INVALID)
    except (tlv.TlvError, UnicodeDecodeError):
        raise P11Error(CKR.DOMAIN_PARAMS_INVALID) from None
    known = CURVES.get(parameters)
    if known is None:
        raise P11Error(CKR.CURVE_NOT_SUPPORTED)
    if known[0] != key_type:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    return known[1]


def generate(algorithm: Algorithm, exponent: int = 65537) -> SoftKey:
    """A new private key in memory."""
    if algorithm in RSA_BITS:
        return rsa.generate_private_key(exponent, RSA_BITS[algorithm])
    if algorithm is Algorithm.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm is Algorithm.X25519:
        return x25519.X25519PrivateKey.generate()
    return ec.generate_private_key(_NIST[algorithm])


def public_attributes(public: PublicKey) -> Attributes:
    """What is told of a public key by its kind (RSA: PKCS #11 3.1, 6.1.2; curves: 6.3.3 to 6.3.7)."""
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
    parameters = _parameters(public)
    return {
        **common,
        CKA.KEY_TYPE: ulong(CURVES[parameters][0]),
        CKA.EC_PARAMS: parameters,
        CKA.EC_POINT: tlv.encode(0x04, point(public)),
    }


def private_attributes(key: SoftKey) -> Attributes:
    """The numbers of a private key, secret ones included, with those of its public half that belong to it."""
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
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {**public, CKA.VALUE: number(key.private_numbers().private_value)}
    return {**public, CKA.VALUE: key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())}


def public_from(attributes: Attributes, key_type: int) -> PublicKey:
    """The public key of a template. Raises P11Error(ATTRIBUTE_VALUE_INVALID, KEY_SIZE_RANGE, CURVE_NOT_SUPPORTED)."""
    try:
        if key_type == CKK.RSA:
            modulus, exponent = (_integer(attributes[kind]) for kind in (CKA.MODULUS, CKA.PUBLIC_EXPONENT))
            if not 1024 <= modulus.bit_length() <= _LARGEST_RSA:
                raise P11Error(CKR.KEY_SIZE_RANGE)
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return public_from_point(curve(attributes[CKA.EC_PARAMS], key_type), bare_point(attributes[CKA.EC_POINT]))
    except (ValueError, TypeError):
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None


def public_from_point(algorithm: Algorithm, value: bytes) -> PublicKey:
    """Raises ValueError for a point that is none."""
    if algorithm is Algorithm.ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(value)
    if algorithm is Algorithm.X25519:
        return x25519.X25519PublicKey.from_public_bytes(value)
    return ec.EllipticCurvePublicKey.from_encoded_point(_NIST[algorithm], value)


def public_from_info(value: bytes) -> PublicKey:
    """A SubjectPublicKeyInfo. Raises ValueError for one of another kind."""
    key = load_der_public_key(value)
    if not isinstance(key, PublicKey):
        raise ValueError(f"a public key of type {type(key).__name__}")
    return key


def private_from(attributes: Attributes, key_type: int) -> SoftKey:
    """The private key of a template. Raises P11Error: ATTRIBUTE_VALUE_INVALID for numbers that make none."""
    try:
        if key_type == CKK.RSA:
            return _rsa_from(attributes)
        algorithm = curve(attributes[CKA.EC_PARAMS], key_type)
        value = attributes[CKA.VALUE]
        if algorithm is Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(value)
        if algorithm is Algorithm.X25519:
            return x25519.X25519PrivateKey.from_private_bytes(value)
        key = ec.derive_private_key(int.from_bytes(value, "big"), _NIST[algorithm])
        told = attributes.get(CKA.EC_POINT)
        if told and bare_point(told) != point(key.public_key()):
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        return key
    except (ValueError, TypeError):
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID) from None


def card_numbers(key: SoftKey) -> dict[int, bytes]:
    """The numbers of a private key by the tags of IMPORT KEY."""
    if isinstance(key, rsa.RSAPrivateKey):
        half = key.key_size // 16
        numbers = key.private_numbers()
        values = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        return {tag: value.to_bytes(half, "big") for tag, value in enumerate(values, start=1)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {0x06: key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")}
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return {0x07 if isinstance(key, ed25519.Ed25519PrivateKey) else 0x08: raw}


def point(public: PublicKey) -> bytes:
    """A point as the card has it: uncompressed, or the 32 bytes of Curve25519."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def bare_point(value: bytes) -> bytes:
    """The point in CKA_EC_POINT or in a mechanism's parameter: in a DER OCTET STRING, or as it is."""
    if len(value) in _POINT_LENGTHS:  # asked first: the first bytes of a bare point can look like DER
        return value
    try:
        tag, inner, end = tlv.read(value)
    except tlv.TlvError:
        return value
    return inner if tag == 0x04 and end == len(value) else value


def identity(public: PublicKey) -> bytes:
    """The CKA_ID of a key without a certificate: the SHA-1 of modulus or point, as NSS makes it."""
    value = number(public.public_numbers().n) if isinstance(public, rsa.RSAPublicKey) else point(public)
    return hashlib.sha1(value, usedforsecurity=False).digest()


def _rsa_from(attributes: Attributes) -> rsa.RSAPrivateKey:
    given = {kind: _integer(attributes[kind]) for kind in _RSA_NUMBERS if attributes.get(kind)}
    n, d = given[CKA.MODULUS], given[CKA.PRIVATE_EXPONENT]
    if not 1024 <= n.bit_length() <= _LARGEST_RSA:  # asked first, for numbers of any length would take any time
        raise P11Error(CKR.KEY_SIZE_RANGE)
    p, q = given.get(CKA.PRIME_1), given.get(CKA.PRIME_2)
    e = given.get(CKA.PUBLIC_EXPONENT)
    if e is None:
        if p is None or q is None:
            raise P11Error(CKR.TEMPLATE_INCOMPLETE)
        e = pow(d, -1, (p - 1) * (q - 1))
    if p is None or q is None:
        p, q = rsa.rsa_recover_prime_factors(n, e, d)
    dp = given.get(CKA.EXPONENT_1) or rsa.rsa_crt_dmp1(d, p)
    dq = given.get(CKA.EXPONENT_2) or rsa.rsa_crt_dmq1(d, q)
    inverse = given.get(CKA.COEFFICIENT) or rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, inverse, rsa.RSAPublicNumbers(e, n)).private_key()


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
    if len(value) > 2 * _LARGEST_RSA // 8:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return int.from_bytes(value, "big")


def _parameters(public: PublicKey) -> bytes:
    if isinstance(public, ec.EllipticCurvePublicKey):
        known = _BY_NAME.get(public.curve.name)
        if known is None:
            raise P11Error(CKR.CURVE_NOT_SUPPORTED)
        return known
    return _ED25519 if isinstance(public, ed25519.Ed25519PublicKey) else _X25519
