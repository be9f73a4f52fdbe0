# SPDX-License-Identifier: MIT
"""Printing to terminals: control characters in text from outside are made visible, so no terminal carries them out.

Names of programs, cards and files, labels and exceptions may have control characters: escape sequences that colour,
move, retitle or type into a terminal, or marks that change its direction. JSON needs none of this: it has its escapes.
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
"""File name of an OSError when standard output cannot be written."""


def say(text: str, to_errors: bool = False, several: bool = False) -> None:
    """Print a line with control characters made visible; with `several`, lines. Raises OSError."""
    stream = sys.stderr if to_errors else sys.stdout
    stream.flush()  # what has been printed comes first
    Output(to_errors).write(f"{lines(text) if several else shown(text)}\n")


def say_exactly(text: str) -> None:
    """Print text for another program unchanged; to a terminal, with control characters visible. Raises OSError."""
    sys.stdout.flush()
    output = Output()
    output.write(lines(text) if output.isatty() else text)


def styled(text: str, style: str = "") -> Text:
    """Return text from outside for a rich console, with control characters visible."""
    from rich.text import Text

    return Text(shown(text), style)


def console(to_errors: bool = False, is_aside: bool = False, width: int | None = None) -> Console:
    """Return a rich console that prints to standard output or error; `width` is used where that is no terminal.

    Control characters in text that reaches it are made visible.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Visible(Console):
        def on_broken_pipe(self) -> None:
            """Raise BrokenPipeError: rich would end the program, or in another thread only that thread."""
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

        def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
            """Yield rich's segments with control characters visible."""
            for each in super().render(*arguments, **options):
                yield each if each.control else Segment(lines(each.text), each.style)

    output = Output(to_errors, is_aside)
    plain = None if output.isatty() else width
    return Visible(file=cast(IO[str], output), width=plain, highlight=False, markup=False, emoji=False)


class _Shown(io.TextIOWrapper):
    """A standard stream that makes control characters visible, also of click, warnings and tracebacks."""

    def write(self, text: str) -> int:
        """Write text with control characters visible."""
        super().write(lines(text))
        return len(text)

    def isatty(self) -> bool:
        """Return False: styles would be control characters, too."""
        return False


def open_closed() -> None:
    """Open those standard streams that are closed on /dev/null, so that no other file gets their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115 - it stays
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # one that nobody refers to any more is closed


def protect() -> None:
    """Make control characters visible in all that is printed from now on; `console` prints with styles."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            shown_stream = _Shown(stream.buffer, "utf-8", "backslashreplace", line_buffering=True)
            setattr(sys, name, shown_stream)


class Output(io.TextIOBase):
    """Standard output or error, unbuffered, on a duplicate of its descriptor, so that closing it affects no other.

    With `is_aside`, text that cannot be written is dropped.
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
        """Write the whole text. Raises OSError."""
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
