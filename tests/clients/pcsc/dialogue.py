# SPDX-License-Identifier: MIT
"""A program with which a test speaks, a line there and lines back."""

from __future__ import annotations

import os
import queue
import subprocess
import threading

from .pcsc import DEADLINE


class Program:
    """A running program; a context manager. It has to end with its input."""

    def __init__(self, *command: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        assert kind is not None or code == 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def say(self, line: str) -> None:
        """A line to the program."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Its next line. Raises queue.Empty after the deadline."""
        return self._lines.get(timeout=DEADLINE)

    def ask(self, line: str) -> str:
        """A line, and the next of the program's."""
        self.say(line)
        return self.hear()
