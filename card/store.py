# SPDX-License-Identifier: MIT
"""The card image: one SQLite file that holds all that a card keeps without power.

A change is in the file wholly or not at all, also when the process is killed, and only while the power that it was
made under is still on. Between changes the file is complete and closed; what stays open is a lock on it, which costs
next to nothing for a card that does nothing. A machine that loses its power is not provided for: nothing is flushed to
the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from . import image_format, image_migration, tries
from .card import CardTorn
from .image_format import FORMAT, Image, NotAnImage
from .image_migration import UnknownFormat
from .seal import NoPassphrase, WrongPassphrase
from .state import CardState, Reference, StoredKey
from .status import SW, CardError

LOG = logging.getLogger(__name__)


class ImageError(Exception):
    """A card image cannot be used; the message says why and what to do. `code` is for programs."""

    code = "image-error"


class ImageExists(ImageError):
    """There is a file where a new image should go."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already; choose another name or delete it first")


class ImageEncrypted(ImageError):
    """It takes a passphrase to open the image, and none, or another, was given."""

    code = "passphrase-needed"


class Store:
    """An open card image. A second Store of the same file, here or in another process, gets ImageError.

    `owner` is whoever may change the card now: the activation that has the power. It may be set to None at any time
    and without waiting; a change that is being written then is still made whole.
    """

    def __init__(self, path: Path, passphrase: bytes | None = None) -> None:
        self.path = path
        self.owner: object = None
        self.revision = 0
        self._change = threading.Lock()
        self._lock = _lock(path)
        try:
            with _connect(path) as db:
                image = _load(db, passphrase)
                self._layout = image_format.layout(db)
            self._counters = self._layout.counters(self._lock.fileno())
        except Exception as error:
            self._lock.close()
            raise _unusable(path, error) from None
        self.state, self._digest, self._seal = image
        self._used = self.state.used

    def own(self, owner: object) -> None:
        """Hand the card over. Waits for a change of the owner before, so that none is made under the new one."""
        with self._change:
            self.owner = owner

    def commit(
        self,
        owner: object,
        references: Mapping[int, Reference] | None = None,
        keys: Mapping[int, StoredKey | None] | None = None,
        objects: Mapping[int, bytes] | None = None,
    ) -> None:
        """Make the changes of one command, in the file and then in memory. No key and an empty object are deleted.

        Raises CardTorn if the owner has changed, CardError: 6A84 for what does not fit, 6581 if the file cannot be
        written. Then nothing is changed.
        """
        with self._change:
            if self.owner is not owner:
                raise CardTorn
            state = self.state
            if references and not keys and not objects and self._count(references):
                return
            changes = image_format.changes(state, references, keys, objects)
            growth = sum(each.growth for each in changes)
            if growth > 0 and self._used + growth > state.capacity:
                raise CardError(SW.NOT_ENOUGH_MEMORY)
            digest = image_format.fold(self._seal, self._digest, changes)
            try:
                with _connect(self.path) as db:
                    image_format.write(db, self._seal, changes, digest)
            except sqlite3.Error:
                LOG.exception("cannot write the card image %s", self.path)
                raise CardError(SW.MEMORY_FAILURE) from None
            self._used, self._digest = self._used + growth, digest
            if references:
                self._counters = self._layout.counters(self._lock.fileno())
            if keys or objects:
                self.revision += 1
            image_format.update(state.references, references or {})
            image_format.update(state.keys, keys or {})
            image_format.update(state.objects, objects or {})

    def _count(self, references: Mapping[int, Reference]) -> bool:
        """Write the tries of a reference of which nothing else changes; whether that is what was asked for."""
        if len(references) != 1:
            return False
        ((number, new),) = references.items()
        old, place = self.state.references.get(number), self._counters.get(number)
        if old is None or place is None or (old.value, old.maximum) != (new.value, new.maximum):
            return False
        try:
            os.pwrite(self._lock.fileno(), tries.record(self._seal, number, new.tries), place)
        except OSError:
            LOG.exception("cannot write the card image %s", self.path)
            raise CardError(SW.MEMORY_FAILURE) from None
        self.state.references[number] = new
        return True

    def close(self) -> None:
        """Give the file free; nothing can be changed any more."""
        self.owner = None
        with self._change:
            self._lock.close()


def create_image(path: Path, state: CardState, passphrase: bytes | None = None) -> None:
    """Write a new image, whole or not at all. Raises ImageExists if there is a file, ImageError if none can be made."""
    with _draft(path) as draft, _connect(draft) as db:
        image_format.create(db, state, passphrase)


def copy_image(source: Path, path: Path) -> None:
    """Copy an image as it lies there, also one that is in use: the copy is of one moment. Raises ImageError.

    An encrypted one stays so, and its passphrase is not needed.
    """
    _open(source).close()
    with _draft(path) as draft:
        try:
            with _connect(source, "DEFERRED") as original, contextlib.closing(sqlite3.connect(draft)) as copy:
                image_format.pragma(original, "user_version")  # a lock for reading; backup itself would wait for ever
                original.backup(copy)
            with _connect(draft) as db:
                _load(db, None)
        except NoPassphrase:
            pass  # whole as far as can be seen from outside
        except Exception as error:
            raise _unusable(source, error) from None


def read_image(path: Path, passphrase: bytes | None = None) -> CardState:
    """What a card holds that nobody is using. Raises ImageError."""
    store = Store(path, passphrase)
    store.close()
    return store.state


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A private file beside `path` that takes its place at the end, unless an exception comes out or it is taken."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield draft
            os.link(draft, path)  # unlike a rename, never over another file
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise ImageExists(path) from None
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None


def _load(db: sqlite3.Connection, passphrase: bytes | None) -> Image:
    image_migration.bring_up(db)
    return image_format.load(db, passphrase)


def _unusable(path: Path, error: Exception) -> ImageError:
    """Why an image cannot be opened, and what to do."""
    new = "make a new one with: cardtear card new FILE"
    match error:
        case ImageError():
            return error
        case NotAnImage():
            return ImageError(f"{path} is not a card image; {new}")
        case UnknownFormat(args=(version,)):
            return ImageError(f"{path} has image format {version}, this program knows {FORMAT}; use a newer cardtear")
        case NoPassphrase():
            return ImageEncrypted(f"{path} is encrypted; say where its passphrase is with --passphrase-file FILE")
        case WrongPassphrase():
            return ImageEncrypted(f"that is not the passphrase of {path}")
        case sqlite3.OperationalError(sqlite_errorcode=sqlite3.SQLITE_BUSY):
            return ImageError(f"{path} is being written by another program; try again")
        case sqlite3.DatabaseError(sqlite_errorcode=sqlite3.SQLITE_NOTADB):
            return ImageError(f"{path} is damaged or not a card image; restore it from a copy, or {new}")
        case sqlite3.Error() | ValueError() | KeyError():
            return ImageError(f"{path} is damaged: {_reason(error)}; restore it from a copy, or {new}")
    raise error


def _reason(error: Exception) -> str:
    return f"there is no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def _open(path: Path) -> BinaryIO:
    """Raises ImageError."""
    try:
        return path.open("r+b", buffering=0)
    except FileNotFoundError:
        raise ImageError(f"there is no card image {path}; make one with: cardtear card new {path}") from None
    except OSError as error:
        raise ImageError(f"cannot open the card image {path}: {error.strerror}") from None


def _lock(path: Path) -> BinaryIO:
    """Lock the file for as long as the returned one is open. Raises ImageError."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(os.fstat(file.fileno()).st_ino)
        file.close()
        raise ImageError(
            f"{path} is open in another simulator{holder}; stop it, or take a copy with: cardtear card copy {path} FILE"
        ) from None
    return file


def _holder(inode: int) -> str:
    """Who has a file locked, as Linux tells it: the words for a message, none if it does not."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text().splitlines():
            match line.split():
                case [_, "FLOCK", _, "WRITE", process, file, *_] if file.endswith(f":{inode}"):
                    words = Path(f"/proc/{process}/cmdline").read_text().rstrip("\0").split("\0")
                    command = " ".join(os.path.basename(word) for word in words[:3] if word.isprintable())
                    return f" (process {process}: {command})"
    return ""


_PATIENCE = 2.0
"""Seconds to wait for somebody who copies the image, or has it open in SQLite's own shell."""


@contextlib.contextmanager
def _connect(path: Path, begin: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """A connection for one transaction, committed at the end unless an exception comes out.

    The journal is there for a killed process; a power cut of the whole machine is not provided for.
    """
    db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = OFF")
        db.execute(f"BEGIN {begin}")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()  # rolls back what is not committed
