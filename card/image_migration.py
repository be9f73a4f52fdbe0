# SPDX-License-Identifier: MIT
"""Images of earlier formats: what they held, and how they become images of this one.

Format 1 had a digest over everything at once, keys without policies, and nothing of what a card can be born with.
Format 2 kept the tries in a column of their own as a number, and knew no passphrase.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable

from . import image_format
from .image_format import FORMAT, Row
from .seal import OPEN
from .security import PinRules
from .state import DEFAULT_CAPACITY, CardState, Reference, StoredKey
from .tables import PIN_POLICIES, SLOTS, PinRule, Touch

TABLES = ("property", "reference", "key", "object")
_Rows = dict[str, list[Row]]


class UnknownFormat(Exception):
    """An image of a format that this program does not know; the argument is its number."""


def bring_up(db: sqlite3.Connection) -> bool:
    """Make an image of whatever format one of this, within the transaction that is open; whether that changed it.

    Raises NotAnImage, UnknownFormat; ValueError, KeyError, sqlite3.Error for a damaged image.
    """
    version = image_format.version(db)
    if version == FORMAT:
        return False
    if version not in _READERS:
        raise UnknownFormat(version)
    rows = {table: db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES}
    if db.execute("SELECT value FROM digest").fetchall() != [(_DIGESTS[version](rows),)]:
        raise ValueError("its digest is of something else")
    state = _READERS[version](rows)
    for table in (*TABLES, "digest"):
        db.execute(f"DROP TABLE {table}")
    image_format.create(db, state)
    return True


def _digest_of_1(rows: _Rows) -> bytes:
    digest = hashlib.sha256()
    for table in TABLES:
        for row in rows[table]:
            digest.update(repr(row).encode())
    return digest.digest()


def _digest_of_2(rows: _Rows) -> bytes:
    """A sum over all columns, the tries too."""
    total = sum(
        image_format.row_digest(OPEN, table, (*row, 0) if table == "reference" else row)
        for table in TABLES
        for row in rows[table]
    )
    return (total % (1 << 256)).to_bytes(32, "big")


def _read_1(rows: _Rows) -> CardState:
    state = _state(rows, DEFAULT_CAPACITY, PinRules())
    for slot, algorithm, value, imported in rows["key"]:
        rule = SLOTS[slot].pin_rule if slot in SLOTS else PinRule.ALWAYS
        state.keys[slot] = StoredKey(algorithm, value, bool(imported), rule, Touch.NEVER)
    return state


def _read_2(rows: _Rows) -> CardState:
    texts = {name: value.decode() for name, value in rows["property"] if name not in ("atr", "serial")}
    rules = PinRules(int(texts["pin_min"]), int(texts["pin_max"]), texts["pin_format"])
    state = _state(rows, int(texts["capacity"]), rules)
    for slot, algorithm, value, imported, rule, touch in rows["key"]:
        state.keys[slot] = StoredKey(algorithm, value, bool(imported), PIN_POLICIES[rule], Touch(touch))
    return state


def _state(rows: _Rows, capacity: int, rules: PinRules) -> CardState:
    """What both formats have in common."""
    properties: dict[str, bytes] = dict(rows["property"])
    name, profile = properties["name"].decode(), properties["profile"].decode()
    state = CardState(name, profile, properties["atr"], properties["serial"], capacity=capacity, pin_rules=rules)
    state.references.update({number: Reference(*rest) for number, *rest in rows["reference"]})
    state.objects.update(rows["object"])
    return state


_READERS: dict[int, Callable[[_Rows], CardState]] = {1: _read_1, 2: _read_2}
_DIGESTS: dict[int, Callable[[_Rows], bytes]] = {1: _digest_of_1, 2: _digest_of_2}
