# SPDX-License-Identifier: MIT
"""The card image: one SQLite file that holds all that a card keeps without power.

A change is in the file wholly or not at all, also when the process is killed, and only while the power that it was
made under is still on. Between changes the file is complete and closed; what stays open is a lock on it, which costs
next to nothing for a card that does nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .card import CardTorn
from .status import SW, CardError

LOG = logging.getLogger(__name__)

FORMAT = 1
APPLICATION_ID = 0x63617264  # "card"

_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
    "CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE reference (
        number INTEGER PRIMARY KEY, value BLOB NOT NULL, tries INTEGER NOT NULL, maximum INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE key (
        slot INTEGER PRIMARY KEY, algorithm INTEGER NOT NULL, value BLOB NOT NULL, imported INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE object (tag INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
    "CREATE TABLE digest (only INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
)


class ImageError(Exception):
    """A card image cannot be used; the message says why and what to do. `code` is for programs."""

    code = "image-error"


class ImageExists(ImageError):
    """There is a file where a new image should go."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already; choose another name or delete it first")


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
    """What the image holds, in memory. `serial` has eight bytes."""

    name: str
    profile: str
    atr: bytes
    serial: bytes
    references: dict[int, Reference] = field(default_factory=dict)
    keys: dict[int, StoredKey] = field(default_factory=dict)
    objects: dict[int, bytes] = field(default_factory=dict)


class Store:
    """An open card image. A second Store of the same file, here or in another process, gets ImageError.

    `owner` is whoever may change the card now: the activation that has the power. It may be set to None at any time
    and without waiting; a change that is being written then is still made whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner: object = None
        self._change = threading.Lock()
        self._lock = _lock(path)
        try:
            with _connect(path) as db:
                self.state = _load(path, db)
        except (sqlite3.Error, UnicodeDecodeError):
            self._lock.close()
            raise ImageError(f"{path} is {_DAMAGED}; {_REMEDY}") from None
        except ImageError:
            self._lock.close()
            raise

    def own(self, owner: object) -> None:
        """Hand the card over. Waits for a change of the owner before, so that none is made under the new one."""
        with self._change:
            self.owner = owner

    def commit(
        self,
        owner: object,
        references: Mapping[int, Reference] | None = None,
        keys: Mapping[int, StoredKey] | None = None,
        objects: Mapping[int, bytes] | None = None,
    ) -> None:
        """Make the changes of one command, in the file and then in memory. An empty object is deleted.

        Raises CardTorn if the owner has changed, CardError(6581) if the file cannot be written: nothing is changed.
        """
        with self._change:
            if self.owner is not owner:
                raise CardTorn
            try:
                with _connect(self.path) as db:
                    _write(db, references or {}, keys or {}, objects or {})
            except sqlite3.Error:
                LOG.exception("cannot write the card image %s", self.path)
                raise CardError(SW.MEMORY_FAILURE) from None
            self.state.references.update(references or {})
            self.state.keys.update(keys or {})
            for tag, value in (objects or {}).items():
                if value:
                    self.state.objects[tag] = value
                else:
                    self.state.objects.pop(tag, None)

    def close(self) -> None:
        """Give the file free; nothing can be changed any more."""
        self.owner = None
        with self._change:
            self._lock.close()


def create_image(path: Path, state: CardState) -> None:
    """Write a new image, whole or not at all. Raises ImageExists if there is a file, ImageError if none can be made."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            with _connect(draft) as db:
                for statement in _SCHEMA:
                    db.execute(statement)
                properties = {"name": state.name.encode(), "profile": state.profile.encode()}
                properties |= {"atr": state.atr, "serial": state.serial}
                db.executemany("INSERT INTO property VALUES (?, ?)", properties.items())
                _write(db, state.references, state.keys, state.objects)
            os.link(draft, path)  # unlike a rename, never over another file
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise ImageExists(path) from None
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None


_DAMAGED = "damaged or not a card image"
_REMEDY = "restore it from a copy, or make a new one with: cardtear card new FILE"


def _lock(path: Path) -> BinaryIO:
    """Lock the file for as long as the returned one is open. Raises ImageError."""
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        raise ImageError(f"there is no card image {path}; make one with: cardtear card new {path}") from None
    except OSError as error:
        raise ImageError(f"cannot open the card image {path}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ImageError(f"{path} is open in another simulator; stop it, or work on a copy of the image") from None
    return file


@contextlib.contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one transaction, committed at the end unless an exception comes out.

    The journal is there for a killed process; a power cut of the whole machine is not provided for.
    """
    db = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()  # rolls back what is not committed


def _write(
    db: sqlite3.Connection,
    references: Mapping[int, Reference],
    keys: Mapping[int, StoredKey],
    objects: Mapping[int, bytes],
) -> None:
    db.executemany(
        "REPLACE INTO reference VALUES (?, ?, ?, ?)",
        [(number, each.value, each.tries, each.maximum) for number, each in references.items()],
    )
    db.executemany(
        "REPLACE INTO key VALUES (?, ?, ?, ?)",
        [(slot, each.algorithm, each.value, each.imported) for slot, each in keys.items()],
    )
    for tag, value in objects.items():
        if value:
            db.execute("REPLACE INTO object VALUES (?, ?)", (tag, value))
        else:
            db.execute("DELETE FROM object WHERE tag = ?", (tag,))
    db.execute("REPLACE INTO digest VALUES (0, ?)", (_digest(db),))


def _digest(db: sqlite3.Connection) -> bytes:
    """Over all that the image holds: SQLite itself notices only damage to its own structures."""
    digest = hashlib.sha256()
    for table in ("property", "reference", "key", "object"):
        for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"):
            digest.update(repr(row).encode())
    return digest.digest()


def _load(path: Path, db: sqlite3.Connection) -> CardState:
    """Read everything. Raises ImageError, sqlite3.Error."""
    if _pragma(db, "application_id") != APPLICATION_ID:
        raise ImageError(f"{path} is not a card image; make one with: cardtear card new FILE")
    version = _pragma(db, "user_version")
    if version != FORMAT:
        raise ImageError(f"{path} has image format {version}, this program knows {FORMAT}; use a newer cardtear")
    if _pragma(db, "quick_check") != "ok" or db.execute("SELECT value FROM digest").fetchall() != [(_digest(db),)]:
        raise ImageError(f"{path} is {_DAMAGED}; {_REMEDY}")
    properties = dict(db.execute("SELECT name, value FROM property"))
    state = CardState(
        properties["name"].decode(), properties["profile"].decode(), properties["atr"], properties["serial"]
    )
    for number, *reference in db.execute("SELECT number, value, tries, maximum FROM reference"):
        state.references[number] = Reference(*reference)
    for slot, algorithm, value, imported in db.execute("SELECT slot, algorithm, value, imported FROM key"):
        state.keys[slot] = StoredKey(algorithm, value, bool(imported))
    state.objects.update(db.execute("SELECT tag, value FROM object"))
    return state


def _pragma(db: sqlite3.Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]
