# SPDX-License-Identifier: MIT
"""The card image: one SQLite file that holds all that a card keeps without power.

A change is in the file wholly or not at all, also when the process is killed, and only while the power that it was
made under is still on. Between changes the file is complete and closed; what stays open is a lock on it, which costs
next to nothing for a card that does nothing.
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

from . import image_format
from .card import CardTorn
from .image_format import FORMAT, NotAnImage, UnknownFormat
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


class Store:
    """An open card image. A second Store of the same file, here or in another process, gets ImageError.

    `owner` is whoever may change the card now: the activation that has the power. It may be set to None at any time
    and without waiting; a change that is being written then is still made whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner: object = None
        self.revision = 0
        self._change = threading.Lock()
        self._lock = _lock(path)
        try:
            with _connect(path) as db:
                self.state, self._digest = image_format.load(db)
        except Exception as error:
            self._lock.close()
            raise ImageError(_unusable(path, error)) from None
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
            changes = image_format.changes(state, references, keys, objects)
            growth = sum(each.growth for each in changes)
            if growth > 0 and self._used + growth > state.capacity:
                raise CardError(SW.NOT_ENOUGH_MEMORY)
            digest = image_format.fold(self._digest, changes)
            try:
                with _connect(self.path) as db:
                    image_format.write(db, changes, digest)
            except sqlite3.Error:
                LOG.exception("cannot write the card image %s", self.path)
                raise CardError(SW.MEMORY_FAILURE) from None
            self._used, self._digest = self._used + growth, digest
            if keys or objects:
                self.revision += 1
            image_format.update(state.references, references or {})
            image_format.update(state.keys, keys or {})
            image_format.update(state.objects, objects or {})

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
                image_format.create(db, state)
            os.link(draft, path)  # unlike a rename, never over another file
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise ImageExists(path) from None
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None


def _unusable(path: Path, error: Exception) -> str:
    """Why an image cannot be opened, and what to do."""
    new = "make a new one with: cardtear card new FILE"
    match error:
        case NotAnImage():
            return f"{path} is not a card image; {new}"
        case UnknownFormat(args=(version,)):
            return f"{path} has image format {version}, this program knows {FORMAT}; use a newer cardtear"
        case sqlite3.Error() | ValueError() | KeyError():
            return f"{path} is damaged or not a card image; restore it from a copy, or {new}"
    raise error


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
