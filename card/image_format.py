# SPDX-License-Identifier: MIT
"""The card image's format: which tables there are, what of a card's state is in which row, and the digest over it all.

Works on an open transaction; files, locks and who may write are not known here.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from .security import PinRules
from .state import DEFAULT_CAPACITY, CardState, Reference, StoredKey
from .tables import PIN_POLICIES, SLOTS, PinRule, Touch

FORMAT = 2
APPLICATION_ID = 0x63617264  # "card"

TABLES = ("property", "reference", "key", "object")
_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
    "CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE reference (
        number INTEGER PRIMARY KEY, value BLOB NOT NULL, tries INTEGER NOT NULL, maximum INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE key (
        slot INTEGER PRIMARY KEY, algorithm INTEGER NOT NULL, value BLOB NOT NULL, imported INTEGER NOT NULL,
        pin_rule INTEGER NOT NULL, touch INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE object (tag INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
    "CREATE TABLE digest (only INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
)


class NotAnImage(Exception):
    """A database of another program, or none."""


class UnknownFormat(Exception):
    """An image of a format that this program does not know; the argument is its number."""


def create(db: sqlite3.Connection, state: CardState) -> None:
    """Make the tables and write everything into them."""
    for statement in _SCHEMA:
        db.execute(statement)
    properties = _property_rows(state)
    db.executemany("INSERT INTO property VALUES (?, ?)", properties)
    nothing = CardState(state.name, state.profile, state.atr, state.serial)
    first = changes(nothing, state.references, state.keys, state.objects)
    write(db, first, fold(sum(_row_digest("property", row) for row in properties), first))


# Rows: what of the state is in which table

Row = tuple[Any, ...]


class Change(NamedTuple):
    """A row of a table, before and after; None where there is none."""

    table: str
    number: int
    before: Row | None
    after: Row | None

    @property
    def growth(self) -> int:
        """Bytes of the capacity that it takes: those of keys and data objects; a PIN has its place anyway."""
        return 0 if self.table == "reference" else _size(self.after) - _size(self.before)


def changes(
    state: CardState,
    references: Mapping[int, Reference] | None = None,
    keys: Mapping[int, StoredKey | None] | None = None,
    objects: Mapping[int, bytes] | None = None,
) -> list[Change]:
    """What changes in the tables when these are written over the state. No key and an empty object are deleted."""
    return [
        *_changes("reference", state.references, references or {}, _reference_row),
        *_changes("key", state.keys, keys or {}, _key_row),
        *_changes("object", state.objects, objects or {}, _object_row),
    ]


_CODES = {rule: code for code, rule in PIN_POLICIES.items()}


def _reference_row(number: int, reference: Reference) -> Row:
    return number, reference.value, reference.tries, reference.maximum


def _key_row(slot: int, key: StoredKey) -> Row:
    return slot, int(key.algorithm), key.value, int(key.imported), _CODES[key.pin_rule], int(key.touch)


def _object_row(tag: int, value: bytes) -> Row:
    return tag, value


def _property_rows(state: CardState) -> list[Row]:
    rules = state.pin_rules
    texts = {"name": state.name, "profile": state.profile, "capacity": str(state.capacity)}
    texts |= {"pin_min": str(rules.minimum), "pin_max": str(rules.maximum), "pin_format": rules.form}
    return [("atr", state.atr), ("serial", state.serial), *((name, text.encode()) for name, text in texts.items())]


_T = TypeVar("_T")


def _changes(
    table: str, held: Mapping[int, _T], new: Mapping[int, _T | None], row: Callable[[int, _T], Row]
) -> Iterator[Change]:
    for number, value in new.items():
        before = row(number, held[number]) if number in held else None
        yield Change(table, number, before, row(number, value) if value else None)


def _size(row: Row | None) -> int:
    return sum(len(value) for value in row or () if isinstance(value, bytes))


def update(held: dict[int, _T], new: Mapping[int, _T | None]) -> None:
    """Make the change in memory."""
    for number, value in new.items():
        if value:
            held[number] = value
        else:
            held.pop(number, None)


def write(db: sqlite3.Connection, changes: Iterable[Change], digest: int) -> None:
    """Make the changes in the file, with the digest of what it then holds."""
    for table, number, _, after in changes:
        if after is None:
            db.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))
        else:
            db.execute(f"REPLACE INTO {table} VALUES ({', '.join('?' * len(after))})", after)
    db.execute("REPLACE INTO digest VALUES (0, ?)", (digest.to_bytes(_DIGEST_LENGTH, "big"),))


# The digest: SQLite itself notices only damage to its own structures. It is a sum over the rows, so that a change costs
# what is changed and not what the card holds.

_DIGEST_LENGTH = 32
_MODULUS = 1 << 8 * _DIGEST_LENGTH


def _row_digest(table: str, row: Row) -> int:
    digest = hashlib.sha256(table.encode())
    for value in row:
        part = value if isinstance(value, bytes) else str(value).encode()
        digest.update(f"{type(value).__name__}{len(part)}:".encode())
        digest.update(part)
    return int.from_bytes(digest.digest(), "big")


def fold(digest: int, changes: Iterable[Change]) -> int:
    """The digest after the changes."""
    for table, _, before, after in changes:
        digest -= _row_digest(table, before) if before is not None else 0
        digest += _row_digest(table, after) if after is not None else 0
    return digest % _MODULUS


# Reading


def load(db: sqlite3.Connection) -> tuple[CardState, int]:
    """The state, and its digest. An image of an earlier format is brought up to this one.

    Raises NotAnImage, UnknownFormat; ValueError, KeyError, sqlite3.Error for a damaged image.
    """
    if _pragma(db, "application_id") != APPLICATION_ID:
        raise NotAnImage
    version = _pragma(db, "user_version")
    if version not in (1, FORMAT):
        raise UnknownFormat(version)
    if _pragma(db, "quick_check") != "ok":
        raise ValueError("the file's structure is damaged")
    if version == 1:
        _migrate(db)
    rows: dict[str, list[Row]] = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    digest = sum(_row_digest(table, row) for table in TABLES for row in rows[table]) % _MODULUS
    if db.execute("SELECT value FROM digest").fetchall() != [(digest.to_bytes(_DIGEST_LENGTH, "big"),)]:
        raise ValueError("the digest is of something else")
    properties: dict[str, bytes] = dict(rows["property"])
    texts = {name: value.decode() for name, value in properties.items() if name not in ("atr", "serial")}
    state = CardState(
        texts["name"],
        texts["profile"],
        properties["atr"],
        properties["serial"],
        capacity=int(texts["capacity"]),
        pin_rules=PinRules(int(texts["pin_min"]), int(texts["pin_max"]), texts["pin_format"]),
    )
    state.references.update({number: Reference(*rest) for number, *rest in rows["reference"]})
    for slot, algorithm, value, imported, rule, touch in rows["key"]:
        state.keys[slot] = StoredKey(algorithm, value, bool(imported), PIN_POLICIES[rule], Touch(touch))
    state.objects.update(rows["object"])
    return state, digest


def _pragma(db: sqlite3.Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


# Format 1 had a digest over everything at once, keys without policies, and nothing of what a card can be born with


def _migrate(db: sqlite3.Connection) -> None:
    """From format 1, within the transaction that is open. Raises ValueError for a damaged image."""
    before = hashlib.sha256()
    for table in TABLES:
        for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"):
            before.update(repr(row).encode())
    if db.execute("SELECT value FROM digest").fetchall() != [(before.digest(),)]:
        raise ValueError("the digest is of something else")
    rules = PinRules()
    texts = {"capacity": DEFAULT_CAPACITY, "pin_min": rules.minimum, "pin_max": rules.maximum, "pin_format": rules.form}
    db.executemany("INSERT INTO property VALUES (?, ?)", [(name, str(text).encode()) for name, text in texts.items()])
    for column in ("pin_rule", "touch"):
        db.execute(f"ALTER TABLE key ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE key SET pin_rule = ?, touch = ?", (_CODES[PinRule.ALWAYS], int(Touch.NEVER)))
    for slot, entry in SLOTS.items():
        db.execute("UPDATE key SET pin_rule = ? WHERE slot = ?", (_CODES[entry.pin_rule], slot))
    rows = ((table, row) for table in TABLES for row in db.execute(f"SELECT * FROM {table}").fetchall())
    write(db, (), sum(_row_digest(table, row) for table, row in rows) % _MODULUS)
    db.execute(f"PRAGMA user_version = {FORMAT}")
