# SPDX-License-Identifier: MIT
"""Processes below this one: what a command leaves behind is found and ended, daemons too. Linux only (prctl(2))."""

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
"""Seconds until a process that was killed is given up: it hangs in the kernel."""


def adopt() -> None:
    """Whoever among this process's descendants loses its parent becomes a child of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """This process gets a signal when its parent is gone."""
    _prctl(_PR_SET_PDEATHSIG, number)


def children() -> set[int]:
    """The direct children of this process."""
    return _tree().get(os.getpid(), set())


def end(known: set[int]) -> list[str]:
    """Kill and reap all descendants but the children that are `known`; the names of those that were still running.

    A process that forks while it is killed is found the next time round: its child has become one of ours by then.
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
    """Children by parent, of all processes."""
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
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += tree.get(pid, set())
    return found


def _name(pid: int) -> str:
    """The name of a process that runs; nothing for one that has ended and waits to be reaped."""
    with contextlib.suppress(OSError):
        head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        return "" if rest.split()[0] == "Z" else head.partition("(")[2]
    return ""


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
