# SPDX-License-Identifier: MIT
"""The format of card images: tables, the mapping of a card's state to rows, and the digest over all rows.

Works on an open transaction; files, locks and who may write are not known here, nor what earlier formats looked like.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ..pin_rules import PinRules
from ..tables import PIN_POLICIES, TouchPolicy
from . import retry_counters
from .encryption import UNENCRYPTED, Protection, Wrapped, new_encryption, unwrap
from .state import CardState, Reference, StoredKey

FORMAT = 4
APPLICATION_ID = 0x63617264  # "card"

TABLES = ("property", "reference", "key", "object")
SCHEMA = (
    "CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE reference (
        number INTEGER PRIMARY KEY, value BLOB NOT NULL, maximum INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE tries (number INTEGER PRIMARY KEY, remaining INTEGER NOT NULL, tag INTEGER NOT NULL) STRICT",
    """CREATE TABLE key (
        slot INTEGER PRIMARY KEY, algorithm INTEGER NOT NULL, value BLOB NOT NULL, imported INTEGER NOT NULL,
        pin_rule INTEGER NOT NULL, touch INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE object (tag INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
    "CREATE TABLE digest (only INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
    """CREATE TABLE seal (
        salt BLOB NOT NULL, cost INTEGER NOT NULL, block INTEGER NOT NULL, lanes INTEGER NOT NULL,
        key BLOB NOT NULL, digest BLOB NOT NULL
    ) STRICT""",
)
"""`tries` has a row for each reference, with a digest of its own; `seal` has one where there is a passphrase."""


class NotAnImage(Exception):
    """Raised for a file that is not a card image."""


class Image(NamedTuple):
    """The content of an image file: the card's state, and what is needed to write changes of it."""

    state: CardState
    digest: int
    protection: Protection


def new(state: CardState, passphrase: bytes | None = None) -> bytes:
    """Return the bytes of a new image."""
    protection = (UNENCRYPTED, None) if passphrase is None else new_encryption(passphrase)
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        create(db, state, *protection)
        return db.serialize()


def create(
    db: sqlite3.Connection, state: CardState, protection: Protection = UNENCRYPTED, wrapped: Wrapped | None = None
) -> None:
    """Create the tables and write the state; `wrapped` is the wrapped key to store."""
    for statement in (f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {FORMAT}", *SCHEMA):
        db.execute(statement)
    if wrapped is not None:
        db.execute("INSERT INTO seal VALUES (?, ?, ?, ?, ?, ?)", wrapped)
    properties = _property_rows(state)
    db.executemany("INSERT INTO property VALUES (?, ?)", properties)
    nothing = CardState(state.name, state.profile, state.atr, state.serial)
    first = changes(nothing, state.references, state.keys, state.objects)
    digest = fold(protection, sum(row_digest(protection, "property", row) for row in properties), first)
    for change in statements(protection, first, digest):
        db.execute(*change)


# Rows: what of the state is in which table

Row = tuple[Any, ...]

Statement = tuple[str, Row]
"""SQL and its parameters."""


class RowChange(NamedTuple):
    """A row of a table, before and after; None where there is none."""

    table: str
    number: int
    before: Row | None
    after: Row | None

    @property
    def growth(self) -> int:
        """Return by how many bytes the used capacity grows; only keys and data objects count."""
        return _size(self.after) - _size(self.before) if self.table in ("key", "object") else 0


def changes(
    state: CardState,
    references: Mapping[int, Reference] | None = None,
    keys: Mapping[int, StoredKey | None] | None = None,
    objects: Mapping[int, bytes] | None = None,
) -> list[RowChange]:
    """Return the rows that change when these are written over the state. No key and an empty object are deleted."""
    return [
        *_changes("reference", state.references, references or {}, _reference_row),
        *_changes("tries", state.references, references or {}, _retry_counter_row),
        *_changes("key", state.keys, keys or {}, _key_row),
        *_changes("object", state.objects, objects or {}, _object_row),
    ]


_CODES = {rule: code for code, rule in PIN_POLICIES.items()}


def _reference_row(number: int, reference: Reference) -> Row:
    """Return the row of a reference."""
    return number, reference.value, reference.maximum


def _retry_counter_row(number: int, reference: Reference) -> Row:
    """Return the row of a retry counter."""
    return number, reference.remaining


def _key_row(slot: int, key: StoredKey) -> Row:
    """Return the row of a key."""
    return slot, int(key.algorithm), key.value, int(key.imported), _CODES[key.pin_rule], int(key.touch)


def _object_row(tag: int, value: bytes) -> Row:
    """Return the row of a data object."""
    return tag, value


def _property_rows(state: CardState) -> list[Row]:
    """Return the rows of the card's properties."""
    rules = state.pin_rules
    texts = {"name": state.name, "profile": state.profile, "capacity": str(state.capacity)}
    texts |= {"pin_min": str(rules.minimum), "pin_max": str(rules.maximum), "pin_format": rules.form}
    return [("atr", state.atr), ("serial", state.serial), *((name, text.encode()) for name, text in texts.items())]


_T = TypeVar("_T")


def _changes(
    table: str, held: Mapping[int, _T], new: Mapping[int, _T | None], row: Callable[[int, _T], Row]
) -> Iterator[RowChange]:
    """Yield the changes of one table."""
    for number, value in new.items():
        before = row(number, held[number]) if number in held else None
        yield RowChange(table, number, before, row(number, value) if value else None)


def _size(row: Row | None) -> int:
    """Return the number of bytes in the byte strings of a row."""
    return sum(len(value) for value in row or () if isinstance(value, bytes))


def update(held: dict[int, _T], new: Mapping[int, _T | None]) -> None:
    """Apply the changes in memory."""
    for number, value in new.items():
        if value:
            held[number] = value
        else:
            held.pop(number, None)


# The index of the secret value in a row, by table
_SECRET = {"reference": 1, "key": 2, "object": 1}


def _stored(protection: Protection, table: str, row: Row) -> Row:
    """Return a row as it is stored."""
    if table == "tries":
        return (*row, retry_counters.tag(protection, *row))
    at = _SECRET[table]
    return (*row[:at], protection.encrypt(f"{table} {row[0]}", row[at]), *row[at + 1 :])


def read(protection: Protection, table: str, stored: Row) -> Row:
    """Return a stored row in clear. Raises ValueError if it was changed."""
    if table not in _SECRET:
        return stored
    at = _SECRET[table]
    return (*stored[:at], protection.decrypt(f"{table} {stored[0]}", stored[at]), *stored[at + 1 :])


def statements(protection: Protection, changes: Iterable[RowChange], digest: int) -> list[Statement]:
    """Return the SQL of the changes, including the digest after them."""
    made: list[Statement] = []
    for table, number, _, after in changes:
        if after is None:
            made.append((f"DELETE FROM {table} WHERE rowid = ?", (number,)))
        else:
            row = _stored(protection, table, after)
            made.append((f"REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row))
    protected = protection.encrypt("digest", digest.to_bytes(_DIGEST_LENGTH, "big"))
    return [*made, ("REPLACE INTO digest VALUES (0, ?)", (protected,))]


def count(protection: Protection, number: int, left: int) -> Statement:
    """Return the SQL that sets a retry counter; only its own digest covers it, and one page changes."""
    return "UPDATE tries SET remaining = ?, tag = ? WHERE number = ?", (
        left,
        retry_counters.tag(protection, number, left),
        number,
    )


# The digest: SQLite itself notices only damage to its own structures. It is a sum over the rows, so that a change costs
# what is changed and not what the card holds. Retry counters are left out, because they have digests of their own.

_DIGEST_LENGTH = 32
_MODULUS = 1 << 8 * _DIGEST_LENGTH


def row_digest(protection: Protection, table: str, row: Row) -> int:
    """Return what a row adds to the digest."""
    parts = [table.encode()]
    for value in row:
        part = value if isinstance(value, bytes) else str(value).encode()
        parts += (f"{type(value).__name__}{len(part)}:".encode(), part)
    return int.from_bytes(protection.tag(b"".join(parts)), "big")


def fold(protection: Protection, digest: int, changes: Iterable[RowChange]) -> int:
    """Return the digest after the changes."""
    for table, _, before, after in changes:
        if table == "tries":
            continue
        digest -= row_digest(protection, table, before) if before is not None else 0
        digest += row_digest(protection, table, after) if after is not None else 0
    return digest % _MODULUS


# Reading


def version(db: sqlite3.Connection) -> int:
    """Return the number of the image's format. Raises NotAnImage; ValueError, sqlite3.Error for a damaged file."""
    if pragma(db, "application_id") != APPLICATION_ID:
        raise NotAnImage
    if pragma(db, "quick_check") != "ok":
        raise ValueError("its structure is damaged")
    return int(pragma(db, "user_version"))


def load(db: sqlite3.Connection, key: bytes | Protection | None = None) -> Image:
    """Read an image of this format, with its passphrase or protection. A superfluous passphrase is ignored.

    Raises NoPassphrase, WrongPassphrase; ValueError, KeyError, sqlite3.Error for a damaged image.
    """
    if [sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")] != list(SCHEMA):
        raise ValueError("its tables are not those of a card")
    protection = protection_of(wrapped(db), key)
    rows = {table: [read(protection, table, row) for row in db.execute(f"SELECT * FROM {table}")] for table in TABLES}
    digest = checked(db, protection, rows)
    left = {row[0]: retry_counters.left(protection, *row) for row in db.execute("SELECT * FROM tries")}
    if left.keys() != {number for number, *_ in rows["reference"]}:
        raise ValueError("its counters of tries are not those of its references")
    return Image(card(rows, left), digest, protection)


def wrapped(db: sqlite3.Connection) -> Wrapped | None:
    """Return the wrapped key of an image, None if it is not encrypted."""
    rows = db.execute("SELECT * FROM seal").fetchall()
    return Wrapped(*rows[0]) if rows else None


def protection_of(wrapped: Wrapped | None, key: bytes | Protection | None) -> Protection:
    """Return the protection of an image, from its passphrase unless it is given already. Raises as `load`."""
    if key is not None and not isinstance(key, bytes):
        return key
    return UNENCRYPTED if wrapped is None else unwrap(wrapped, key)


def checked(db: sqlite3.Connection, protection: Protection, rows: Mapping[str, list[Row]]) -> int:
    """Compute the digest of an image's rows. Raises ValueError unless it is the stored one."""
    digest = sum(row_digest(protection, table, row) for table in TABLES for row in rows[table]) % _MODULUS
    stored = [protection.decrypt("digest", value) for (value,) in db.execute("SELECT value FROM digest")]
    if stored != [digest.to_bytes(_DIGEST_LENGTH, "big")]:
        raise ValueError("its digest is of something else")
    return digest


def card(rows: Mapping[str, list[Row]], left: Mapping[int, int]) -> CardState:
    """Build a card's state from the rows and the retry counters."""
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
    for number, reference, maximum in rows["reference"]:
        state.references[number] = Reference(reference, left[number], maximum)
    for slot, algorithm, value, imported, rule, touch in rows["key"]:
        state.keys[slot] = StoredKey(algorithm, value, bool(imported), PIN_POLICIES[rule], TouchPolicy(touch))
    state.objects.update(rows["object"])
    return state


def pragma(db: sqlite3.Connection, name: str) -> Any:
    """Return the value of a PRAGMA."""
    return db.execute(f"PRAGMA {name}").fetchone()[0]
