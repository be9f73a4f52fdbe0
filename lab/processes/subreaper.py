# SPDX-License-Identifier: MIT
"""Finding and ending all descendants of this process, daemons too, by PR_SET_CHILD_SUBREAPER (Linux, prctl(2))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PATIENCE = 10.0
"""Seconds until a process that was killed and still exists is given up: it hangs in the kernel."""


def adopt() -> None:
    """Make this process the parent of those of its descendants that lose theirs (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have this process get a signal when its parent ends (PR_SET_PDEATHSIG)."""
    _prctl(_PR_SET_PDEATHSIG, number)


def children() -> set[int]:
    """Return the direct children of this process."""
    return _tree().get(os.getpid(), set())


def end(known: set[int]) -> list[str]:
    """Kill and reap all descendants but the children in `known`; return the names of those that were still running.

    The child of a process that forks while it is killed becomes a child of this one, and is found in the next turn.
    """
    names: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        tree = _tree()
        mine = tree.get(os.getpid(), set()) - known
        if not mine:
            break
        for pid in _below(tree, mine):
            name = _name(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                names += [name] * bool(name)
        for pid in mine:
            _reap(pid, deadline)
    return names


def _reap(pid: int, deadline: float) -> None:
    """Wait for the end of a child until `deadline`, and reap it."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        finally:
            os.close(handle)
        os.waitpid(pid, os.WNOHANG)


def _tree() -> dict[int, set[int]]:
    """Return the children of each process."""
    tree: dict[int, set[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb", buffering=0) as file:  # there may be many
                    parent = int(file.read(512).rpartition(b")")[2].split(None, 2)[1])
            except OSError:  # gone meanwhile
                continue
            tree.setdefault(parent, set()).add(int(entry))
    return tree


def _below(tree: dict[int, set[int]], roots: set[int]) -> list[int]:
    """Return `roots` and all their descendants."""
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += tree.get(pid, set())
    return found


def _name(pid: int) -> str:
    """Return the name of a running process; nothing for a zombie."""
    with contextlib.suppress(OSError):
        head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        return "" if rest.split()[0] == "Z" else head.partition("(")[2]
    return ""


def _prctl(option: int, value: int) -> None:
    """Call prctl(2). Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
