# SPDX-License-Identifier: MIT
"""The log of a command, on standard error: written by a thread of its own, so that nobody who logs waits for a reader.

A terminal that is stopped, a pipe that is full, or one whose reader is gone then changes nothing for who is served.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading

from ...card.shown import shown
from .terminal import Output

_LAST_WORDS = 1.0
"""Seconds for which the end of the program waits until the log is written."""


class PatientHandler(logging.Handler):
    """Writes each record as a line on standard error, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over a record; it is one line, and a traceback below it.

        Where there is no room for a thread now, it is written when the next one comes and there is.
        """
        head, newline, trace = self.format(record).partition("\n")
        lines = "".join(f"\n{shown(line)}" for line in trace.split("\n")) if newline else ""
        self._lines.put(f"cardtear: {shown(head)}{lines}\n")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread
                atexit.register(self._end)

    def _run(self) -> None:
        output = Output(to_errors=True)
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):  # who should read it does not
                output.write(line)

    def _end(self) -> None:
        self._lines.put(None)
        assert self._thread is not None
        self._thread.join(_LAST_WORDS)


def to_standard_error() -> None:
    """Log warnings and errors of this process there."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[PatientHandler()])
