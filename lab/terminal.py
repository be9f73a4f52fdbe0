# SPDX-License-Identifier: MIT
"""The way by which text gets to a terminal: whatever came from outside is shown as text, and never carried out.

A program's name, a card's, a file's, a label, an exception may have control characters in them: escape sequences that
colour, move, retitle or type into a terminal, or marks that turn its direction. Here they become visible. JSON is not
made here: it has its own escapes, and stays faithful.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.console import Console

_NAMES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}

_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1 (ECMA-48)
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # directions, joiners, separators
    "\U000e0000-\U000e007f"  # tags
    "\ud800-\udfff]"  # no characters: bytes that are no UTF-8, as Python has them
)


def shown(text: str) -> str:
    """Return text in one line in which nothing is left that a terminal would carry out: `\\x1b` for an escape."""
    return _INVISIBLE.sub(_visible, text)


def lines(text: str) -> str:
    """Return text of several lines, each as `shown` has it."""
    return "\n".join(map(shown, text.replace("\r\n", "\n").split("\n")))


def _visible(found: re.Match[str]) -> str:
    character = found[0]
    number = ord(character)
    if character in _NAMES:
        return _NAMES[character]
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def say(text: str, to_errors: bool = False) -> None:
    """Print a line, or what has several, as it is: what is from outside has been through `shown`. Raises OSError."""
    stream = sys.stderr if to_errors else sys.stdout
    stream.flush()  # what has been printed comes first
    Output(to_errors).write(f"{text}\n")


def console(to_errors: bool = False, is_aside: bool = False, width: int | None = None) -> Console:
    """Return a rich console that prints to standard output or error; `width` is for what is no terminal."""
    from rich.console import Console

    output = Output(to_errors, is_aside)
    plain = None if output.isatty() else width
    return Console(file=cast(IO[str], output), width=plain, highlight=False, markup=False, emoji=False)


class Output(io.TextIOBase):
    """Standard output or error, unbuffered and on a descriptor of its own: its failure is not that of others there.

    With `is_aside` what cannot be written is left out, for what is said beside the work.
    """

    def __init__(self, to_errors: bool = False, is_aside: bool = False) -> None:
        self._is_aside = is_aside
        self.name = "standard error" if to_errors else "standard output"
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
