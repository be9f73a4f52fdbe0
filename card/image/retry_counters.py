# SPDX-License-Identifier: MIT
"""The retry counters in an image: each has a digest of its own.

A try is counted before the PIN is compared, so a VERIFY writes twice; the digest over the whole image stays as it is.
"""

from __future__ import annotations

from .encryption import Protection

_TAG_LENGTH = 8
_COUNT_LENGTH = 4
_WIDE = 1 << 62
"""Set in every tag, so that SQLite stores each in eight bytes and none needs more room than the one before it."""


def tag(protection: Protection, number: int, left: int) -> int:
    """Return the digest of a retry counter: a positive number that SQLite can store."""
    made = protection.tag(b"tries %d %s" % (number, left.to_bytes(_COUNT_LENGTH, "big")))
    return int.from_bytes(made[:_TAG_LENGTH], "big") >> 1 | _WIDE


def left(protection: Protection, number: int, stored: int, found: int) -> int:
    """Return the value of a stored retry counter. Raises ValueError if it was changed."""
    if not 0 <= stored < 1 << 8 * _COUNT_LENGTH or found != tag(protection, number, stored):
        raise ValueError(f"the counter of reference {number:02X} is damaged")
    return stored
