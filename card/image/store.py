# SPDX-License-Identifier: MIT
"""The card image: one SQLite file with the persistent state of a card.

A change is in the file wholly or not at all, also when the process is killed, and only while the power that it was
made under is still on. How the file is held and written is in image_file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

from ..card import CardTorn
from ..files import input_file, output_file
from ..status import SW, CardError
from . import image_format
from .encryption import Encryption, NoPassphrase, WrongPassphrase
from .image_file import LONGEST, PATIENCE, UNSOUND, Estranged, ImageFile, InUse, InWalMode, load
from .image_format import FORMAT, NotAnImage, Statement
from .image_migration import UnknownFormat
from .state import CardState, Reference, StoredKey

LOG = logging.getLogger(__name__)


class ImageError(Exception):
    """Raised when a card image cannot be used; the message says why and what to do. `code` is for programs."""

    code = "image-error"


class ImageExists(ImageError):
    """Raised when there is a file at the path of a new image."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already; choose another name or delete it first")


class ImageEncrypted(ImageError):
    """Raised when the image is encrypted, and no passphrase, or a wrong one, was given."""

    code = "passphrase-needed"


class CardFull(CardError):
    """Status 6A84: the change needs `growth` bytes more, and `free` are left."""

    def __init__(self, growth: int, free: int) -> None:
        super().__init__(SW.NOT_ENOUGH_MEMORY)
        self.growth, self.free = growth, free


class NotWritten(CardError):
    """Status 6581: the image cannot be written; `why` says so for people."""

    def __init__(self, why: str) -> None:
        super().__init__(SW.MEMORY_FAILURE)
        self.why = why


class Together:
    """A block of changes that immediately follow one another; the file is checked only before and after them.

    What other programs do to it in these microseconds is noticed afterwards, if they have put another file at its path.
    """

    def __init__(self, change: threading.RLock, file: ImageFile) -> None:
        self._change, self._file = change, file

    def __enter__(self) -> None:
        """Lock out other changes."""
        self._change.acquire()
        self._file.is_together = True

    def __exit__(self, *_: object) -> None:
        """End the changes, and let others in."""
        try:
            self._file.end()
        finally:
            self._change.release()


class Store:
    """An open card image. A second Store of the same file, here or in another process, raises ImageError.

    `logs` is for those who tell by themselves why an image cannot be written.

    `owner` is whoever may change the card now: the activation that has the power. It may be set to None at any time
    and without waiting; a change that is being written then is still made whole. In a forked process the card cannot be
    changed.
    """

    def __init__(self, path: Path, passphrase: bytes | None = None) -> None:
        self.path = path
        self.owner: object = None
        self.revision = 0
        self.logs = True
        self._change = threading.RLock()
        self._trouble = ""
        with _explained(path), contextlib.ExitStack() as undo:
            self._file = undo.enter_context(contextlib.closing(ImageFile(path)))
            self.state, self._digest, self._protection = self._file.open(passphrase)
            undo.pop_all()
        self._together = Together(self._change, self._file)
        self._used = self.state.used
        self._counting = functools.lru_cache(maxsize=16)(lambda *count: (image_format.count(self._protection, *count),))
        _OPEN.add(self)

    @property
    def is_encrypted(self) -> bool:
        """Return whether opening the image takes a passphrase."""
        return isinstance(self._protection, Encryption)

    def together(self) -> Together:
        """Return a context for changes that immediately follow one another, as counting a try and uncounting it."""
        return self._together

    def own(self, owner: object) -> None:
        """Make an activation the owner. Waits for the previous owner's change to end."""
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
                raise CardFull(growth, max(state.capacity - self._used, 0))
            digest = image_format.fold(self._protection, self._digest, changes)
            self._write(image_format.statements(self._protection, changes, digest))
            self._used, self._digest = self._used + growth, digest
            if keys or objects:
                self.revision += 1
            image_format.update(state.references, references or {})
            image_format.update(state.keys, keys or {})
            image_format.update(state.objects, objects or {})

    def count(self, owner: object, number: int, remaining: int) -> None:
        """Set the retry counter of a reference, within `together`. Raises as `commit`."""
        if self.owner is not owner:
            raise CardTorn
        references = self.state.references
        value, _, maximum = references[number]
        self._write(self._counting(number, remaining))
        references[number] = Reference(value, remaining, maximum)

    def _write(self, statements: Sequence[Statement]) -> None:
        """Write statements to the file. Raises NotWritten."""
        try:
            self._file.write(statements, self.state, self._protection)
        except (Estranged, OSError, sqlite3.Error) as error:
            raise NotWritten(self._tell(error)) from None
        if self._trouble:
            self._trouble = ""

    def is_in_place(self) -> bool:
        """Return whether the file at the image's path is the one that was opened."""
        with self._change:
            return self._file.is_in_place()

    def is_unchanged(self) -> bool:
        """Return whether no other program has written into the image."""
        with self._change:
            return self._file.holds(self.state, self._protection)

    def close(self) -> None:
        """Close and unlock the file; nothing can be changed any more."""
        self.owner = None
        with self._change:
            self._file.close()

    def leave_to_parent(self) -> None:
        """Make the store read-only, in a process that has just been forked."""
        self._change = threading.RLock()  # another thread, which is not in this process, may have it
        self._file.leave_to_parent()

    def _tell(self, error: Exception) -> str:
        """Log and return why the image cannot be written; the same reason is logged once."""
        trouble = f"{self.path} {error}" if isinstance(error, Estranged) else f"cannot write {self.path}: {error}"
        if trouble != self._trouble and self.logs:
            LOG.error("%s; the card stays as it is, and answers 6581 (memory failure) to what would change it", trouble)
        self._trouble = trouble
        return trouble


_OPEN: weakref.WeakSet[Store] = weakref.WeakSet()


def _after_fork() -> None:
    """Make all open images read-only in a forked process."""
    for store in list(_OPEN):
        store.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)


def create_image(path: Path, state: CardState, passphrase: bytes | None = None) -> None:
    """Write a new image, completely or not at all. Raises ImageExists, and ImageError if it cannot be written."""
    _write(path, image_format.new(state, passphrase))


def copy_image(source: Path, path: Path) -> None:
    """Copy an image, even one in use, as of one moment. Raises ImageError.

    An encrypted one stays so, and its passphrase is not needed.
    """
    _write(path, read_whole(source)[0])


def read_whole(path: Path) -> tuple[bytes, bool]:
    """Read the bytes of an image, even one in use, and whether they are encrypted. Raises ImageError."""
    with _explained(path):
        try:
            return _at_rest(path)
        except InUse:
            return _in_use(path)


def read_image(path: Path, passphrase: bytes | None = None) -> CardState:
    """Read the state in an image that is not in use. Raises ImageError."""
    with _explained(path), contextlib.closing(_for_reading(path)) as file:
        return file.open(passphrase).state


def _at_rest(path: Path) -> tuple[bytes, bool]:
    """Read an image that is not in use."""
    with contextlib.closing(_for_reading(path)) as file:
        file.settle(None)
        content = file.read()
    try:
        load(content, None)
    except NoPassphrase:  # whole as far as can be seen from outside
        return content, True
    return content, False


def _in_use(path: Path) -> tuple[bytes, bool]:
    """Read an image that another process writes, until the bytes are consistent."""
    end = monotonic() + PATIENCE
    while True:
        content = input_file.read_regular(path, LONGEST)
        try:
            load(content, None)
            return content, False
        except NoPassphrase as error:
            trouble: Exception = error
            if content == input_file.read_regular(path, LONGEST):
                return content, True
        except UNSOUND as error:
            trouble = error
        if monotonic() > end:
            raise trouble


def _for_reading(path: Path) -> ImageFile:
    """Open an image for reading; it may be one that cannot be written."""
    try:
        return ImageFile(path)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        return ImageFile(path, is_writable=False)


_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def _write(path: Path, content: bytes) -> None:
    """Write the bytes of a new image."""
    if path.exists():
        raise ImageExists(path)
    try:
        output_file.write_new(path, content)
    except FileExistsError:
        raise ImageExists(path) from None
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror}") from None


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise ImageError, with why the image cannot be used and what to do, for what its file raises."""
    try:
        yield
    except Exception as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: Exception) -> Exception:
    """Return the ImageError for an exception."""
    new = "make a new one with: cardtear card new FILE"
    match error:
        case InUse(args=(holder,)):
            spare = f"stop it, or take a copy with: cardtear card copy {path} FILE"
            return ImageError(f"{path} is open in another simulator{holder}; {spare}")
        case FileNotFoundError():
            return ImageError(f"there is no card image {path}; make one with: cardtear card new {path}")
        case OSError():
            return ImageError(f"cannot open the card image {path}: {error.strerror}")
        case NotAnImage():
            return ImageError(f"{path} is not a card image; {new}")
        case InWalMode():
            return ImageError(
                f"{path} is in SQLite's WAL mode; end that with: sqlite3 {path} 'PRAGMA journal_mode=DELETE'"
            )
        case UnknownFormat(args=(version,)):
            return ImageError(f"{path} has image format {version}, this program knows {FORMAT}; use a newer cardtear")
        case NoPassphrase():
            return ImageEncrypted(f"{path} is encrypted; say where its passphrase is with --passphrase-file FILE")
        case WrongPassphrase():
            return ImageEncrypted(f"that is not the passphrase of {path}")
        case sqlite3.OperationalError(sqlite_errorcode=sqlite3.SQLITE_BUSY):
            return ImageError(f"{path} is being written by another program; try again")
        case sqlite3.OperationalError(sqlite_errorcode=code) if code & 0xFF in _NOT_WRITTEN:
            return ImageError(f"cannot write {path}: {error}")
        case sqlite3.DatabaseError(sqlite_errorcode=sqlite3.SQLITE_NOTADB):
            return ImageError(f"{path} is damaged or not a card image; restore it from a copy, or {new}")
        case sqlite3.Error() | ValueError() | KeyError():
            return ImageError(f"{path} is damaged: {_reason(error)}; restore it from a copy, or {new}")
    return error


_NOT_WRITTEN = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _reason(error: Exception) -> str:
    """Return why an image is damaged, for a message."""
    return f"there is no {error.args[0]}" if isinstance(error, KeyError) else str(error)
