# SPDX-License-Identifier: MIT
"""One run of a program: without a terminal, with a deadline, and with nothing left of it afterwards."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..processes import subreaper

KEPT = 8192
"""Bytes of output that are kept from its beginning, and as many from its end."""

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP})


@dataclass(frozen=True)
class Ended:
    """How a run ended. `code` is None after a signal; `hung`: it was killed at its deadline.

    `output` holds both streams, with the middle left out where it is long; `left` names processes that were still there
    when it had ended by itself.
    """

    code: int | None
    signal: str | None
    seconds: float
    hung: bool = False
    output: str = ""
    left: tuple[str, ...] = ()

    @property
    def crashed(self) -> bool:
        """Return whether it died of a signal that it was not sent; a shell exits with 128 + number for that."""
        return not self.hung and (self.signal is not None or self._told_signal in _CRASHES)

    @property
    def _told_signal(self) -> int:
        return (self.code or 0) - 128

    @property
    def how(self) -> str:
        """Return how it ended, in words."""
        if self.crashed and self.signal is None:
            return f"exit {self.code}, which is {_signal_name(self._told_signal)}"
        return "hung" if self.hung else self.signal if self.signal is not None else f"exit {self.code}"

    @property
    def words(self) -> str:
        """Return how it ended and after how long, in words."""
        comma = "," if "," in self.how else ""
        return f"{self.how}{comma} after {self.seconds:.2f} s"


class _Output:
    """Reads a pipe to its end and keeps both ends of what comes."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._pipe = pipe
        self._head, self._tail, self._count = bytearray(), bytearray(), 0
        self._thread = threading.Thread(target=self._read, name="output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while data := self._pipe.read(1 << 16):
                self._count += len(data)
                room = KEPT - len(self._head)
                self._head += data[:room]
                self._tail = (self._tail + data[room:])[-KEPT:]

    def text(self) -> str:
        self._thread.join(1)  # nobody has the other end any more; what is handed to a stranger is not waited for
        lost = self._count - len(self._head) - len(self._tail)
        gap = f"\n[... {lost} bytes ...]\n".encode() if lost > 0 else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode(errors="replace")


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path | None, deadline: float) -> Ended:
    """Run a program to its end, or to its deadline in seconds. Raises OSError if it cannot be started.

    It has no terminal, and nothing on its standard input. No other thread of this process may run one meanwhile.
    """
    subreaper.adopt()
    known = subreaper.children()
    started = time.monotonic()
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    output = _Output(program.stdout)
    try:
        hung = not _wait(program, deadline)
        seconds = time.monotonic() - started
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()
        left = subreaper.end(known)
    code = program.returncode
    name = None if code >= 0 else _signal_name(-code)
    return Ended(None if code < 0 else code, name, seconds, hung, output.text(), () if hung else tuple(left))


def _wait(program: subprocess.Popen[bytes], deadline: float) -> bool:
    handle = os.pidfd_open(program.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(deadline * 1000))
    finally:
        os.close(handle)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
