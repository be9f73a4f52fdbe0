# SPDX-License-Identifier: MIT
"""Migration of images of earlier formats to the present one.

Format 1 had a digest over everything at once, keys without policies, and nothing of what a card can be born with.
Format 2 kept the tries in a column of their own as a number, and knew no passphrase.
Format 3 kept the tries in the rows of the references, as a record with a digest of its own.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from ..pin_rules import PinRules
from ..tables import PIN_POLICIES, SLOTS, PinRule, TouchPolicy
from . import image_format
from .encryption import UNENCRYPTED, Protection, Wrapped
from .image_format import FORMAT, TABLES, Row
from .state import DEFAULT_CAPACITY, CardState, Reference, StoredKey

_Rows = dict[str, list[Row]]


class UnknownFormat(Exception):
    """Raised for an image of an unknown format; the argument is its number."""


class _Old(NamedTuple):
    """A card from an image of an earlier format, and its protection, which is kept."""

    state: CardState
    protection: Protection = UNENCRYPTED
    wrapped: Wrapped | None = None


def bring_up(db: sqlite3.Connection, key: bytes | Protection | None = None) -> bool:
    """Migrate an image to the present format, within the open transaction; return whether that changed it.

    Raises NotAnImage, UnknownFormat, NoPassphrase, WrongPassphrase; ValueError, KeyError, sqlite3.Error for a damaged
    image.
    """
    version = image_format.version(db)
    if version == FORMAT:
        return False
    if version not in _READERS:
        raise UnknownFormat(version)
    old = _READERS[version](db, key)
    for table in (*TABLES, "digest", "seal"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    image_format.create(db, *old)
    return True


def _rows(db: sqlite3.Connection) -> _Rows:
    """Return the rows of a table."""
    return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES}


def _checked(db: sqlite3.Connection, digest_of: Callable[[_Rows], bytes]) -> _Rows:
    """Return the rows of an image without a passphrase. Raises ValueError if the digest does not fit."""
    rows = _rows(db)
    if db.execute("SELECT value FROM digest").fetchall() != [(digest_of(rows),)]:
        raise ValueError("its digest is of something else")
    return rows


def _digest_of_1(rows: _Rows) -> bytes:
    """Return the digest of format 1."""
    digest = hashlib.sha256()
    for table in TABLES:
        for row in rows[table]:
            digest.update(repr(row).encode())
    return digest.digest()


def _digest_of_2(rows: _Rows) -> bytes:
    """Return the digest of format 2, a sum over all columns with the retry counters."""
    total = sum(image_format.row_digest(UNENCRYPTED, table, row) for table in TABLES for row in rows[table])
    return (total % (1 << 256)).to_bytes(32, "big")


def _read_1(db: sqlite3.Connection, _: bytes | Protection | None) -> _Old:
    """Read an image of format 1."""
    rows = _checked(db, _digest_of_1)
    state = _state(rows, DEFAULT_CAPACITY, PinRules())
    for slot, algorithm, value, imported in rows["key"]:
        rule = SLOTS[slot].pin_rule if slot in SLOTS else PinRule.ALWAYS
        state.keys[slot] = StoredKey(algorithm, value, bool(imported), rule, TouchPolicy.NEVER)
    return _Old(state)


def _read_2(db: sqlite3.Connection, _: bytes | Protection | None) -> _Old:
    """Read an image of format 2."""
    rows = _checked(db, _digest_of_2)
    texts = {name: value.decode() for name, value in rows["property"] if name not in ("atr", "serial")}
    rules = PinRules(int(texts["pin_min"]), int(texts["pin_max"]), texts["pin_format"])
    state = _state(rows, int(texts["capacity"]), rules)
    for slot, algorithm, value, imported, rule, touch in rows["key"]:
        state.keys[slot] = StoredKey(algorithm, value, bool(imported), PIN_POLICIES[rule], TouchPolicy(touch))
    return _Old(state)


def _state(rows: _Rows, capacity: int, rules: PinRules) -> CardState:
    """Build a card's state from what formats 1 and 2 have in common."""
    properties: dict[str, bytes] = dict(rows["property"])
    name, profile = properties["name"].decode(), properties["profile"].decode()
    state = CardState(name, profile, properties["atr"], properties["serial"], capacity=capacity, pin_rules=rules)
    state.references.update({number: Reference(*rest) for number, *rest in rows["reference"]})
    state.objects.update(rows["object"])
    return state


def _read_3(db: sqlite3.Connection, key: bytes | Protection | None) -> _Old:
    """Read an image of format 3."""
    wrapped = image_format.wrapped(db)
    protection = image_format.protection_of(wrapped, key)
    stored = _rows(db)
    left = {number: _count_of_3(protection, number, record) for number, *_, record in stored["reference"]}
    stored["reference"] = [row[:-1] for row in stored["reference"]]
    rows = {table: [image_format.read(protection, table, row) for row in stored[table]] for table in TABLES}
    image_format.checked(db, protection, rows)
    return _Old(image_format.card(rows, left), protection, wrapped)


_COUNT_LENGTH, _RECORD_LENGTH = 4, 16


def _count_of_3(protection: Protection, number: int, record: bytes) -> int:
    """Return the retry counter in a record: four bytes and a truncated digest. Raises ValueError if it was changed."""
    value = record[:_COUNT_LENGTH]
    if record != (value + protection.tag(b"tries %d %s" % (number, value)))[:_RECORD_LENGTH]:
        raise ValueError(f"the counter of reference {number:02X} is damaged")
    return int.from_bytes(value, "big")


_READERS: dict[int, Callable[[sqlite3.Connection, bytes | Protection | None], _Old]] = {
    1: _read_1,
    2: _read_2,
    3: _read_3,
}
