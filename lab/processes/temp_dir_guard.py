# SPDX-License-Identifier: MIT
"""Removal of the temporary folders of simulators that have ended.

As a program this file waits for the end of a process, whose number is the second argument, and removes its folders.
It imports nothing of the package, to start fast.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import sys
from pathlib import Path

PREFIX = "cardtear-"
LOCK = "alive"


def remove_left(parent: Path) -> None:
    """Remove the folders in `parent` of simulators that have ended without removing them."""
    for folder in parent.glob(f"{PREFIX}*"):
        if folder.is_symlink() or (lock := locked(folder / LOCK)) is None:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def locked(path: Path, more: int = 0) -> int | None:
    """Lock a file and return its descriptor; None if it is locked, missing, another user's, or was just removed."""
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


def _main(parent: Path, process: int) -> None:
    """Wait for the end of a process, then remove the folders."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        poll = select.poll()
        poll.register(os.pidfd_open(process), select.POLLIN)
        poll.poll()  # until its locks are free, which the end of a pipe would not say
    remove_left(parent)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
