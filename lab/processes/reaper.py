# SPDX-License-Identifier: MIT
"""Sees to it that nothing outlives a program that starts others, also when it is killed together with its children.

The guard is this file, run as a process of its own in a session of its own. It sleeps until nobody has the other end of
its standard input any more: neither the program nor what it has forked. Nothing of the package is imported here, so
that it is there at once.
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
"""Seconds until what was killed and is still there is given up: it hangs in the kernel."""

_BETWEEN_LOOKS = 0.005
_ALL_IS_WELL = b"."


@contextlib.contextmanager
def guarded_folder() -> Iterator[Path]:
    """A temporary folder. At its end, and at the end of this process, it is removed with all processes that know it."""
    folder = Path(tempfile.mkdtemp(prefix="cardtear-"))
    with guarded(folder):
        try:
            yield folder
        finally:
            kill_who_knows(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """When this process is killed meanwhile, the folder is removed with all processes that know it.

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
    """All temporary files of this process lie in a guarded folder."""
    before = tempfile.tempdir
    try:
        with guarded_folder() as folder:
            tempfile.tempdir = str(folder)
            yield
    finally:
        tempfile.tempdir = before


def kill_who_knows(path: Path) -> int:
    """Kill all processes but this one that have a path below this one in their environment; how many there were.

    Children that have left their group or session are found so.
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
    return [int(each) for each in os.listdir("/proc") if each.isdigit() and int(each) != os.getpid()]


def _has(pid: int, mark: bytes) -> bool:
    """Whether the words are in its environment. That of a dead process, which waits to be buried, is empty."""
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _main(folder: Path) -> None:
    if sys.stdin.buffer.read() != _ALL_IS_WELL:
        kill_who_knows(folder)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
