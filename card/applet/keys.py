# SPDX-License-Identifier: MIT
"""Private keys: generation, import, signatures, RSA operations and key agreement.

The classes stand alone: each wraps a private key of cryptography and does not know slots. `respond` is what a key does
with a challenge, `agree` what it does with another party's point; keys on NIST curves have both. The arithmetic is
OpenSSL's (through cryptography); only the raw RSA operation on arbitrary blocks, which cryptography does not offer, is
GMP's, in the variant whose running time does not depend on the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from .. import tlv
from ..certificate_reader import Certificate
from ..crypto import curve_orders, curves, dsa_keys, edwards
from ..image.state import StoredKey
from ..status import SW, CardError
from ..tables import DSA_BITS, KEY_PAIR_ALGORITHMS, RSA_BITS, Algorithm

try:
    from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo

    _NO_DIGEST_INFO: NoDigestInfo | None = NoDigestInfo()
except ImportError:  # cryptography before 47: GMP does every block
    _NO_DIGEST_INFO = None

_DSA_SCHEMES = {digest.digest_size: Prehashed(digest) for digest in (hashes.SHA1(), hashes.SHA224(), hashes.SHA256())}
"""By the order's length in bytes, which is that of a digest; a longer digest is truncated (FIPS 186-4, 4.6)."""
_LONGEST_DSA_DIGEST = 64

# A digest of the field's length; longer ones are truncated, shorter ones padded (SP 800-73-5 part 2, A.4).
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "secp224r1": hashes.SHA224(),
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),  # no digest is longer
    "secp256k1": hashes.SHA256(),
}
# Constructed once: the library loads a module of its own for the first one.
_SCHEMES = {curve: ec.ECDSA(Prehashed(digest)) for curve, digest in _DIGESTS.items()}
_PADDING = PKCS1v15()
_EXPONENT = 65537
_GREATEST_EXPONENT = 2**256  # FIPS 186-5, 5.1: public exponents are less
_CRT_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05)
_CURVE_TAGS = {
    curves.CurveFamily.WEIERSTRASS: 0x06,
    curves.CurveFamily.EDWARDS: 0x07,
    curves.CurveFamily.MONTGOMERY: 0x08,
}
_DSA_TAGS = (0x09, 0x0A, 0x0B, 0x0C)
_SHORTEST_PADDING = b"\x00\x01" + 8 * b"\xff"


class RsaKey:
    """An RSA key with one operation, on blocks of the length of the modulus."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self.length = (key.key_size + 7) // 8

    def respond(self, block: bytes) -> bytes:
        """Apply the private operation to one block. Raises CardError(6A80) unless it fits the modulus."""
        if len(block) != self.length:
            raise CardError(SW.INCORRECT_DATA)
        if _NO_DIGEST_INFO is not None and block.startswith(_SHORTEST_PADDING):
            separator = block.find(0, 2)
            if separator > 0 and block.startswith(b"\xff" * (separator - 2), 2):
                return self._key.sign(block[separator + 1 :], _PADDING, _NO_DIGEST_INFO)
        return self._bare(int.from_bytes(block, "big")).to_bytes(self.length, "big")

    @cached_property
    def _bare(self) -> _BareRsa:
        """Return the raw private operation."""
        return _BareRsa(self._key.private_numbers())

    def public_template(self) -> bytes:
        """Encode modulus and exponent as for GENERATE ASYMMETRIC KEY PAIR (SP 800-73-5 part 2, table 15)."""
        numbers = self._key.public_key().public_numbers()
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        return tlv.encode(0x81, numbers.n.to_bytes(self.length, "big")) + tlv.encode(0x82, exponent)


class _BareRsa:
    """The raw RSA private operation, by the Chinese remainder theorem (RFC 8017, 5.1.2).

    Made and GMP loaded (10 ms) on first use only, for many cards never need it.
    """

    def __init__(self, numbers: rsa.RSAPrivateNumbers) -> None:
        import gmpy2

        self._power = gmpy2.powmod_sec
        self._n = numbers.public_numbers.n
        self._p, self._q = gmpy2.mpz(numbers.p), gmpy2.mpz(numbers.q)
        self._dp, self._dq = gmpy2.mpz(numbers.dmp1), gmpy2.mpz(numbers.dmq1)
        self._q_inverse = gmpy2.mpz(numbers.iqmp)

    def __call__(self, number: int) -> int:
        """Apply the private operation to a number. Raises CardError(6A80) unless it is below the modulus."""
        if number >= self._n:
            raise CardError(SW.INCORRECT_DATA)
        at_p = self._power(number % self._p, self._dp, self._p)
        at_q = self._power(number % self._q, self._dq, self._q)
        return int(at_q + self._q * ((at_p - at_q) * self._q_inverse % self._p))


class EcKey:
    """A key on a Weierstrass curve, such as P-256: signatures and key agreement."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._curve = key.curve
        self._digest_length = _DIGESTS[key.curve.name].digest_size
        self._zeros = max((key.key_size + 7) // 8 - self._digest_length, 0)
        self._scheme = _SCHEMES[key.curve.name]

    def respond(self, digest: bytes) -> bytes:
        """Sign a digest by ECDSA; the signature is DER. Raises CardError(6A80) for a digest of 0 or more than 64 bytes.

        On P-521 the digest may be padded with zeros to the 66 bytes of the order.
        """
        digest = digest[self._zeros :] if len(digest) > 64 and not any(digest[: self._zeros]) else digest
        if not 1 <= len(digest) <= 64:
            raise CardError(SW.INCORRECT_DATA)
        return self._key.sign(digest[: self._digest_length].rjust(self._digest_length, b"\0"), self._scheme)

    def agree(self, point: bytes) -> bytes:
        """Return the x coordinate of the shared secret. Raises CardError(6A80) for a point that is not on the curve."""
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, point)
        except ValueError:
            raise CardError(SW.INCORRECT_DATA) from None
        return self._key.exchange(ec.ECDH(), peer)

    def public_template(self) -> bytes:
        """Encode the public key as an uncompressed point."""
        point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return tlv.encode(0x86, point)


class EdwardsKey:
    """An Ed25519 or Ed448 key: signatures of messages, without prior hashing (RFC 8032, 5.1.6 and 5.2.6)."""

    def __init__(self, key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) -> None:
        self._key = key

    def respond(self, message: bytes) -> bytes:
        """Sign a message; the signature has 64 or 114 bytes."""
        return self._key.sign(message)

    def respond_variant(self, message: bytes, variant: bytes) -> bytes:
        """Sign with a context, or the hash of a message. Raises CardError(6A80) for a malformed variant field."""
        try:
            return edwards.sign(self._key, message, edwards.Variant.decode(variant))
        except ValueError:
            raise CardError(SW.INCORRECT_DATA) from None

    def public_template(self) -> bytes:
        """Encode the public key, 32 or 57 bytes."""
        return tlv.encode(0x86, self._key.public_key().public_bytes_raw())


class MontgomeryKey:
    """An X25519 or X448 key: key agreement (RFC 7748, 5)."""

    def __init__(self, key: x25519.X25519PrivateKey | x448.X448PrivateKey) -> None:
        self._key = key

    def agree(self, point: bytes) -> bytes:
        """Return the shared secret, as long as a point. Raises CardError(6A80) for small order or another length."""
        try:
            if isinstance(self._key, x448.X448PrivateKey):
                return self._key.exchange(x448.X448PublicKey.from_public_bytes(point))
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        except ValueError:
            raise CardError(SW.INCORRECT_DATA) from None

    def public_template(self) -> bytes:
        """Encode the public key, 32 or 56 bytes."""
        return tlv.encode(0x86, self._key.public_key().public_bytes_raw())


class DsaKey:
    """A DSA key on a card: signatures of digests."""

    def __init__(self, key: dsa.DSAPrivateKey) -> None:
        self._key = key
        self._domain = dsa_keys.domain_of(key.public_key())
        self._length = (self._domain.q.bit_length() + 7) // 8

    def respond(self, digest: bytes) -> bytes:
        """Sign a digest; the signature is DER. Raises CardError(6A80) for a digest of 0 or more than 64 bytes."""
        if not 1 <= len(digest) <= _LONGEST_DSA_DIGEST:
            raise CardError(SW.INCORRECT_DATA)
        return self._key.sign(digest[: self._length].rjust(self._length, b"\0"), _DSA_SCHEMES[self._length])

    def public_template(self) -> bytes:
        """Encode the domain parameters and the public value (ISO/IEC 7816-8, table 3)."""
        value = dsa_keys.octets(self._key.public_key().public_numbers().y)
        return b"".join(tlv.encode(*each) for each in {**self._domain.encode(0x81), 0x84: value}.items())


PrivateKey = RsaKey | EcKey | EdwardsKey | MontgomeryKey | DsaKey
Key = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | x25519.X25519PrivateKey
    | x448.X448PrivateKey
    | dsa.DSAPrivateKey
)


class KeyRing:
    """A cache of a card's private keys: each is loaded once for as long as its slot holds the same key."""

    def __init__(self) -> None:
        self._unpacked: dict[int, tuple[StoredKey, PrivateKey]] = {}

    def unpack(self, slot: int, stored: StoredKey) -> PrivateKey:
        """Return the key in a slot. Loading it takes about a millisecond, a cached one none."""
        known = self._unpacked.get(slot)
        if known is not None and known[0] is stored:
            return known[1]
        key = load(stored)
        self._unpacked[slot] = (stored, key)
        return key


def make(algorithm: Algorithm, domain: Sequence[bytes]) -> bytes:
    """Generate a private key (PKCS #8 DER) by the parameters of GENERATE ASYMMETRIC KEY PAIR. Raises CardError."""
    if algorithm not in DSA_BITS:
        return pack(generate(algorithm))
    try:
        return pack(dsa_keys.generate(_domain(algorithm, *(int.from_bytes(number, "big") for number in domain))))
    except ValueError:
        raise CardError(SW.INCORRECT_DATA) from None


def generate(algorithm: Algorithm) -> Key:
    """Generate a private key (of cryptography) of a kind that needs no domain parameters."""
    if algorithm in RSA_BITS:
        return rsa.generate_private_key(_EXPONENT, RSA_BITS[algorithm])
    return curves.BY_ALGORITHM[algorithm].generate()


def algorithm_of(key: object) -> Algorithm:
    """Return the algorithm of a private key (of cryptography). Raises ValueError for one that no card has."""
    curve_orders.require_in_range(key)
    if isinstance(key, rsa.RSAPrivateKey):
        kinds = [each for each, bits in RSA_BITS.items() if bits == key.key_size]
    elif isinstance(key, dsa.DSAPrivateKey):
        kinds = [each for each, bits in DSA_BITS.items() if bits == key.key_size]
    else:
        curve = curves.of_key(key.public_key()) if isinstance(key, curves.CurveKey) else None
        kinds = [curve.algorithm] if curve is not None and curve.algorithm is not None else []
    if not kinds:
        there = ", ".join(sorted(each.name for each in KEY_PAIR_ALGORITHMS))
        raise ValueError(f"no card has a key of {_kind_of(key)}; there are {there}")
    return kinds[0]


def _kind_of(key: object) -> str:
    """Describe a key's kind for an error message."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"the curve {key.curve.name}"
    kind = type(key).__name__.removeprefix("_").removesuffix("PrivateKey")
    size = getattr(key, "key_size", None)
    return kind if size is None else f"{kind} with {size} bits"


def assemble(algorithm: Algorithm, numbers: dict[int, bytes]) -> bytes:
    """Build a private key (PKCS #8 DER) from the numbers of IMPORT KEY. Raises CardError(6A80) for invalid ones."""
    try:
        return pack(_assemble(algorithm, numbers))
    except ValueError:
        raise CardError(SW.INCORRECT_DATA) from None


def load(stored: StoredKey) -> PrivateKey:
    """Load a stored key for use."""
    return wrap(serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True))


def belongs(certificate: Certificate, stored: StoredKey) -> bool:
    """Return whether a certificate has the public key of a stored key."""
    return bool(_public(stored) == certificate.public_key)


def same_pair(one: StoredKey, other: StoredKey) -> bool:
    """Return whether two stored keys are the same key pair, whatever their policies are."""
    return bool(_public(one) == _public(other))


def _public(stored: StoredKey) -> Any:
    """Return the public key (of cryptography) of a stored key."""
    private: Any = serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True)
    return private.public_key()


def wrap(key: object) -> PrivateKey:
    """Wrap a private key (of cryptography) for use. Raises ValueError for a kind that no card has."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _DIGESTS:
        return EcKey(key)
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return EdwardsKey(key)
    if isinstance(key, x25519.X25519PrivateKey | x448.X448PrivateKey):
        return MontgomeryKey(key)
    if isinstance(key, dsa.DSAPrivateKey):
        return DsaKey(key)
    raise ValueError(f"a card has no keys of type {type(key).__name__}")


def _assemble(algorithm: Algorithm, numbers: dict[int, bytes]) -> Key:
    """Build a private key from numbers by tag. Raises ValueError unless they make a key of that algorithm."""
    if algorithm in RSA_BITS and numbers.keys() == set(_CRT_TAGS):
        return _rsa_key(RSA_BITS[algorithm], *(int.from_bytes(numbers[tag], "big") for tag in _CRT_TAGS))
    curve = curves.BY_ALGORITHM.get(algorithm)
    if curve is not None and numbers.keys() == {_CURVE_TAGS[curve.family]}:
        return curve.private(numbers[_CURVE_TAGS[curve.family]])
    if algorithm in DSA_BITS and numbers.keys() == set(_DSA_TAGS):
        *domain, value = (int.from_bytes(numbers[tag], "big") for tag in _DSA_TAGS)
        return dsa_keys.private_key(_domain(algorithm, *domain), value)
    raise ValueError("the numbers of another kind of key")


def _domain(algorithm: Algorithm, p: int, q: int, g: int) -> dsa_keys.Domain:
    """Return domain parameters. Raises ValueError for a prime of another length, which could take any time to check."""
    if p.bit_length() != DSA_BITS[algorithm]:
        raise ValueError("a prime of another length")
    return dsa_keys.Domain(p, q, g)


def _rsa_key(bits: int, p: int, q: int, dp: int, dq: int, q_inverse: int) -> rsa.RSAPrivateKey:
    """Build an RSA key; the public exponent, which is not given, is the inverse of dP unless that is too great."""
    n = p * q
    if n.bit_length() != bits:  # checked first, because numbers of any length would take any time
        raise ValueError("a modulus of another length")
    e = pow(dp, -1, p - 1)
    if not 2 < e < _GREATEST_EXPONENT:
        raise ValueError("no public exponent")
    d = rsa.rsa_recover_private_exponent(e, p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, q_inverse, rsa.RSAPublicNumbers(e, n)).private_key()


def pack(key: Key) -> bytes:
    """Encode a private key (of cryptography) as PKCS #8 DER."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
