# SPDX-License-Identifier: MIT
"""The way by which text gets to a terminal: whatever came from outside is shown as text, and never carried out.

A program's name, a card's, a file's, a label, an exception may have control characters in them: escape sequences that
colour, move, retitle or type into a terminal, or marks that turn its direction. Here they become visible. JSON is not
made here: it has its own escapes, and stays faithful.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, cast

from ...card.shown import lines, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STANDARD_OUTPUT = "standard output"
"""What an OSError has for a file name when that cannot be written."""


def say(text: str, to_errors: bool = False, several: bool = False) -> None:
    """Print a line, as `shown` has it, or with `several` lines as they are. Raises OSError."""
    stream = sys.stderr if to_errors else sys.stdout
    stream.flush()  # what has been printed comes first
    Output(to_errors).write(f"{lines(text) if several else shown(text)}\n")


def say_exactly(text: str) -> None:
    """Print text for another program, as it is; to a terminal, as `lines` has it. Raises OSError."""
    sys.stdout.flush()
    output = Output()
    output.write(lines(text) if output.isatty() else text)


def styled(text: str, style: str = "") -> Text:
    """Return text from outside for a rich console."""
    from rich.text import Text

    return Text(shown(text), style)


def console(to_errors: bool = False, is_aside: bool = False, width: int | None = None) -> Console:
    """Return a rich console that prints to standard output or error; `width` is for what is no terminal.

    Text that reaches it with control characters is shown, too; who makes it has `styled`.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Visible(Console):
        def on_broken_pipe(self) -> None:
            """Raise what it is, for rich would end the program, and in a watcher's thread only that."""
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
            for each in super().render(*arguments, **options):
                yield each if each.control else Segment(lines(each.text), each.style)

    output = Output(to_errors, is_aside)
    plain = None if output.isatty() else width
    return Visible(file=cast(IO[str], output), width=plain, highlight=False, markup=False, emoji=False)


class _Shown(io.TextIOWrapper):
    """A standard stream in which control characters are shown, whoever prints: click, a warning, a traceback."""

    def write(self, text: str) -> int:
        super().write(lines(text))
        return len(text)

    def isatty(self) -> bool:
        """Return False: styles would be control characters, too."""
        return False


def open_closed() -> None:
    """Open what of the standard streams was closed, so that nothing else gets their numbers; it leads nowhere."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115 - it stays
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # one that nobody refers to any more is closed


def protect() -> None:
    """Let everything that is printed from now on be shown as text; `console` is for what has styles."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            shown_stream = _Shown(stream.buffer, "utf-8", "backslashreplace", line_buffering=True)
            setattr(sys, name, shown_stream)


class Output(io.TextIOBase):
    """Standard output or error, unbuffered and on a descriptor of its own: its failure is not that of others there.

    With `is_aside` what cannot be written is left out, for what is said beside the work.
    """

    def __init__(self, to_errors: bool = False, is_aside: bool = False) -> None:
        self._is_aside = is_aside
        self.name = "standard error" if to_errors else STANDARD_OUTPUT
        stream = sys.stderr if to_errors else sys.stdout
        try:
            self._number = os.dup(stream.fileno())
        except (OSError, AttributeError):  # closed, or one of a test's
            self._number = -1
            self._stream = stream

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def write(self, text: str) -> int:
        """Write all of it. Raises OSError."""
        if self._number < 0:
            return self._stream.write(text)
        view = memoryview(text.encode(errors="backslashreplace"))
        try:
            while view:
                view = view[os.write(self._number, view) :]
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # that is no fault: nobody reads on
                error.filename = self.name
            if not self._is_aside:
                raise
        return len(text)

    def isatty(self) -> bool:
        return os.isatty(self._number) if self._number >= 0 else self._stream.isatty()

    def fileno(self) -> int:
        return self._number if self._number >= 0 else self._stream.fileno()

    def flush(self) -> None:
        if self._number < 0:
            self._stream.flush()
