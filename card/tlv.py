# SPDX-License-Identifier: MIT
"""BER-TLV on cards (ISO/IEC 7816-4, 5.2.2): tags as numbers, definite lengths of up to four bytes."""

from __future__ import annotations

from functools import lru_cache


class TlvError(ValueError):
    """Raised for bytes that are not complete BER-TLV data objects."""


def encode(tag: int, *values: bytes) -> bytes:
    """Encode one data object with the values joined."""
    value = values[0] if len(values) == 1 else b"".join(values)
    return _header(tag, len(value)) + value


def decode(data: bytes) -> list[tuple[int, bytes]]:
    """Decode all data objects of a string, in order. Raises TlvError for truncated objects and trailing bytes."""
    found = []
    at, end = 0, len(data)
    while at < end:
        tag, value, at = read(data, at)
        found.append((tag, value))
    return found


def read(data: bytes, at: int = 0) -> tuple[int, bytes, int]:
    """Decode the data object at a position: tag, value, and the position after it. Raises TlvError."""
    try:
        tag = data[at]
        at += 1
        if tag & 0x1F == 0x1F:
            start = at - 1
            while data[at] & 0x80:
                at += 1
            at += 1
            tag = int.from_bytes(data[start:at], "big")
        length = data[at]
        at += 1
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4 or at + count > len(data):
                raise TlvError(f"a length of {count} bytes at {at}")
            length = int.from_bytes(data[at : at + count], "big")
            at += count
    except IndexError:
        raise TlvError(f"cut off at {at}") from None
    end = at + length
    value = data[at:end]
    if len(value) != length:
        raise TlvError(f"{length} bytes wanted at {at}, {len(value)} there")
    return tag, value, end


@lru_cache(1024)  # cards use a handful of tags and lengths over and over
def _header(tag: int, length: int) -> bytes:
    """Encode tag and length."""
    name = tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big")
    if length < 0x80:
        return name + bytes([length])
    size = (length.bit_length() + 7) // 8
    return name + bytes([0x80 | size]) + length.to_bytes(size, "big")
