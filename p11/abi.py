# SPDX-License-Identifier: MIT
"""The structs that functions return, packed as in an application's memory (csrc/cryptoki.h; LP64)."""

from __future__ import annotations

import struct

_SLOT_INFO = struct.Struct("@64s32sLBBBB4x")
_TOKEN_INFO = struct.Struct("@32s32s16s16sL10LBBBB16s4x")
_SESSION_INFO = struct.Struct("@4L")
_MECHANISM_INFO = struct.Struct("@3L")

UNAVAILABLE = 2**64 - 1
MANUFACTURER = "cardtear"
VERSION = (1, 0)


def padded(text: str, size: int) -> bytes:
    """Encode text in UTF-8, cut between characters and filled with blanks."""
    return text.encode()[:size].decode("utf-8", "ignore").encode().ljust(size)


def slot_info(description: str, flags: int) -> bytes:
    """Pack CK_SLOT_INFO."""
    return _SLOT_INFO.pack(padded(description, 64), padded(MANUFACTURER, 32), flags, *VERSION, *VERSION)


def token_info(
    label: str,
    model: str,
    serial: str,
    flags: int,
    sessions: int,
    rw_sessions: int,
    pin_lengths: tuple[int, int],
    most_sessions: int = 0,
) -> bytes:
    """Pack CK_TOKEN_INFO, with memory sizes unavailable and without clock.

    `pin_lengths` are the least and the most; `most_sessions` is 0 without limit.
    """
    shortest, longest = pin_lengths
    counts = (most_sessions, sessions, most_sessions, rw_sessions, longest, shortest, *4 * (UNAVAILABLE,))
    names = (padded(label, 32), padded(MANUFACTURER, 32), padded(model, 16), padded(serial, 16))
    return _TOKEN_INFO.pack(*names, flags, *counts, *VERSION, *VERSION, b" " * 16)


def session_info(slot: int, state: int, flags: int) -> bytes:
    """Pack CK_SESSION_INFO."""
    return _SESSION_INFO.pack(slot, state, flags, 0)


def mechanism_info(smallest: int, largest: int, flags: int) -> bytes:
    """Pack CK_MECHANISM_INFO; key sizes are in the unit of the mechanism."""
    return _MECHANISM_INFO.pack(smallest, largest, flags)
