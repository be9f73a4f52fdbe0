# SPDX-License-Identifier: MIT
"""Write files that a user named: the one way by which a command's output gets into a file.

A regular file is replaced at once, or stays as it was; its mode, owner and extended attributes are kept, and of a
symbolic link it is the target that is written. Everything else is written through: a device, a FIFO, a descriptor of
this process as /dev/stdout or /proc/self/fd/3, which continues where it is. `-` is standard output.

What another user has put into /tmp or a folder like it is refused: by a link he would choose what is overwritten, and
out of a FIFO he would read the keys of a card. Of open() the kernel refuses that, too, where it is told to
(fs.protected_symlinks and the like, proc_sys_fs(5)); but links are followed here, and a FIFO is opened as one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import re
import secrets
import select
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

STANDARD_OUTPUT = Path("-")

_DESCRIPTOR = re.compile(r"/proc/(\d+)/(?:task/\d+/)?fd/(\d+)")
_MOST_LINKS = 40
"""Symbolic links on the way to a file, as Linux counts them."""

_NO_READER_PATIENCE = 60.0
"""Seconds to wait for a program that opens the other end of a FIFO."""

_CANNOT_REPLACE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})
"""Why a file that may be written cannot be replaced: its folder is not ours, or it is mounted there itself."""

_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
"""What open() answers to O_TMPFILE where file system or kernel do not have it."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What link() answers on a file system that has none, as FAT."""

_NO_REPLACE = 1
"""RENAME_NOREPLACE of renameat2(2)."""

_EVERYBODYS = stat.S_ISVTX | stat.S_IWOTH
"""The mode of a folder in which everybody may put files, and remove his own."""

_DRAFT = re.compile(r"\.cardtear-[0-9a-f]{16}")


def write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path`. Raises OSError with the path."""
    _write(path, content, is_new=False)


def write_new(path: Path, content: str | bytes) -> None:
    """Write `content` to a file that only the user can read. Raises FileExistsError for a regular file, OSError."""
    _write(path, content, is_new=True)


def make_folder(folder: Path) -> None:
    """Make a folder that is the user's alone, and those above it that are missing, whatever the umask. Raises OSError.

    One that others may write to could be theirs a moment later, with the test CA in it.
    """
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def check(path: Path) -> None:
    """Raise OSError for a path that `write` could not write to, without opening it."""
    with _named(path):
        target = _target(path)
        if isinstance(target, int):
            if fcntl.fcntl(target, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "this descriptor is open for reading only")
            return
        if target.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(target if target.exists() else target.parent, os.W_OK) and target.parent.is_dir():
            number = errno.EROFS if os.statvfs(target.parent).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(number, os.strerror(number))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no such folder for {path}", str(target.parent))


def is_standard_output(path: Path | None) -> bool:
    """Return whether it is what the program prints on, so that nothing else may be printed there."""
    try:
        return path is not None and _target(path) == sys.stdout.fileno()
    except (OSError, AttributeError):  # a loop of links; a stream without a descriptor
        return False


def is_same(path: Path, other: Path) -> bool:
    """Return whether both are one regular file, by whatever names, or will be one. Raises OSError."""
    with _named(path):
        target = _target(path)
    with _named(other):
        another = _target(other)
    if isinstance(target, int) or isinstance(another, int) or not (_is_regular(target) and _is_regular(another)):
        return False
    return target == another or (target.exists() and another.exists() and target.samefile(another))


def is_replaced(path: Path) -> bool:
    """Return whether `write` replaces what is there, so that it may be called again with more. Raises OSError."""
    with _named(path):
        return _is_regular(_target(path))


def _write(path: Path, content: str | bytes, is_new: bool) -> None:
    """Write to a file, a FIFO, a device or a descriptor. Raises OSError with the path."""
    data = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
    with _named(path):
        target = _target(path)
        if isinstance(target, int):
            _write_descriptor(target, data)
        elif not _is_regular(target):
            _write_through(target, data)
        elif is_new:
            _publish(target, data, is_new=True)
        else:
            _replace(target, data)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the path that the user gave into an OSError, instead of a draft's or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def _target(path: Path) -> Path | int:
    """Follow symbolic links to the target file, which may not exist, or to a descriptor of this process."""
    if path == STANDARD_OUTPUT:
        return sys.stdout.fileno()
    process = os.readlink("/proc/self")
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        descriptor = _DESCRIPTOR.fullmatch(str(path))
        if descriptor is not None and descriptor[1] == process:
            return int(descriptor[2])
        _require_not_planted(path)
        if descriptor is not None or not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _require_not_planted(path: Path) -> None:
    """Raise PermissionError for a file that another user has put into a world-writable folder."""
    try:
        owner, folder = path.lstat().st_uid, path.parent.stat()
    except OSError:  # nothing is there; or it cannot be written to anyway
        return
    if folder.st_mode & _EVERYBODYS == _EVERYBODYS and owner not in (os.geteuid(), folder.st_uid):
        reason = f"user {owner} has put it there, and not you; choose another name, or a folder of your own"
        raise PermissionError(errno.EACCES, reason)


def _is_regular(target: Path | int) -> bool:
    """Return whether it is a regular file with a name, or does not exist yet."""
    if isinstance(target, int) or _DESCRIPTOR.fullmatch(str(target)):
        return False
    return target.is_file() or not target.exists()


def _write_descriptor(number: int, data: bytes) -> None:
    """Write to a descriptor of this process, after what has been printed."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what has been printed comes first
    with os.fdopen(os.dup(number), "wb", buffering=0) as file:
        _write_all(file.fileno(), data)


def _write_through(path: Path, data: bytes) -> None:
    """Write into a FIFO or device."""
    file = _open_fifo(path) if path.is_fifo() else os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _write_all(file, data)
    finally:
        os.close(file)


def _open_fifo(path: Path) -> int:
    """Open a FIFO when there is a reader. Raises OSError when none comes."""
    end = time.monotonic() + _NO_READER_PATIENCE
    while True:
        try:
            file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > end:
                raise OSError(errno.ENXIO, "no program reads from this FIFO") from None
            time.sleep(0.02)
        else:
            os.set_blocking(file, True)
            return file


def _replace(path: Path, data: bytes) -> None:
    """Write a regular file that may be there, and that must be one we may write."""
    try:
        present = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        _publish(path, data)
        return
    try:
        _publish(path, data, present)
    except OSError as error:
        if error.errno not in _CANNOT_REPLACE:
            raise
        os.truncate(present, 0)
        _write_all(present, data)
    finally:
        os.close(present)


def _publish(path: Path, data: bytes, present: int | None = None, is_new: bool = False) -> None:
    """Write a file that is not visible before it is complete; it replaces `present` and keeps its attributes.

    Raises FileExistsError if it shall be new and there is one.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f".cardtear-{secrets.token_hex(8)}"
    link = functools.partial(os.link, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    has_name = False
    try:
        file, has_name = _draft(folder, name, 0o600 if is_new or present is not None else 0o666)
        try:
            _write_all(file, data)
            if present is not None:
                _keep_attributes(present, file)
            source = name if has_name else f"/proc/self/fd/{file}"
            if is_new:
                try:
                    link(source, path.name)
                except OSError as error:
                    if not has_name or error.errno not in _NO_LINKS:
                        raise
                    _rename_new(folder, name, path.name)
                    has_name = False
                return
            if not has_name:
                link(source, name)
                has_name = True
            os.rename(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            has_name = False
        finally:
            os.close(file)
    finally:
        if has_name:
            os.unlink(name, dir_fd=folder)
        os.close(folder)


def _rename_new(folder: int, name: str, new: str) -> None:
    """Give a file another name, where there are no links. Raises FileExistsError if a file has it, OSError."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        if renameat2(folder, os.fsencode(name), folder, os.fsencode(new), _NO_REPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number))
    # Nobody who wants a new file of this name gets it from here on.
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder))
    try:
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(new, dir_fd=folder)
        raise


def _draft(folder: int, name: str, mode: int) -> tuple[int, bool]:
    """Open a new file, unnamed if possible so that a killed process leaves nothing; return whether it has a name."""
    with contextlib.suppress(FileNotFoundError):  # no /proc, by which it gets its name
        os.stat("/proc/self/fd")
        try:
            return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=folder), False
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
    _remove_left_drafts(folder)
    while True:
        file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=folder)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file, True
        os.close(file)  # taken for one that was left, before it was locked


def _remove_left_drafts(folder: int) -> None:
    """Remove the drafts of processes that were killed, which hold no lock on them any more."""
    for name in filter(_DRAFT.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError):
            file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(file)


def _keep_attributes(present: int, draft: int) -> None:
    """Give the draft owner, mode and extended attributes of the file that it replaces. Raises PermissionError."""
    about, own = os.fstat(present), os.fstat(draft)
    if (about.st_uid, about.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(draft, about.st_uid, about.st_gid)
    os.fchmod(draft, stat.S_IMODE(about.st_mode))
    with contextlib.suppress(OSError):  # a file system without any, or one that only the kernel sets
        for name in os.listxattr(f"/proc/self/fd/{present}"):
            os.setxattr(draft, name, os.getxattr(f"/proc/self/fd/{present}", name))


def _write_all(file: int, data: bytes) -> None:
    """Write all bytes; waits for a descriptor that another process has made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except BlockingIOError:  # whoever shares the descriptor with us has made it so
            select.select([], [file], [])
