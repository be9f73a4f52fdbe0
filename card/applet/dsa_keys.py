# SPDX-License-Identifier: MIT
"""DSA keys (FIPS 186-4, 4): made in a domain or of their numbers, and what one does on a card.

cryptography makes keys only together with a domain, and takes a domain for what it says it is; so the arithmetic of
making a key is here, and what others might have got wrong is looked at. Signing is the library's.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from .. import tlv
from ..status import SW, CardError

_SCHEMES = {digest.digest_size: Prehashed(digest) for digest in (hashes.SHA1(), hashes.SHA224(), hashes.SHA256())}
"""By bytes of the order, which are those of a digest; a longer one is cut (FIPS 186-4, 4.6)."""
_LONGEST_DIGEST = 64


class Domain(NamedTuple):
    """Domain parameters: the prime, the order of the base, and the base."""

    p: int
    q: int
    g: int

    def encode(self, first_tag: int) -> dict[int, bytes]:
        """The three numbers under three tags, one after another."""
        return {first_tag + at: _octets(number) for at, number in enumerate(self)}


def generate(domain: Domain) -> dsa.DSAPrivateKey:
    """A new private key in a domain. Raises ValueError as private_key()."""
    return private_key(domain, secrets.randbelow(max(domain.q, 2) - 1) + 1)


def private_key(domain: Domain, x: int) -> dsa.DSAPrivateKey:
    """The private key of a number. Raises ValueError for one that is not below the order, and for what is no domain."""
    p, q, g = domain
    if not p % 2 or not 1 < g < p or not 1 <= x < q < p or power(g, q, p) != 1:
        raise ValueError("not in this domain")
    public = dsa.DSAPublicNumbers(power(g, x, p), dsa.DSAParameterNumbers(p, q, g))
    return dsa.DSAPrivateNumbers(x, public).private_key()


def domain_of(public: dsa.DSAPublicKey) -> Domain:
    """The domain of a key."""
    numbers = public.public_numbers().parameter_numbers
    return Domain(numbers.p, numbers.q, numbers.g)


def power(base: int, exponent: int, modulus: int) -> int:
    """Exponentiation in the variant whose running time does not depend on the exponent; the modulus is odd."""
    import gmpy2  # takes 10 ms to load, and few need it

    return int(gmpy2.powmod_sec(base % modulus, exponent, modulus))


class DsaKey:
    """A DSA key of a card: signatures of digests."""

    def __init__(self, key: dsa.DSAPrivateKey) -> None:
        self._key = key
        self._domain = domain_of(key.public_key())
        self._length = (self._domain.q.bit_length() + 7) // 8

    def answer(self, digest: bytes) -> bytes:
        """A signature (DER) of a digest. Raises CardError(6A80) for an empty one or one over 64 bytes."""
        if not 1 <= len(digest) <= _LONGEST_DIGEST:
            raise CardError(SW.INCORRECT_DATA)
        return self._key.sign(digest[: self._length].rjust(self._length, b"\0"), _SCHEMES[self._length])

    def public_template(self) -> bytes:
        """Domain and public value (ISO/IEC 7816-8, table 3)."""
        value = _octets(self._key.public_key().public_numbers().y)
        return b"".join(tlv.encode(*each) for each in {**self._domain.encode(0x81), 0x84: value}.items())


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
