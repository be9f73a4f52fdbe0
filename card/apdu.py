# SPDX-License-Identifier: MIT
"""Command APDUs, short and extended (ISO/IEC 7816-4, 5.1)."""

from __future__ import annotations

from typing import NamedTuple

from .status import SW, CardError

SHORT_LIMIT = 256
EXTENDED_LIMIT = 65536


class Command(NamedTuple):
    """A parsed command APDU. `le` is the maximum length of the response data, 0 when none is expected."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int = 0
    extended: bool = False


def parse(raw: bytes) -> Command:
    """Parse a command APDU, cases 1 to 4 in both forms. Raises CardError(6700) when the lengths do not fit."""
    length = len(raw)
    if length < 4:
        raise CardError(SW.WRONG_LENGTH)
    cla, ins, p1, p2 = raw[0], raw[1], raw[2], raw[3]
    if length == 4:
        return Command(cla, ins, p1, p2)
    p3 = raw[4]
    if length == 5:
        return Command(cla, ins, p1, p2, b"", p3 or SHORT_LIMIT)
    if p3:
        if length == 6 + p3:
            return Command(cla, ins, p1, p2, raw[5:-1], raw[-1] or SHORT_LIMIT)
        if length == 5 + p3:
            return Command(cla, ins, p1, p2, raw[5:])
        raise CardError(SW.WRONG_LENGTH)
    if length < 7:
        raise CardError(SW.WRONG_LENGTH)
    first = raw[5] << 8 | raw[6]
    if length == 7:
        return Command(cla, ins, p1, p2, b"", first or EXTENDED_LIMIT, True)
    if first and length == 7 + first:
        return Command(cla, ins, p1, p2, raw[7:], 0, True)
    if first and length == 9 + first:
        return Command(cla, ins, p1, p2, raw[7:-2], (raw[-2] << 8 | raw[-1]) or EXTENDED_LIMIT, True)
    raise CardError(SW.WRONG_LENGTH)
