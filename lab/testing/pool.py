# SPDX-License-Identifier: MIT
"""Pool: the simulators of a test run, all in one other process, which is started once and ends with the run.

In another process, because a client library that keeps Python's global lock during a call (PyKCS11) would wait forever
for a simulator in its own. Started once, because most of a start is imports; one more simulator takes a millisecond.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ...reader.waiting import readable
from ..control.remote import RemoteSimulator
from ..processes.closable import Closable

DEADLINE = 60.0
"""Seconds that the process may take for a request, which may create the first card of its kind."""


class PoolError(Exception):
    """The pool's process refused a request, or has ended; the message has the reason."""


class Pool(Closable):
    """The simulators of one test run (of one worker, under xdist). A context manager; threads may share it."""

    def __init__(self) -> None:
        self._host: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """End all simulators and their process."""
        with self._lock:
            self._end()

    @property
    def process_id(self) -> int | None:
        """Number of the simulators' process; None before the first one was started."""
        return None if self._host is None else self._host.pid

    def start(self, quirks: list[str] | None = None, pcsc: str | None = None) -> RemoteSimulator:
        """Start a simulator without readers. Raises PoolError.

        With `pcsc` its readers are in a pcscd, the same one for all simulators of the run: its own, whose readers have
        this in their names, for root, and the machine's otherwise.
        """
        started = self._ask("start", quirks=quirks or [], pcsc=pcsc)
        return RemoteSimulator(started["environment"], end=lambda: self._finish(started["number"]))

    def _finish(self, number: int) -> None:
        """End a simulator; does nothing if the process is gone, and the simulator with it."""
        with self._lock:
            if self._host is not None and self._host.poll() is None:
                self._exchange(self._host, "end", number=number)

    def make_folder(self) -> Path:
        """Create a folder that is removed when the run ends, also if it is killed. Raises PoolError."""
        return Path(self._ask("make-folder")["folder"])

    def adopt(self, process: int) -> None:
        """Have a process killed when the run ends, also if the run is killed. Raises PoolError."""
        self._ask("adopt", process=process)

    def _ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        with self._lock:
            if self._host is None or self._host.poll() is not None:
                self._end()
                self._host = subprocess.Popen(
                    [sys.executable, "-P", "-m", f"{__package__}.pool_process", str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the tests
                )
            return self._exchange(self._host, verb, **arguments)

    def _exchange(self, host: subprocess.Popen[bytes], verb: str, **arguments: Any) -> dict[str, Any]:
        assert host.stdin is not None
        assert host.stdout is not None
        try:
            host.stdin.write(json.dumps({"do": verb, "arguments": arguments}).encode() + b"\n")
            host.stdin.flush()
        except OSError:
            self._end()
            raise PoolError("the simulators' process has ended") from None
        if not readable(DEADLINE, host.stdout):
            self._end()
            raise PoolError(f"the simulators' process said nothing in {DEADLINE:.0f} s")
        line = host.stdout.readline()  # lines come whole
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:  # it ended before the line did
            self._end()
            raise PoolError("the simulators' process has ended") from None
        if "error" in answer:
            raise PoolError(answer["error"])
        return answer

    def _end(self) -> None:
        host, self._host = self._host, None
        if host is None:
            return
        assert host.stdin is not None
        assert host.stdout is not None
        with contextlib.suppress(OSError):  # what was still to be written has no reader
            host.stdin.close()
        try:
            host.wait(10)
        except subprocess.TimeoutExpired:
            host.kill()
            host.wait()
        host.stdout.close()
