# SPDX-License-Identifier: MIT
"""The process of a pool: makes and ends simulators as lines of JSON on standard input say, one answer for each.

It ends, with all of its simulators and files, when standard input does or the process that started it is gone, however
that went. What is left of one that was killed itself, the next one clears away.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .simulator import Simulator

PREFIX = "cardtear-pool-"
_LOCK = "lock"


class Host:
    """The simulators by number."""

    def __init__(self) -> None:
        self._simulators: dict[int, contextlib.ExitStack] = {}
        self._count = 0

    def carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        """`start` or `end`; the answer has `error` when it cannot be."""
        try:
            if "start" in request:
                return self._start(**request["start"])
            self._simulators.pop(request["end"]).close()
            return {}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """End all."""
        for each in self._simulators.values():
            each.close()

    def _start(self, quirks: list[str]) -> dict[str, Any]:
        undo = contextlib.ExitStack()
        simulator = undo.enter_context(Simulator())
        self._count += 1
        self._simulators[self._count] = undo
        return {"number": self._count, "environment": simulator.environment}


def own_folder() -> Path:
    """A new folder for temporary files, locked for as long as this process lives; old ones without a lock are removed."""
    base = Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(folder / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)  # never closed
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "new").rename(folder / _LOCK)  # nobody sees it unlocked
    for other in base.glob(f"{PREFIX}*"):
        if other != folder and _is_abandoned(other):
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder.stat().st_uid == os.getuid()
    except OSError:
        return False  # held, somebody else's, or being made


def lines(parent: int) -> Iterator[bytes]:
    """The lines of standard input, until its end or the parent's."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    with contextlib.suppress(OSError):  # gone already: standard input says so
        poll.register(os.pidfd_open(parent), select.POLLIN)  # a forked child may hold our standard input's other end
    pending = b""
    while [fd for fd, _ in poll.poll()] == [0] and (some := os.read(0, 65536)):
        *whole, pending = (pending + some).split(b"\n")
        yield from whole


def main() -> None:
    """The entry point."""
    parent = os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = own_folder()
    tempfile.tempdir = str(folder)
    host = Host()
    try:
        for line in lines(parent):
            sys.stdout.write(json.dumps(host.carry_out(json.loads(line))) + "\n")
            sys.stdout.flush()
    finally:
        host.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
