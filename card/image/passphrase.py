# SPDX-License-Identifier: MIT
"""Passphrases of card images: read from files, never from a command line, a request or a trace."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..files import input_file

STANDARD_INPUT = Path("-")
_LONGEST = 4096
_PATIENCE = 20.0
"""Seconds to wait for the program at the other end of a FIFO."""


def read(path: Path | None, what: str = "passphrase") -> bytes | None:
    """Read the first line of a file, a FIFO or standard input (`-`); None for None. `what` names it in errors.

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
    """Return whether a file gives the same passphrase again: not a FIFO or standard input."""
    return path != STANDARD_INPUT and path.is_file()


@contextlib.contextmanager
def handed_over(path: Path | None) -> Iterator[Path | None]:
    """Provide a file with the passphrase, which another process of the user can read inside the block."""
    if path is None:
        yield None
    elif can_be_read_again(path) or not (path == STANDARD_INPUT or path.exists()):
        yield Path(os.path.realpath(path))
    else:
        passphrase = read(path)
        assert passphrase is not None
        with os.fdopen(os.memfd_create("passphrase"), "wb", buffering=0) as memory:
            memory.write(passphrase)
            yield Path(f"/proc/{os.getpid()}/fd/{memory.fileno()}")


def _first_line(path: Path, what: str) -> bytes:
    """Read up to the end of a line, the end of the file, or the longest passphrase."""
    line = b""
    with contextlib.closing(input_file.pieces(path, _PATIENCE, f"no {what}")) as pieces:
        for piece in pieces:
            line += piece
            if b"\n" in line or len(line) > _LONGEST:
                break
    return line.partition(b"\n")[0]
