# SPDX-License-Identifier: MIT
"""Unix sockets of one user: folder mode 0700, socket mode 0600, and a check of the peer."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..card.files.output_file import make_folder

LOG = logging.getLogger(__name__)

BACKLOG = 128
_RESPITE = 0.1


class SocketError(Exception):
    """A socket cannot be made; the message says why and what to do. `code` is for programs."""

    code = "socket-error"


class SocketInUse(SocketError):
    """Raised when another process listens on the socket."""

    code = "socket-in-use"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"a simulator listens on {path} already; stop it (cardtear stop), or choose another folder (--folder)"
        )


class UnsafeFolder(SocketError):
    """Raised when the socket's folder is not private to this user."""

    code = "unsafe-folder"

    def __init__(self, folder: Path, reason: str, advice: str = "remove it, or choose another folder") -> None:
        super().__init__(f"the socket folder {folder} {reason}; {advice}")


OWN_FOLDER = (
    "choose another folder: set XDG_RUNTIME_DIR, which su and sudo may keep of another user, to one of this user's, "
    "or unset it"
)
"""What to do where the socket folder is another user's."""


def closed_to_us(path: Path) -> str:
    """Return which folder refuses this user access to a path."""
    closed = next((each for each in reversed(path.parents) if not os.access(each, os.X_OK)), path)
    return f"is closed to user {os.getuid()}" + (f", who may not look into {closed}" if closed != path else "")


def private_folder(folder: Path) -> Path:
    """Make the folder with mode 0700 if it is missing. Raises UnsafeFolder if it is not the user's own, or a link."""
    try:
        make_folder(folder)
    except PermissionError as error:
        check_folder(folder)
        raise UnsafeFolder(folder, f"cannot be made ({error.strerror})", OWN_FOLDER) from None
    except OSError as error:
        raise UnsafeFolder(folder, f"cannot be used ({error.strerror})") from None
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Raise UnsafeFolder unless a path is the user's own folder, readable only by that user."""
    try:
        status = folder.lstat()
    except PermissionError:
        raise UnsafeFolder(folder, closed_to_us(folder), OWN_FOLDER) from None
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnsafeFolder(folder, f"cannot be used ({error.strerror})") from None
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFolder(folder, "is not a folder")
    if status.st_uid != os.getuid():
        raise UnsafeFolder(folder, f"belongs to user {status.st_uid}, not to you", OWN_FOLDER)
    if status.st_mode & 0o077:
        raise UnsafeFolder(folder, f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}, wanted 0700)")


def listen(path: Path) -> socket.socket:
    """Return a listening socket; replaces one left by a dead simulator. Raises SocketInUse, UnsafeFolder."""
    private_folder(path.parent)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and _is_alive(path):
            raise SocketInUse(path)
        path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old)
        listener.listen(BACKLOG)
    except SocketError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise SocketError(f"cannot listen on {path}: {error.strerror or error}; choose another folder") from None
    return listener


def serve_each(
    listener: socket.socket,
    path: Path,
    prepare: Callable[[socket.socket], Callable[[], None]],
    name: str,
    refusal: bytes,
) -> None:
    """Serve each connection of this user or root, in a thread of that name, until the listener is shut down.

    `prepare` is called here, makes what serving needs, and returns what the thread does. When there are too many
    connections for this process, more are sent the `refusal` and closed, for which a descriptor is kept in reserve: who
    waits for an answer that does not come takes the simulator for one that hangs. So a thread needs no descriptor at
    first, which could be this one.
    """
    told = False
    reserve = _open_reserve()
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EBADF):  # it was shut down
                break
            if not told:
                LOG.warning("cannot accept a connection on %s: %s", path, error.strerror)
            told = True
            if reserve is not None and error.errno in (errno.EMFILE, errno.ENFILE):
                os.close(reserve)
                reserve = None
            else:
                time.sleep(_RESPITE)
            continue
        if not peer_is_ours(connection):
            LOG.warning("refused a connection of another user on %s", path)
            connection.close()
        else:
            reserve = _open_reserve() if reserve is None else reserve
            told = told and reserve is None
            if reserve is None or not _begin(prepare, connection, path, name):
                _refuse(connection, refusal)
        reserve = _open_reserve() if reserve is None else reserve
    if reserve is not None:
        os.close(reserve)


def _begin(
    prepare: Callable[[socket.socket], Callable[[], None]], connection: socket.socket, path: Path, name: str
) -> bool:
    """Start the thread that serves a connection; return False, and log it, if that fails."""
    try:
        threading.Thread(target=prepare(connection), name=name, daemon=True).start()
    except (RuntimeError, MemoryError, OSError) as error:
        LOG.warning("refused a connection on %s: %s", path, error)
        return False
    return True


def _refuse(connection: socket.socket, refusal: bytes) -> None:
    """Send a refusal without waiting, and close the connection."""
    with connection, contextlib.suppress(OSError):
        connection.send(refusal, socket.MSG_DONTWAIT)


def _open_reserve() -> int | None:
    """Open a spare descriptor, to be closed when there are no more; None if there is none."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def peer_is_ours(connection: socket.socket) -> bool:
    """Return whether the peer runs as this user or as root."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (os.getuid(), 0)


def _is_alive(path: Path) -> bool:
    """Return whether a process listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # it is stopped, and as many wait for it as there is room for
            return True
        except OSError:
            return False
        return True
