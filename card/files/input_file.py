# SPDX-License-Identifier: MIT
"""Read files that users name: at most so many bytes, and a FIFO or a device for at most so many seconds."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Generator
from pathlib import Path
from time import monotonic
from typing import BinaryIO

KEYS_AND_CERTIFICATES = 4 << 20
"""Bytes in the longest file of keys and certificates that is read: a bundle of all public CAs has a quarter of that."""

PATIENCE = 60.0
"""Seconds for a FIFO, as of a shell's `<(command)`, whose writer may ask a person for a passphrase first."""

_AT_ONCE = 1 << 16


def read(path: Path, most: int, patience: float | None = None) -> bytes:
    """Read a file, a FIFO or a device to its end, for at most `patience` seconds (PATIENCE). `most` is in bytes.

    Raises OSError, also for one that is longer; TimeoutError.
    """
    content = bytearray()
    for piece in pieces(path, PATIENCE if patience is None else patience):
        content += piece
        require_short(len(content), most, path)
    return bytes(content)


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file, and refuse what would have to be waited for. Raises OSError."""
    with os.fdopen(_opened(path), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(
                errno.EINVAL, "it is no regular file (a FIFO, a device or a socket); copy it into one", str(path)
            )
        require_short(about.st_size, most, path)
        return read_stream(file, most, path)


def read_stream(stream: BinaryIO, most: int, name: Path) -> bytes:
    """Read an open stream, as standard input, to its end; `name` is for the message. Raises OSError."""
    content = stream.read(most + 1)
    require_short(len(content), most, name)
    return content


def pieces(path: Path, patience: float, missing: str = "nothing") -> Generator[bytes]:
    """Yield what comes out of a file. Raises OSError; TimeoutError, which says what was `missing`, after `patience`."""
    end = monotonic() + patience
    with os.fdopen(_opened(path), "rb", buffering=0) as file:
        poll = select.poll()
        poll.register(file, select.POLLIN)
        while True:
            if not poll.poll(max(0, end - monotonic()) * 1000):
                message = f"{missing} came out of it in {patience:.0f} seconds; does a program write to it?"
                raise TimeoutError(errno.ETIMEDOUT, message, str(path))
            # A FIFO that all writers have left is ready, too, and at its end; None is one that was emptied by another.
            piece = file.read(_AT_ONCE)
            if piece is not None:
                if not piece:
                    return
                yield piece


def _opened(path: Path) -> int:
    """Open a file that is no folder, without waiting for a FIFO's writer. Raises OSError."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # A regular file is waited for until whoever has a lease on it gives that back, as a card does.
    no_wait = 0 if stat.S_ISREG(mode) else os.O_NONBLOCK
    return os.open(path, os.O_RDONLY | no_wait | os.O_NOCTTY | os.O_CLOEXEC)


def require_short(length: int, most: int, path: Path) -> None:
    """Refuse what is longer than it may be, in bytes. Raises OSError."""
    if length > most:
        raise OSError(errno.EFBIG, f"it is longer than {most} bytes, the most that is read of it", str(path))
