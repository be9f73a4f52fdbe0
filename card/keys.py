# SPDX-License-Identifier: MIT
"""Private keys: how they come into being, and what is done with them: RSA, signatures and key agreement on curves.

The classes work alone, too: each is made of a private key of cryptography and knows nothing of slots. What a key does
with a challenge is its `answer`, what it does with somebody's point is to `agree`; some can do both. The arithmetic is
OpenSSL's (through cryptography); only the bare RSA operation on arbitrary blocks, which cryptography does not offer, is
GMP's, in the variant whose running time does not depend on the key.
"""

from __future__ import annotations

from functools import cached_property

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed

from . import tlv
from .state import StoredKey
from .status import SW, CardError
from .tables import RSA_BITS, Algorithm

_CURVES: dict[int, ec.EllipticCurve] = {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}
# A digest of the field's length; longer ones are cut, shorter ones padded (SP 800-73-4 part 2, A.4).
_DIGESTS: dict[str, hashes.HashAlgorithm] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}
# Made here and not with each key, also because the library loads a part of itself when the first is made.
_SCHEMES = {curve: ec.ECDSA(Prehashed(digest)) for curve, digest in _DIGESTS.items()}
_PADDING, _NO_DIGEST_INFO = PKCS1v15(), NoDigestInfo()
_EXPONENT = 65537
_GREATEST_EXPONENT = 2**256  # FIPS 186-5, 5.1: public exponents are less
_CRT_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05)
_SHORTEST_PADDING = b"\x00\x01" + 8 * b"\xff"


class RsaKey:
    """An RSA key: one operation, on blocks of the length of the modulus."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self.length = (key.key_size + 7) // 8

    def answer(self, block: bytes) -> bytes:
        """The private operation on one block. Raises CardError(6A80) when it does not fit the modulus."""
        if len(block) != self.length:
            raise CardError(SW.INCORRECT_DATA)
        if block.startswith(_SHORTEST_PADDING):
            separator = block.find(0, 2)
            if separator > 0 and block.startswith(b"\xff" * (separator - 2), 2):
                return self._key.sign(block[separator + 1 :], _PADDING, _NO_DIGEST_INFO)
        return self._bare(int.from_bytes(block, "big")).to_bytes(self.length, "big")

    @cached_property
    def _bare(self) -> _BareRsa:
        return _BareRsa(self._key.private_numbers())

    def public_template(self) -> bytes:
        """Modulus and exponent as in the answer of GENERATE ASYMMETRIC KEY PAIR (SP 800-73-4 part 2, table 15)."""
        numbers = self._key.public_key().public_numbers()
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        return tlv.encode(0x81, numbers.n.to_bytes(self.length, "big")) + tlv.encode(0x82, exponent)


class _BareRsa:
    """RSA on any number below the modulus, by the Chinese remainder theorem (RFC 8017, 5.1.2).

    Many cards never need it, and GMP takes 10 ms to load: both wait until it is wanted.
    """

    def __init__(self, numbers: rsa.RSAPrivateNumbers) -> None:
        import gmpy2

        self._power = gmpy2.powmod_sec
        self._n = numbers.public_numbers.n
        self._p, self._q = gmpy2.mpz(numbers.p), gmpy2.mpz(numbers.q)
        self._dp, self._dq = gmpy2.mpz(numbers.dmp1), gmpy2.mpz(numbers.dmq1)
        self._q_inverse = gmpy2.mpz(numbers.iqmp)

    def __call__(self, number: int) -> int:
        """Raises CardError(6A80) for a number that does not fit the modulus."""
        if number >= self._n:
            raise CardError(SW.INCORRECT_DATA)
        at_p = self._power(number % self._p, self._dp, self._p)
        at_q = self._power(number % self._q, self._dq, self._q)
        return int(at_q + self._q * ((at_p - at_q) * self._q_inverse % self._p))


class EcKey:
    """A key on P-256 or P-384: signatures and key agreement."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._curve = key.curve
        self._digest_length = _DIGESTS[key.curve.name].digest_size
        self._scheme = _SCHEMES[key.curve.name]

    def answer(self, digest: bytes) -> bytes:
        """An ECDSA signature (DER) of a digest. Raises CardError(6A80) for an empty one or one over 64 bytes."""
        if not 1 <= len(digest) <= 64:
            raise CardError(SW.INCORRECT_DATA)
        return self._key.sign(digest[: self._digest_length].rjust(self._digest_length, b"\0"), self._scheme)

    def agree(self, point: bytes) -> bytes:
        """The shared secret's x coordinate. Raises CardError(6A80) for a point that is not on the curve."""
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, point)
        except ValueError:
            raise CardError(SW.INCORRECT_DATA) from None
        return self._key.exchange(ec.ECDH(), peer)

    def public_template(self) -> bytes:
        """The point, uncompressed."""
        point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return tlv.encode(0x86, point)


class EdwardsKey:
    """An Ed25519 key: signatures of messages (RFC 8032, 5.1.6), which are not hashed before."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key

    def answer(self, message: bytes) -> bytes:
        """A signature of 64 bytes."""
        return self._key.sign(message)

    def public_template(self) -> bytes:
        """The public key, 32 bytes."""
        return tlv.encode(0x86, self._key.public_key().public_bytes_raw())


class MontgomeryKey:
    """An X25519 key: key agreement (RFC 7748, 5)."""

    def __init__(self, key: x25519.X25519PrivateKey) -> None:
        self._key = key

    def agree(self, point: bytes) -> bytes:
        """The shared secret, 32 bytes. Raises CardError(6A80) for a point of small order or of another length."""
        try:
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        except ValueError:
            raise CardError(SW.INCORRECT_DATA) from None

    def public_template(self) -> bytes:
        """The public key, 32 bytes."""
        return tlv.encode(0x86, self._key.public_key().public_bytes_raw())


PrivateKey = RsaKey | EcKey | EdwardsKey | MontgomeryKey
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey


class KeyRing:
    """The private keys of a card, ready for use: each is unpacked once for as long as its slot holds the same."""

    def __init__(self) -> None:
        self._unpacked: dict[int, tuple[StoredKey, PrivateKey]] = {}

    def unpack(self, slot: int, stored: StoredKey) -> PrivateKey:
        """The key that a slot holds. Unpacking takes about a millisecond, finding it unpacked takes none."""
        known = self._unpacked.get(slot)
        if known is not None and known[0] is stored:
            return known[1]
        key = load(stored)
        self._unpacked[slot] = (stored, key)
        return key


def generate(algorithm: Algorithm) -> Key:
    """A new private key of cryptography."""
    if algorithm in RSA_BITS:
        return rsa.generate_private_key(_EXPONENT, RSA_BITS[algorithm])
    if algorithm is Algorithm.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm is Algorithm.X25519:
        return x25519.X25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[algorithm])


def assemble(algorithm: Algorithm, numbers: dict[int, bytes]) -> bytes:
    """A private key as PKCS #8 DER from the numbers of IMPORT KEY. Raises CardError(6A80) when they make none."""
    try:
        return pack(_assemble(algorithm, numbers))
    except ValueError:
        raise CardError(SW.INCORRECT_DATA) from None


def load(stored: StoredKey) -> PrivateKey:
    """A stored key, ready for use."""
    return wrap(serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True))


def wrap(key: object) -> PrivateKey:
    """A private key of cryptography, ready for use. Raises ValueError for one of another kind than the card's."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _DIGESTS:
        return EcKey(key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return EdwardsKey(key)
    if isinstance(key, x25519.X25519PrivateKey):
        return MontgomeryKey(key)
    raise ValueError(f"a card has no keys of type {type(key).__name__}")


def _assemble(algorithm: Algorithm, numbers: dict[int, bytes]) -> Key:
    if algorithm in RSA_BITS and numbers.keys() == set(_CRT_TAGS):
        return _rsa_key(RSA_BITS[algorithm], *(int.from_bytes(numbers[tag], "big") for tag in _CRT_TAGS))
    match algorithm, numbers:
        case (Algorithm.P256 | Algorithm.P384, {0x06: scalar}) if len(numbers) == 1:
            return ec.derive_private_key(int.from_bytes(scalar, "big"), _CURVES[algorithm])
        case (Algorithm.ED25519, {0x07: value}) if len(numbers) == 1:
            return ed25519.Ed25519PrivateKey.from_private_bytes(value)
        case (Algorithm.X25519, {0x08: value}) if len(numbers) == 1:
            return x25519.X25519PrivateKey.from_private_bytes(value)
    raise ValueError("the numbers of another kind of key")


def _rsa_key(bits: int, p: int, q: int, dp: int, dq: int, q_inverse: int) -> rsa.RSAPrivateKey:
    """The public exponent does not come along; it is what dP undoes, unless that is too great to be one."""
    n = p * q
    if n.bit_length() != bits:  # asked first, for numbers of any length would take any time
        raise ValueError("a modulus of another length")
    e = pow(dp, -1, p - 1)
    if not 2 < e < _GREATEST_EXPONENT:
        raise ValueError("no public exponent")
    d = rsa.rsa_recover_private_exponent(e, p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, q_inverse, rsa.RSAPublicNumbers(e, n)).private_key()


def pack(key: Key) -> bytes:
    """A private key of cryptography as PKCS #8 DER."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
