# SPDX-License-Identifier: MIT
"""Passphrases of card images: they come out of files, and never stand in a command line, a request or a trace."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

STANDARD_INPUT = Path("-")
_LONGEST = 4096


def read(path: Path | None) -> bytes | None:
    """The first line of a file, of standard input for `-`; None for none. Raises ValueError if it is empty, OSError."""
    if path is None:
        return None
    with contextlib.ExitStack() as undo:
        file = sys.stdin.buffer if path == STANDARD_INPUT else undo.enter_context(path.open("rb"))
        passphrase = file.readline(_LONGEST + 1).rstrip(b"\r\n")
    if not 1 <= len(passphrase) <= _LONGEST:
        raise ValueError(f"the first line of {path} is no passphrase: it has 1 to {_LONGEST} bytes")
    return passphrase


@contextlib.contextmanager
def handed_over(path: Path | None) -> Iterator[Path | None]:
    """A file of the passphrase that another process of the user can read for the time being."""
    if path is None:
        yield None
    elif path != STANDARD_INPUT:
        yield path.resolve()
    else:
        passphrase = read(path)
        assert passphrase is not None
        with os.fdopen(os.memfd_create("passphrase"), "wb", buffering=0) as memory:
            memory.write(passphrase)
            yield Path(f"/proc/{os.getpid()}/fd/{memory.fileno()}")
