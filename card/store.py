# SPDX-License-Identifier: MIT
"""The card image: one SQLite file that holds all that a card keeps without power.

A change is in the file wholly or not at all, also when the process is killed, and only while the activation that asked
for it is still the card's own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .card import CardTorn

FORMAT = 1
APPLICATION_ID = 0x63617264  # "card"

_SCHEMA = """
CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE reference (
    number INTEGER PRIMARY KEY, value BLOB NOT NULL, tries INTEGER NOT NULL, maximum INTEGER NOT NULL
);
CREATE TABLE key (
    slot INTEGER PRIMARY KEY, algorithm INTEGER NOT NULL, value BLOB NOT NULL, imported INTEGER NOT NULL
);
CREATE TABLE object (tag INTEGER PRIMARY KEY, value BLOB NOT NULL);
"""


class ImageError(Exception):
    """A card image cannot be used; the message says why and what to do. `code` is for programs."""

    code = "image-error"


@dataclass(frozen=True, slots=True)
class Reference:
    """A PIN or PUK: its eight bytes, the tries that are left, and how many there are at most."""

    value: bytes
    tries: int
    maximum: int


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key in a slot: the bytes of a management key, or a private key as PKCS #8 DER."""

    algorithm: int
    value: bytes
    imported: bool = False


@dataclass(slots=True)
class CardState:
    """What the image holds, in memory."""

    properties: dict[str, bytes] = field(default_factory=dict)
    references: dict[int, Reference] = field(default_factory=dict)
    keys: dict[int, StoredKey] = field(default_factory=dict)
    objects: dict[int, bytes] = field(default_factory=dict)


class Change(NamedTuple):
    """One change, in the file and in memory."""

    statement: str
    values: tuple[object, ...]
    in_memory: Callable[[], None]


class Store:
    """An open card image. Not shared: a second process that opens the file gets ImageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ImageError(f"there is no card image {path}; make one with: cardtear card new {path}")
        self._db = _connect(path)
        try:
            self.state = self._load()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise _image_error(path, error) from None
        except ImageError:
            self._db.close()
            raise
        self._lock = threading.Lock()
        self._owner: object = None

    def own(self, activation: object) -> None:
        """From now on only `activation` may change the card; None: nobody."""
        with self._lock:
            self._owner = activation

    def writer(self, activation: object) -> Writer:
        """Collects the changes of one command of `activation`."""
        return Writer(self, activation)

    def apply(self, activation: object, changes: list[Change]) -> None:
        """Carry out a command's changes in the file, then in memory. Raises CardTorn, with nothing changed."""
        with self._lock:
            if self._owner is not activation:
                raise CardTorn
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for change in changes:
                    self._db.execute(change.statement, change.values)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            for change in changes:
                change.in_memory()

    def close(self) -> None:
        """Close the file; the card is of no use afterwards."""
        with self._lock:
            self._owner = None
            self._db.close()

    def _load(self) -> CardState:
        if self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise ImageError(f"{self.path} is not a card image; make one with: cardtear card new FILE")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT:
            raise ImageError(f"{self.path} has format {version}, this program knows {FORMAT}; use a newer cardtear")
        read = self._db.execute
        return CardState(
            dict(read("SELECT name, value FROM property")),
            {number: Reference(*rest) for number, *rest in read("SELECT number, value, tries, maximum FROM reference")},
            {
                slot: StoredKey(algorithm, value, bool(imported))
                for slot, algorithm, value, imported in read("SELECT slot, algorithm, value, imported FROM key")
            },
            dict(read("SELECT tag, value FROM object")),
        )


class Writer:
    """The changes of one command, carried out together by `commit`."""

    def __init__(self, store: Store, activation: object) -> None:
        self._store = store
        self._activation = activation
        self._changes: list[Change] = []

    def put_reference(self, number: int, reference: Reference) -> None:
        """Set a PIN or PUK, at once: a counter never waits for the rest of a command."""
        self._add(
            "REPLACE INTO reference VALUES (?, ?, ?, ?)",
            (number, reference.value, reference.tries, reference.maximum),
            lambda: self._store.state.references.__setitem__(number, reference),
        )
        self.commit()

    def put_key(self, slot: int, key: StoredKey) -> None:
        """Set the key of a slot."""
        self._add(
            "REPLACE INTO key VALUES (?, ?, ?, ?)",
            (slot, key.algorithm, key.value, key.imported),
            lambda: self._store.state.keys.__setitem__(slot, key),
        )

    def put_object(self, tag: int, value: bytes) -> None:
        """Set a data object; an empty value deletes it."""
        if value:
            self._add(
                "REPLACE INTO object VALUES (?, ?)",
                (tag, value),
                lambda: self._store.state.objects.__setitem__(tag, value),
            )
        else:
            self._add("DELETE FROM object WHERE tag = ?", (tag,), lambda: self._forget_object(tag))

    def commit(self) -> None:
        """Make the changes. Raises CardTorn when the power was taken away meanwhile."""
        if self._changes:
            changes, self._changes = self._changes, []
            self._store.apply(self._activation, changes)

    def _add(self, statement: str, values: tuple[object, ...], in_memory: Callable[[], None]) -> None:
        self._changes.append(Change(statement, values, in_memory))

    def _forget_object(self, tag: int) -> None:
        self._store.state.objects.pop(tag, None)


def create_image(path: Path, state: CardState) -> None:
    """Write a new image, whole or not at all. Raises ImageError if the file is there already."""
    if path.exists():
        raise ImageError(f"{path} is there already; choose another name or delete it first")
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        db = sqlite3.connect(draft)
        with db:
            db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; {_SCHEMA}")
            db.executemany("INSERT INTO property VALUES (?, ?)", state.properties.items())
            db.executemany(
                "INSERT INTO reference VALUES (?, ?, ?, ?)",
                [(number, each.value, each.tries, each.maximum) for number, each in state.references.items()],
            )
            db.executemany(
                "INSERT INTO key VALUES (?, ?, ?, ?)",
                [(slot, each.algorithm, each.value, each.imported) for slot, each in state.keys.items()],
            )
            db.executemany("INSERT INTO object VALUES (?, ?)", state.objects.items())
        db.close()
        os.replace(draft, path)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    """Exclusive for as long as it is open. The journal protects against a killed process, not against a power cut."""
    try:
        db = sqlite3.connect(path, timeout=0.2, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = 8")
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise _image_error(path, error) from None
    return db


def _image_error(path: Path, error: sqlite3.DatabaseError) -> ImageError:
    if "locked" in str(error):
        return ImageError(f"{path} is open in another simulator; stop it, or work on a copy of the image")
    return ImageError(f"{path} is damaged or not a card image ({error}); restore it from a copy or make a new one")
