# SPDX-License-Identifier: MIT
"""A guard process that ends all processes a program started, also if the program itself is killed.

The guard is this file, run as a process in its own session. It waits for the end of its standard input, that is until
neither the program nor a fork of it has the other end. This file imports nothing of the package, to start fast.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 10.0
"""Seconds until a process that was killed and still exists is given up: it hangs in the kernel."""

_BETWEEN_LOOKS = 0.005
_ALL_IS_WELL = b"."


@contextlib.contextmanager
def guarded_folder() -> Iterator[Path]:
    """Create a temporary folder for the block; afterwards remove it and kill all processes that know it."""
    folder = Path(tempfile.mkdtemp(prefix="cardtear-"))
    with guarded(folder):
        try:
            yield folder
        finally:
            kill_who_knows(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Have a guard remove the folder, and kill all processes that know it, if this process is killed in the block.

    A process knows the folder when a variable in its environment has a path below it, as TMPDIR or CARDTEAR_SOCKET.
    """
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # Ctrl-C, and what kills a process group, is not for it
    )
    assert guard.stdin is not None
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError), guard.stdin:  # somebody may have killed it
            guard.stdin.write(_ALL_IS_WELL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child of ours that lives on keeps it waiting
            guard.wait(_PATIENCE)


@contextlib.contextmanager
def guarded_temporaries() -> Iterator[None]:
    """Put all temporary files of this process into a guarded folder during the block."""
    before = tempfile.tempdir
    try:
        with guarded_folder() as folder:
            tempfile.tempdir = str(folder)
            yield
    finally:
        tempfile.tempdir = before


def kill_who_knows(path: Path) -> int:
    """Kill all other processes whose environment has a path below this one; return how many there were.

    This finds children, too, that have left their process group or session.
    """
    mark = f"={path}/".encode()
    deadline, found = time.monotonic() + _PATIENCE, set[int]()
    while knowing := [pid for pid in _processes() if _has(pid, mark)]:
        found |= set(knowing)
        for pid in knowing:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(_BETWEEN_LOOKS)  # nothing tells when somebody else's child is gone
    return len(found)


def _processes() -> list[int]:
    """Return the numbers of all other processes."""
    return [int(each) for each in os.listdir("/proc") if each.isdigit() and int(each) != os.getpid()]


def _has(pid: int, mark: bytes) -> bool:
    """Return whether the environment of a process has `mark` in it. That of a zombie is empty."""
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _main(folder: Path) -> None:
    """Clean up at the end of standard input, unless the program has written there that it did so itself."""
    if sys.stdin.buffer.read() != _ALL_IS_WELL:
        kill_who_knows(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
