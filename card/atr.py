# SPDX-License-Identifier: MIT
"""Answers to reset (ISO/IEC 7816-3, 8): those of the cards here, and the protocols that an ATR offers."""

from __future__ import annotations

import functools
import operator

_TS = 0x3B  # direct convention
_GLOBAL = 15
_NO_CHECK = (0,)
"""What an answer without check character indicates."""

_CAPABILITIES = {True: bytes.fromhex("73C021C0"), False: bytes.fromhex("73C02180")}
"""Selection by name in full and in part, command chaining, and with or without extended lengths (COMPACT-TLV)."""


def build(interface: bytes, historical: bytes) -> bytes:
    """Build an ATR from interface characters (T0 first, its low half byte is filled in) and historical bytes."""
    answer = bytes((_TS, interface[0] | len(historical))) + interface[1:] + historical
    return answer if _indicated(answer) == _NO_CHECK else answer + _check(answer)


def contactless(answer: bytes) -> bytes:
    """Build the ATR that a contactless reader reports, with the same historical bytes (PC/SC part 3, 3.1.3)."""
    return build(bytes.fromhex("80 80 01"), historical(answer))


def historical(answer: bytes) -> bytes:
    """Return the historical bytes of an ATR; none if it is truncated."""
    indicated = _indicated(answer)
    if not indicated:
        return b""
    end = len(answer) if indicated == _NO_CHECK else len(answer) - 1
    return answer[max(end - (answer[1] & 15), 2) : end]


def protocols(answer: bytes) -> tuple[int, ...]:
    """Return the numbers of the offered transmission protocols, the first offered first; () for a malformed ATR."""
    return tuple(each for each in _indicated(answer) if each != _GLOBAL)


def _indicated(answer: bytes) -> tuple[int, ...]:
    """Return what the TD characters indicate (T=0 without any): protocols, and 15 for what holds for all of them."""
    if len(answer) < 2:
        return ()
    found: list[int] = []
    presence, at = answer[1] >> 4, 2
    while presence & 8:
        at += (presence & 7).bit_count()
        if at >= len(answer):
            return ()
        if answer[at] & 15 not in found:
            found.append(answer[at] & 15)
        presence, at = answer[at] >> 4, at + 1
    return tuple(found) or _NO_CHECK


def _check(answer: bytes) -> bytes:
    """Return TCK (8.2.5)."""
    return bytes([functools.reduce(operator.xor, answer[1:])])


def _historical(extended: bool) -> bytes:
    """Encode the historical bytes: category 80, capabilities, issuer's data."""
    return b"\x80" + _CAPABILITIES[extended] + b"\x58cardtear"


# TA1 = 96: 512 clock cycles for 32 bits, to be agreed on by PPS. IFSC is 254.
PIV = {
    "both": build(bytes.fromhex("90 96 80 11 FE"), _historical(extended=True)),
    "t0": build(bytes.fromhex("90 96 00"), _historical(extended=False)),
    "t1": build(bytes.fromhex("90 96 81 11 FE"), _historical(extended=True)),
}
"""By the protocols that are offered: T=0 first and T=1, or one of them."""

YUBIKEY = build(bytes.fromhex("F0 13 00 00 81 31 FE 15"), bytes.fromhex("8073C021C057") + b"YubiKey")
FOREIGN = build(bytes.fromhex("80 01"), bytes(3))
"""T=1 only; three historical bytes that say nothing."""
