# SPDX-License-Identifier: MIT
"""The values of attributes as bytes, and their lookup by C_GetAttributeValue (PKCS #11 3.1, 4.1, 5.7.5)."""

from __future__ import annotations

import datetime
import struct
from typing import Any

from .constants import CKA, CKR
from .errors import P11Error
from .wire import ATTRIBUTE_SIZE, Query, QueryResult, Room

TRUE, FALSE = b"\1", b"\0"

UNAVAILABLE = -1
"""Stands for CK_UNAVAILABLE_INFORMATION in the results of a query."""

Attributes = dict[int, Any]
"""Values by type: bytes, or a template for CKA_WRAP_TEMPLATE and other array attributes."""

_ULONG = struct.Struct("@L")


def ulong(value: int) -> bytes:
    """Encode a CK_ULONG."""
    return _ULONG.pack(value)


def boolean(value: bool) -> bytes:
    """Encode a CK_BBOOL."""
    return TRUE if value else FALSE


def number(value: int) -> bytes:
    """Encode a big integer: big-endian, without leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")


def date(value: datetime.datetime | None) -> bytes:
    """Encode a CK_DATE, empty for none."""
    return b"" if value is None else f"{value.year:04}{value.month:02}{value.day:02}".encode()


def as_ulong(value: bytes) -> int:
    """Read a CK_ULONG from a template. Raises P11Error(ATTRIBUTE_VALUE_INVALID)."""
    if len(value) != _ULONG.size:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return int(_ULONG.unpack(value)[0])


def as_boolean(value: bytes) -> bool:
    """Read a CK_BBOOL from a template. Raises P11Error(ATTRIBUTE_VALUE_INVALID)."""
    if len(value) != 1:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return value != FALSE


UNAVAILABLE_INFORMATION = ulong(2**64 - 1)
"""CK_UNAVAILABLE_INFORMATION as a value."""


def as_ulongs(value: bytes) -> tuple[int, ...]:
    """Read the numbers of an array such as CKA_ALLOWED_MECHANISMS."""
    return struct.unpack(f"@{len(value) // _ULONG.size}L", value)


def query(attributes: Attributes, hidden: frozenset[int], wanted: Query) -> list[QueryResult]:
    """Return the attributes that C_GetAttributeValue asks for; each is looked up, whatever is wrong with another.

    Raises P11Error with the same as its result: ATTRIBUTE_SENSITIVE, ATTRIBUTE_TYPE_INVALID or BUFFER_TOO_SMALL.
    """
    problems: list[CKR] = []
    results: list[QueryResult] = []
    for kind, room in wanted:
        value = attributes.get(kind)
        if value is None and kind == CKA.ALLOWED_MECHANISMS and CKA.KEY_TYPE in attributes:
            value = b""  # nothing was said, so any may be used; an empty list that was given allows none
        if kind in hidden:
            problems.append(CKR.ATTRIBUTE_SENSITIVE)
            results.append(UNAVAILABLE)
        elif isinstance(room, Room) and isinstance(value, list) and room >= ATTRIBUTE_SIZE * len(value):
            inner = zip(value, room.inner, strict=False)
            results.append([(kind, _value_or_length(each, its_room, problems)) for (kind, each), its_room in inner])
        else:
            results.append(_value_or_length(value, room, problems))
    if problems:
        raise P11Error(problems[-1], results)
    return results


def _value_or_length(value: Any, room: int | None, problems: list[CKR]) -> bytes | int:
    """Return a value if there is room, its length without buffer, or UNAVAILABLE and add the reason to `problems`."""
    if isinstance(value, bytes):
        length = len(value)
    elif isinstance(value, list) and room is None:
        length = ATTRIBUTE_SIZE * len(value)
    else:  # also a template in a template: it is kept, but a query has no room for what is in it
        problems.append(CKR.BUFFER_TOO_SMALL if isinstance(value, list) else CKR.ATTRIBUTE_TYPE_INVALID)
        return UNAVAILABLE
    if room is None:
        return length
    if room < length:
        problems.append(CKR.BUFFER_TOO_SMALL)
        return UNAVAILABLE
    return bytes(value)
