# SPDX-License-Identifier: MIT
"""Programs that a scenario runs: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from .clients import end_group

ROOM = 1 << 20
"""Bytes that are kept of what a program prints to one stream."""


DRAINING = 2.0
"""Seconds that output may take to arrive after the program's end."""


class Stream:
    """What a program prints, as far as there is room, while it prints it."""

    def __init__(self, pipe: IO[bytes], changed: Callable[[], None]) -> None:
        self._content = bytearray()
        self._pipe = pipe
        self._changed = changed
        self.lost = 0
        self.is_over = False
        threading.Thread(target=self._read, name="output", daemon=True).start()

    @property
    def text(self) -> str:
        """Return the output so far."""
        return self._content.decode("utf-8", "replace")

    @property
    def length(self) -> int:
        """Return the bytes of output so far."""
        return len(self._content)

    def line_after(self, length: int) -> str | None:
        """Return the first whole line that came after so many bytes."""
        line, end, _ = self._content[length:].partition(b"\n")
        return line.decode("utf-8", "replace") if end else None

    def tail(self, lines: int = 5) -> str:
        """Return the last lines of output, for a report."""
        return "\n".join(self.text.rstrip().splitlines()[-lines:])

    def _read(self) -> None:
        with self._pipe, contextlib.suppress(OSError, ValueError):
            while data := os.read(self._pipe.fileno(), 1 << 16):
                room = max(ROOM - len(self._content), 0)
                self._content += data[:room]
                self.lost += len(data) - min(len(data), room)
                self._changed()
        self.is_over = True
        self._changed()


class Program:
    """A program that was started, in a session of its own, without a terminal. Raises OSError when it cannot be.

    Its input is what is `given` and then at its end, so that one that asks for a PIN there hears that there is none
    and does not wait for ever; with `takes_input` it stays open for `send`.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        environment: Mapping[str, str],
        given: str | None,
        takes_input: bool,
        changed: Callable[[], None],
    ) -> None:
        self._changed = changed
        self.exit_code: int | None = None
        self._process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE if takes_input or given is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        output, errors = self._process.stdout, self._process.stderr
        assert output is not None
        assert errors is not None
        self.output = Stream(output, changed)
        self.errors = Stream(errors, changed)
        if given is not None:
            threading.Thread(target=self._feed, args=(given, not takes_input), name="input", daemon=True).start()
        threading.Thread(target=self._wait, name="program", daemon=True).start()

    def send(self, text: str) -> bool:
        """Write to it; False when it does not read, or is gone."""
        pipe = self._process.stdin
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        with contextlib.suppress(OSError):
            return os.write(pipe.fileno(), text.encode()) == len(text.encode())
        return False

    def end_in_words(self) -> str:
        """Return the exit code of an ended program, as scenarios write it."""
        assert self.exit_code is not None
        return exit_in_words(self.exit_code)

    def printed_in_words(self) -> str:
        """Return the beginning of a message about what it has printed; `tail` is to follow."""
        lost = self.output.lost + self.errors.lost
        return f"it has printed something else ({lost} bytes were too many to keep)" if lost else "it has printed:"

    def tail(self) -> str:
        """Return the last lines of its output and of its errors."""
        return "\n".join(filter(None, (self.output.tail(), self.errors.tail())))

    @property
    def is_drained(self) -> bool:
        """Return whether all output has been read."""
        return self.output.is_over and self.errors.is_over

    def kill(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def _feed(self, text: str, closes: bool) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.write(text.encode())
            pipe.flush()
            if closes:
                pipe.close()

    def _wait(self) -> None:
        self.exit_code = self._process.wait()
        self._changed()

    def close(self) -> None:
        """Kill it with its group."""
        end_group(self._process)
        if (pipe := self._process.stdin) is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def exit_in_words(code: int) -> str:
    """Write an exit code as scenarios do."""
    return signal.Signals(-code).name if -code in set(signal.Signals) else str(code)
