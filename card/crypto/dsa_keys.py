# SPDX-License-Identifier: MIT
"""DSA keys (FIPS 186-4, 4), generated in a domain or made of their numbers.

cryptography generates keys only together with a domain, and does not check a domain; so both are done here. Signing is
the library's.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import dsa


class Domain(NamedTuple):
    """Domain parameters: the prime, the order of the base, and the base."""

    p: int
    q: int
    g: int

    def encode(self, first_tag: int) -> dict[int, bytes]:
        """Return the three numbers by three tags, one after another."""
        return {first_tag + at: octets(number) for at, number in enumerate(self)}


def generate(domain: Domain) -> dsa.DSAPrivateKey:
    """Generate a private key in a domain. Raises ValueError as private_key()."""
    return private_key(domain, secrets.randbelow(max(domain.q, 2) - 1) + 1)


def private_key(domain: Domain, x: int) -> dsa.DSAPrivateKey:
    """Return the private key of a number. Raises ValueError unless it is below the order, and for what is no domain."""
    p, q, g = domain
    if not p % 2 or not 1 < g < p or not 1 <= x < q < p or power(g, q, p) != 1:
        raise ValueError("not in this domain")
    public = dsa.DSAPublicNumbers(power(g, x, p), dsa.DSAParameterNumbers(p, q, g))
    return dsa.DSAPrivateNumbers(x, public).private_key()


def domain_of(public: dsa.DSAPublicKey) -> Domain:
    """Return the domain of a key."""
    numbers = public.public_numbers().parameter_numbers
    return Domain(numbers.p, numbers.q, numbers.g)


def power(base: int, exponent: int, modulus: int) -> int:
    """Return a power modulo an odd number, in a time that does not depend on the exponent."""
    import gmpy2  # takes 10 ms to load, and few need it

    return int(gmpy2.powmod_sec(base % modulus, exponent, modulus))


def octets(number: int) -> bytes:
    """Return a number as big-endian bytes without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
