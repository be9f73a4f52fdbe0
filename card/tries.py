# SPDX-License-Identifier: MIT
"""The counters of tries in an image: each is a record with a digest of its own.

A try is counted before the PIN is compared, so a VERIFY writes twice; the digest over the whole image stays as it is.
"""

from __future__ import annotations

from .seal import Seal

LENGTH = 16
_COUNT_LENGTH = 4


def record(seal: Seal, number: int, count: int) -> bytes:
    """The counter of a reference as it lies in the file."""
    value = count.to_bytes(_COUNT_LENGTH, "big")
    return value + seal.tag(b"tries %d %s" % (number, value))[: LENGTH - _COUNT_LENGTH]


def count(seal: Seal, number: int, stored: bytes) -> int:
    """The tries in a record. Raises ValueError if it was changed."""
    tries = int.from_bytes(stored[:_COUNT_LENGTH], "big")
    if stored != record(seal, number, tries):
        raise ValueError(f"the counter of reference {number:02X} is damaged")
    return tries
