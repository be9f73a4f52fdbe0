# SPDX-License-Identifier: MIT
"""The file of an open card image: locked, kept open, and written only while it is the file that was opened.

Other programs can move the file, put another in its place or write into it, whatever is locked. So before each change,
or a few that follow one another at once, the file's status is compared with what it was after the last one; when it
differs, what the file holds is compared with the card in memory, and nothing is written unless both are the same.
From that look to the end of the change nobody else can open the file (file_lease). For that it has to be open once in
this process: the descriptor that SQLite opens is also the one that is locked and read here.

SQLite makes each change whole or not at all, also when the process is killed, by a journal beside the image. It finds
that journal by its name only and would undo a change in whatever file has come to the image's name since. So a journal
is given to SQLite only when the image is not sound without it. Nothing is flushed to the disk: a machine that loses its
power is not provided for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from . import file_lease, image_format, image_migration
from .encryption import NoPassphrase, Protection, WrongPassphrase
from .file_lease import Lease
from .image_format import Image, NotAnImage, Statement
from .image_migration import UnknownFormat
from .state import CardState

PATIENCE = 2.0
"""Seconds to wait for somebody who has the image open in SQLite's own shell."""

_SETTINGS = (
    "synchronous = OFF",
    "locking_mode = EXCLUSIVE",
    "journal_mode = OFF",
    "cache_size = 6",
    "cache_spill = OFF",
    "shrink_memory",
)
"""The cache is small, and what was taken before that is given back: each of thousands of cards has its own."""

LONGEST = 5 << 28
"""Bytes in the longest file that is read: the greatest capacity that a card can have, and what SQLite adds."""

_HEADER = struct.Struct(">16sHBB8xI")
"""Magic string, page size, versions for writing and reading, pages in the file (SQLite's file format, 1.3)."""

_MAGIC = b"SQLite format 3\0"
_WAL = 2
_GREATEST_PAGE = 1 << 16
"""Bytes in a page whose size is written as 1."""

UNSOUND = (sqlite3.Error, ValueError, KeyError)
"""What reading a damaged image raises, or one that is half written."""


class InUse(Exception):
    """Raised when another process has the image open; the argument says which, in words for a message."""


class InWalMode(Exception):
    """Raised when another program has put the image into SQLite's WAL mode: changes may be in a file beside it."""


class Estranged(Exception):
    """Raised when the file does not belong to the card any more; the argument says why."""


_NOT_THE_CARD = (*UNSOUND, NotAnImage, InWalMode, UnknownFormat, NoPassphrase, WrongPassphrase)


def load(content: bytes, key: bytes | Protection | None) -> tuple[Image, bool]:
    """Read the bytes of an image, with its passphrase or protection; return also whether it has the present format.

    Raises NotAnImage, InWalMode, UnknownFormat, NoPassphrase, WrongPassphrase, and UNSOUND for a damaged one.
    """
    _require_whole(content[: _HEADER.size], len(content))
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(content)
        is_current = not image_migration.bring_up(db, key)
        return image_format.load(db, key), is_current


def _require_whole(beginning: bytes, size: int) -> None:
    """Refuse a file before it is read: not SQLite's, or not of the length in its header. Raises as `load`."""
    if len(beginning) < _HEADER.size or size > LONGEST:
        raise NotAnImage
    magic, page, writing, reading, pages = _HEADER.unpack(beginning)
    if magic != _MAGIC:
        raise NotAnImage
    if _WAL in (writing, reading):
        raise InWalMode
    length = pages * (_GREATEST_PAGE if page == 1 else page)
    if size != length:
        raise ValueError("its end is missing" if size < length else "there is more behind its end")


class ImageFile:
    """The locked file of an image, from construction to `close`. Raises OSError, InUse. Not thread-safe.

    While `is_together` is set changes follow one another at once, until `end`: the file is looked at before the first
    and after the last, and nobody else can open it meanwhile.
    """

    def __init__(self, path: Path, is_writable: bool = True) -> None:
        self._path = Path(os.path.realpath(path))
        self._journal = Path(f"{self._path}-journal")
        self._db: sqlite3.Connection | None = None
        self._sqlite_file: int | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._seen: tuple[int, ...] = ()
        """Which file it is, and when it was last written, moved or the like, after our own last change."""
        self.is_together = False
        self._under_way: sqlite3.Cursor | None = None
        self._is_writable = is_writable
        # To open a FIFO would be to wait for its writer; without waiting, a file with a lease could not be opened.
        if stat.S_IFMT(os.stat(path).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise NotAnImage
        self._file = os.open(self._path, (os.O_RDWR if is_writable else os.O_RDONLY) | os.O_CLOEXEC)
        self._lease = Lease(self._file)
        self._is_open = True
        try:
            self._lock()
        except InUse:
            os.close(self._file)
            raise

    def read(self) -> bytes:
        """Read the whole file. Raises NotAnImage, InWalMode, ValueError for a length other than in its header."""
        size = os.fstat(self._file).st_size
        _require_whole(os.pread(self._file, _HEADER.size, 0), size)
        return os.pread(self._file, size, 0)

    def settle(self, key: bytes | Protection | None) -> None:
        """Roll back the change during which a process was killed. Raises as `load` if the key does not fit."""
        if self._is_journal_hot():
            try:
                load(self.read(), key)
            except UNSOUND:
                with contextlib.closing(self._connected()) as db, _transaction(db.cursor()):
                    pass
            else:
                self._journal.unlink()  # of a change that had not begun or was complete, or of another file
        self._remove_journal()

    def open(self, passphrase: bytes | None) -> Image:
        """Read the card, after rolling back an interrupted change. An earlier format is migrated.

        Raises as `load`, and OSError or sqlite3.Error if something of that cannot be written.
        """
        self.settle(passphrase)
        image, is_current = load(self.read(), passphrase)
        if not is_current and self._is_writable:
            with contextlib.closing(self._connected()) as db:
                db.execute("PRAGMA journal_mode = PERSIST")
                with _transaction(db.cursor()):
                    image_migration.bring_up(db, image.protection)
            self._remove_journal()
        self._seen = _seen(os.fstat(self._file))
        return image

    def is_in_place(self) -> bool:
        """Return whether the file at its path is the one that was opened."""
        try:
            self._require_place()
        except Estranged:
            return False
        return True

    def holds(self, state: CardState, protection: Protection) -> bool:
        """Return whether the file holds this state, or has not been changed since it was last found to hold it."""
        if _seen(os.fstat(self._file)) != self._seen:
            try:
                self._require_state(state, protection)
            except Estranged:
                return False
        return True

    def write(self, statements: Sequence[Statement], state: CardState, protection: Protection) -> None:
        """Make all changes in the file or none; it has to hold this state. A single change writes one page.

        Raises Estranged, OSError, sqlite3.Error.
        """
        cursor = self._under_way or self._begun(state, protection)
        try:
            if len(statements) == 1:
                cursor.execute(*statements[0])
            else:
                self._write_together(cursor, statements)
        except BaseException:
            self._under_way = None
            self._lease.give_back()
            self._disconnect()
            with contextlib.suppress(OSError, sqlite3.Error, Estranged):  # else at the next change, or the next opening
                self._require_place()
                self.settle(protection)
            raise
        if self.is_together:
            self._under_way = cursor
        else:
            self._ended()

    def end(self) -> None:
        """End the changes that `is_together` began, whether anything was changed or not."""
        self.is_together = False
        if self._under_way is not None:
            self._under_way = None
            self._ended()

    def close(self) -> None:
        """Close and unlock the file."""
        if self._is_open:
            self._is_open = False
            self._disconnect()
            self._remove_journal()
            fcntl.flock(self._file, fcntl.LOCK_UN)  # also where a forked process still has the descriptor
            os.close(self._file)

    def leave_to_parent(self) -> None:
        """Release the file without writing or unlocking, in a process that was forked from the file's own."""
        if self._db is not None:
            # SQLite must not end the connection either: it would undo what the parent is about to do.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))
            self._db = self._cursor = None
            if self._sqlite_file is not None:
                os.close(self._sqlite_file)
        if self._is_open:
            self._is_open = False
            os.close(self._file)

    def _lock(self) -> None:
        """Lock the file for this process. Raises InUse."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(_holder(os.fstat(self._file).st_ino)) from None

    def _begun(self, state: CardState, protection: Protection) -> sqlite3.Cursor:
        """Begin a change, if the file is at its path and holds this state, and keep others out. Raises as `write`."""
        if self._cursor is not None:
            if not self._lease.take():
                self._require_no_writer()
            if self._is_as_seen():
                return self._cursor
            self._lease.give_back()
        cursor = self._connect(protection)
        try:
            if not self._lease.take():
                self._require_no_writer()
            self._require_place()  # SQLite has opened it by its name
            self._require_state(state, protection)
        except BaseException:
            self._lease.give_back()
            self._disconnect()
            raise
        return cursor

    def _ended(self) -> None:
        """End a change: let others in."""
        self._seen = _seen(os.fstat(self._file))
        self._lease.give_back()

    def _is_as_seen(self) -> bool:
        """Return whether the file at its path, where another may have been mounted, is unchanged."""
        try:
            return _seen(os.stat(self._path)) == self._seen
        except OSError:
            return False

    def _require_no_writer(self) -> None:
        """Refuse a file open for writing elsewhere, where there is no lease. Raises Estranged."""
        process = file_lease.writer(os.fstat(self._file)) if self._lease.is_shared else None
        if process is not None:
            raise Estranged(f"is open for writing in another program ({_command(process)})")

    def _write_together(self, cursor: sqlite3.Cursor, statements: Sequence[Statement]) -> None:
        """Make changes of several pages, with a journal of the old pages until they are complete."""
        self._has_journal()
        cursor.execute("PRAGMA journal_mode = PERSIST")
        with _transaction(cursor):
            for statement in statements:
                cursor.execute(*statement)
        cursor.execute("PRAGMA journal_mode = OFF")
        self._remove_journal()

    def _connect(self, protection: Protection) -> sqlite3.Cursor:
        """Have SQLite open the file, and use its descriptor from then on. Raises as `write`."""
        self._disconnect()
        self._require_place()
        with contextlib.suppress(*_NOT_THE_CARD):
            self.settle(protection)
        spare = os.dup(self._file)
        os.close(spare)
        self._db = self._opened()
        try:
            self._sqlite_file = file_lease.own_descriptor(self._file, spare)
            if self._sqlite_file is not None:
                own = os.dup(self._sqlite_file)
                os.close(self._file)  # before SQLite locks anything: closing a file gives those locks free (fcntl(2))
                self._file = own
                self._lease = Lease(self._file)
                self._lock()
            self._set(self._db)
            self._cursor = self._db.cursor()
        except InUse as error:
            self._disconnect()
            raise Estranged(f"is open in another simulator{error}") from None
        except BaseException:
            self._disconnect()
            raise
        return self._cursor

    def _require_state(self, state: CardState, protection: Protection) -> None:
        """Require that the file holds this state. Raises Estranged."""
        try:
            if load(self.read(), protection)[0].state == state:
                return
        except _NOT_THE_CARD:
            pass
        raise Estranged("was changed by another program")

    def _disconnect(self) -> None:
        """Close SQLite's connection, which rolls back an incomplete change."""
        if self._db is not None:
            if self._cursor is not None:
                self._cursor.close()  # SQLite keeps the connection for as long as there are statements of it
            self._db.close()
            self._db = self._cursor = self._sqlite_file = None

    def _require_place(self) -> None:
        """Require that the file at its path is the one that was opened. Raises Estranged."""
        if not self._is_open:
            raise Estranged("is in use by the process that has opened it, of which this one is a copy")
        try:
            there = os.stat(self._path)
        except OSError as error:
            raise Estranged(f"is not there any more ({error.strerror})") from None
        if not os.path.samestat(there, os.fstat(self._file)):
            raise Estranged("is another file now")

    def _is_journal_hot(self) -> bool:
        """Return whether there is a journal of an incomplete change (SQLite's file format, 3)."""
        if not self._has_journal():
            return False
        with self._journal.open("rb") as journal:
            return journal.read(1) not in (b"", b"\0")

    def _has_journal(self) -> bool:
        """Return whether there is a journal. Raises OSError for what is not a regular file, such as a FIFO."""
        try:
            mode = self._journal.lstat().st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"{self._journal} is no file; remove it")
        return True

    def _remove_journal(self) -> None:
        """Remove the journal of past changes. SQLite would do so by name, even if it is another file's."""
        with contextlib.suppress(OSError, Estranged):
            self._require_place()
            if not self._is_journal_hot():
                self._journal.unlink()

    def _opened(self) -> sqlite3.Connection:
        """Open a connection without locks; it creates no file."""
        address = f"file:{quote(os.fsencode(self._path))}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)

    def _connected(self) -> sqlite3.Connection:
        """Open a connection that keeps its lock."""
        db = self._opened()
        self._set(db)
        return db

    @staticmethod
    def _set(db: sqlite3.Connection) -> None:
        """Apply the settings. A change of one page is one system call, and needs no journal to be atomic."""
        for setting in _SETTINGS:
            db.execute(f"PRAGMA {setting}")


@contextlib.contextmanager
def _transaction(cursor: sqlite3.Cursor) -> Iterator[None]:
    """Commit at the end. After an exception the connection has to be closed."""
    cursor.execute("BEGIN IMMEDIATE")
    yield
    cursor.execute("COMMIT")


def _seen(status: os.stat_result) -> tuple[int, ...]:
    """Return which file it is and when it was last written, moved or the like."""
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _holder(inode: int) -> str:
    """Describe which process has a file locked, for a message; empty if Linux does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text().splitlines():
            match line.split():
                case [_, "FLOCK", _, "WRITE", process, file, *_] if file.endswith(f":{inode}"):
                    return f" ({_command(int(process))})"
    return ""


def _command(process: int) -> str:
    """Describe a process by its command."""
    command = ""
    with contextlib.suppress(OSError, ValueError):
        words = Path(f"/proc/{process}/cmdline").read_text().rstrip("\0").split("\0")
        command = ": " + " ".join(os.path.basename(word) for word in words[:3] if word.isprintable())
    return f"process {process}{command}"
