# SPDX-License-Identifier: MIT
"""Secrets that are typed or handed over, so that they stand in no list of processes and in no shell history."""

from __future__ import annotations

import contextlib
import getpass
import sys
from pathlib import Path

STANDARD_INPUT = Path("-")
_LONGEST = 4096


def first_line(path: Path, what: str) -> str:
    """Return the first line of a file; `-` is standard input, where a person at a terminal is asked for `what`.

    A descriptor is a file, too: /dev/fd/3. Raises OSError, ValueError when there is no such line.
    """
    if path == STANDARD_INPUT and sys.stdin.isatty():
        text = getpass.getpass(f"{what}: ")
    else:
        with contextlib.ExitStack() as undo:
            file = sys.stdin.buffer if path == STANDARD_INPUT else undo.enter_context(path.open("rb"))
            line = file.readline(_LONGEST + 1).rstrip(b"\r\n")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise ValueError(f"the first line of {path} is no {what}: it is not UTF-8") from None
    if not 1 <= len(text) <= _LONGEST:
        raise ValueError(f"the first line of {path} is no {what}: it has 1 to {_LONGEST} characters")
    return text
