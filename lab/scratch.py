# SPDX-License-Identifier: MIT
"""A simulator's temporary folder, with the cards in it that were made for it; none outlives its simulator for long.

Each folder holds a file that its simulator has locked. Who dies without tidying up loses the lock, and the next
simulator of the same user takes the folder away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from .closing import Closing

_PREFIX = "cardtear-"
_LOCK = "alive"


class Scratch(Closing):
    """A new folder of mode 0700 in `parent`, else in TMPDIR, from construction to `close`; a context manager."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _sweep(parent)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._lock = _locked(self.path / _LOCK, os.O_CREAT | os.O_EXCL)
            if self._lock is not None:
                return
            # Another simulator has swept it away between the two.

    def close(self) -> None:
        """Remove it with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _sweep(parent: Path) -> None:
    """Remove the folders of simulators that are no more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.is_symlink() or (lock := _locked(folder / _LOCK)) is None:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(path: Path, more: int = 0) -> int | None:
    """The file, locked; None if somebody else holds it, or it is missing, or not ours, or has just been removed."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | more, 0o600)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(file)
        if status.st_uid == os.getuid() and status.st_nlink:
            return file
    os.close(file)
    return None
