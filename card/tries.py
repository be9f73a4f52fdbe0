# SPDX-License-Identifier: MIT
"""The counters of tries in an image, which are written in place.

A try is counted before the PIN is compared, so a VERIFY writes twice, and a transaction each time would cost it fifty
times what the command does. A counter therefore is a record of its own at the end of its reference's row: sixteen
bytes, written over by one system call. A process that is killed has made that call or has not. SQLite is not at work
then, keeps no copy, and finds the new bytes when it reads the row again.

Where a row lies is in SQLite's file format (https://www.sqlite.org/fileformat2.html, 1.6 and 2.1).
"""

from __future__ import annotations

import os

from .seal import Seal

LENGTH = 16
_COUNT_LENGTH = 4
_LEAF_OF_A_TABLE = 0x0D
_PAGE_HEADER_LENGTH = 8


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


def places(file: int, root: int, page_size: int) -> dict[int, int]:
    """Where in the file the last LENGTH bytes of each row are, by the row's number.

    The table is all on the page `root`; of one that is not, nothing is returned.
    """
    start = (root - 1) * page_size
    page = os.pread(file, page_size, start)
    if len(page) < page_size or page[0] != _LEAF_OF_A_TABLE:
        return {}
    found = {}
    for index in range(int.from_bytes(page[3:5], "big")):
        pointer = _PAGE_HEADER_LENGTH + 2 * index
        length, at = _varint(page, int.from_bytes(page[pointer : pointer + 2], "big"))
        number, at = _varint(page, at)
        found[number] = start + at + length - LENGTH
    return found


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """A number in SQLite's variable length, of at most eight bytes, and where it ends."""
    value = 0
    while page[at] & 0x80:
        value = value << 7 | page[at] & 0x7F
        at += 1
    return value << 7 | page[at], at + 1
