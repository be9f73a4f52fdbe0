# SPDX-License-Identifier: MIT
"""Passphrases of card images: they come out of files, and never stand in a command line, a request or a trace."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

STANDARD_INPUT = Path("-")
_LONGEST = 4096
_PATIENCE = 20.0
"""Seconds to wait for the program at the other end of a FIFO."""


def read(path: Path | None, what: str = "passphrase") -> bytes | None:
    """Read the first line of a file, of a FIFO, or of standard input for `-`; None for none. `what` it is, errors say.

    Raises ValueError if it is empty, OSError, TimeoutError if nothing comes out of it.
    """
    if path is None:
        return None
    line = sys.stdin.buffer.readline(_LONGEST + 1) if path == STANDARD_INPUT else _first_line(path, what)
    passphrase = line.rstrip(b"\r\n")
    if not 1 <= len(passphrase) <= _LONGEST:
        raise ValueError(f"the first line of {path} is no {what}: it has 1 to {_LONGEST} bytes")
    return passphrase


def can_be_read_again(path: Path) -> bool:
    """Return whether the same passphrase will come out of a file the next time: not of a FIFO or standard input."""
    return path != STANDARD_INPUT and path.is_file()


@contextlib.contextmanager
def handed_over(path: Path | None) -> Iterator[Path | None]:
    """Give the path of a file with the passphrase that another process of the user can read for the time being."""
    if path is None:
        yield None
    elif can_be_read_again(path) or not (path == STANDARD_INPUT or path.exists()):
        yield path.resolve()
    else:
        passphrase = read(path)
        assert passphrase is not None
        with os.fdopen(os.memfd_create("passphrase"), "wb", buffering=0) as memory:
            memory.write(passphrase)
            yield Path(f"/proc/{os.getpid()}/fd/{memory.fileno()}")


def _first_line(path: Path, what: str) -> bytes:
    """Read up to the end of a line, the end of the file, or more than a passphrase has."""
    line, end = b"", monotonic() + _PATIENCE
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb", buffering=0) as file:
        poll = select.poll()
        poll.register(file, select.POLLIN)
        while b"\n" not in line and len(line) <= _LONGEST:
            if not poll.poll(max(0, end - monotonic()) * 1000):
                raise TimeoutError(errno.ETIMEDOUT, f"no {what} came out of it in {_PATIENCE:.0f} seconds", str(path))
            # A FIFO that all writers have left is ready, too, and at its end.
            if not (more := file.read(_LONGEST)):
                break
            line += more
    return line.partition(b"\n")[0]
