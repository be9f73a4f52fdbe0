# SPDX-License-Identifier: MIT
"""The log of a command, on standard error, written by its own thread.

So a terminal that is stopped, or a pipe that is full or has no reader, does not block the thread that logs.
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
"""Seconds for which the program waits at its end until the log is written."""


class PatientHandler(logging.Handler):
    """Log handler that writes each record as a line on standard error, in its own thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record to the thread: one line, with a traceback below it.

        If no thread can be started now, the record is written together with a later one.
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
        """Write lines until None is in the queue."""
        output = Output(to_errors=True)
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):  # the reader is gone
                output.write(line)

    def _end(self) -> None:
        """Wait for the thread, at most _LAST_WORDS."""
        self._lines.put(None)
        assert self._thread is not None
        self._thread.join(_LAST_WORDS)


def to_standard_error() -> None:
    """Log warnings and errors of this process on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[PatientHandler()])
