# SPDX-License-Identifier: MIT
"""Generation of domain parameters: DSA and X9.42 (FIPS 186-4, A.1.1 and A.2.1), Diffie-Hellman in a safe prime.

The libraries generate them, too, but cannot be stopped, and a large safe prime takes minutes. Here a function is called
between two candidates. GMP tests them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from .dsa_keys import Domain, power

MayStop = Callable[[], bool]

_ROUNDS = 40
"""Rounds of the Miller-Rabin test: an error probability of 2^-80 (FIPS 186-4, C.3)."""

_SIEVED_TO = 1 << 16
_WINDOW = 1 << 15


class Stopped(Exception):
    """Raised when the generation may stop, because its result is not needed any more."""


def with_order(bits: int, order_bits: int, may_stop: MayStop) -> Domain:
    """Generate a prime p, a prime q of another length that divides p - 1, and a base of order q. Raises Stopped."""
    import gmpy2

    q = _order(order_bits, may_stop)
    while True:
        _look(may_stop)
        start = secrets.randbits(bits) | 1 << (bits - 1)
        p = start - start % (2 * q) + 1
        if p.bit_length() == bits and _no_small_factor(p) and gmpy2.is_prime(p, _ROUNDS):
            return Domain(p, q, _base(p, q))


def safe_prime(bits: int, may_stop: MayStop) -> tuple[int, int]:
    """Generate a prime p such that (p - 1) / 2 is prime, and return it with 2, whose order that is. Raises Stopped."""
    import gmpy2

    while True:
        for q in _candidates(bits - 1):
            _look(may_stop)
            both: Any = (q, 2 * q + 1)
            if all(gmpy2.is_strong_prp(each, 2) for each in both) and all(
                gmpy2.is_prime(each, _ROUNDS) for each in both
            ):
                return 2 * q + 1, 2


def _candidates(bits: int) -> Iterator[int]:
    """Yield numbers q = 3 modulo 4, neither q nor 2q + 1 with a small factor; 2 is a square modulo 2q + 1 then."""
    start = secrets.randbits(bits) | 3 << (bits - 2) | 3
    window = bytearray(b"\1") * _WINDOW
    for prime in _small_primes():
        quarter = pow(4, -1, prime)
        for wrong in (0, (prime - 1) // 2):  # q = 0, or 2q + 1 = 0
            first = (wrong - start) * quarter % prime
            window[first::prime] = bytes(len(range(first, _WINDOW, prime)))
    for at in range(_WINDOW):
        if window[at] and (q := start + 4 * at).bit_length() == bits:
            yield q


def _order(bits: int, may_stop: MayStop) -> int:
    """Generate a prime of this many bits. Raises Stopped."""
    import gmpy2

    while True:
        _look(may_stop)
        q = secrets.randbits(bits) | 1 << (bits - 1) | 1
        if gmpy2.is_prime(q, _ROUNDS):
            return q


def _base(p: int, q: int) -> int:
    """Return a generator of the subgroup of order q modulo p (FIPS 186-4, A.2.1)."""
    h = 2
    while (g := power(h, (p - 1) // q, p)) == 1:
        h += 1
    return g


def _look(may_stop: MayStop) -> None:
    """Raise Stopped if the generation may stop."""
    if may_stop():
        raise Stopped


@cache
def _small_primes() -> tuple[int, ...]:
    """Return the odd primes below _SIEVED_TO."""
    sieve = bytearray(b"\1") * _SIEVED_TO
    for number in range(3, 256, 2):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, _SIEVED_TO, number)))
    return tuple(number for number in range(3, _SIEVED_TO, 2) if sieve[number])


@cache
def _product() -> Any:
    """Return the product of the primes up to 2000."""
    import gmpy2

    return gmpy2.primorial(2000)


def _no_small_factor(p: int) -> bool:
    """Return whether a number has no prime factor up to 2000."""
    import gmpy2

    return bool(gmpy2.gcd(p, _product()) == 1)
