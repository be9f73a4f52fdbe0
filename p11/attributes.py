# SPDX-License-Identifier: MIT
"""Attribute values as the bytes that PKCS #11 gives out, and the rules on reading them."""

from __future__ import annotations

import datetime
import struct

from .constants import CKA, CKR
from .errors import P11Error

TRUE, FALSE = b"\1", b"\0"

UNAVAILABLE = -1
"""Stands for CK_UNAVAILABLE_INFORMATION in the answer to a query."""

Attributes = dict[int, bytes]

SECRET: frozenset[int] = frozenset(
    {
        CKA.VALUE,
        CKA.PRIVATE_EXPONENT,
        CKA.PRIME_1,
        CKA.PRIME_2,
        CKA.EXPONENT_1,
        CKA.EXPONENT_2,
        CKA.COEFFICIENT,
    }
)
"""Attributes of private and secret keys that never leave in clear while the key is sensitive or not extractable."""


_ULONG = struct.Struct("@L")


def ulong(value: int) -> bytes:
    """A CK_ULONG."""
    return _ULONG.pack(value)


def boolean(value: bool) -> bytes:
    """A CK_BBOOL."""
    return TRUE if value else FALSE


def number(value: int) -> bytes:
    """A big integer: big-endian, without leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")


def date(value: datetime.datetime) -> bytes:
    """A CK_DATE."""
    return value.strftime("%Y%m%d").encode()


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


def query(attributes: Attributes, hidden: frozenset[int], wanted: list[tuple[int, int | None]]) -> list[bytes | int]:
    """What C_GetAttributeValue answers, attribute by attribute: all are looked at, whatever is wrong with one.

    Raises P11Error with the answers as its result: ATTRIBUTE_SENSITIVE, ATTRIBUTE_TYPE_INVALID or BUFFER_TOO_SMALL.
    """
    answers: list[bytes | int] = []
    problem: CKR | None = None
    for kind, room in wanted:
        value = attributes.get(kind)
        if kind in hidden:
            answers.append(UNAVAILABLE)
            problem = CKR.ATTRIBUTE_SENSITIVE
        elif value is None:
            answers.append(UNAVAILABLE)
            problem = CKR.ATTRIBUTE_TYPE_INVALID
        elif room is None:
            answers.append(len(value))
        elif room < len(value):
            answers.append(UNAVAILABLE)
            problem = CKR.BUFFER_TOO_SMALL
        else:
            answers.append(value)
    if problem is not None:
        raise P11Error(problem, answers)
    return answers
