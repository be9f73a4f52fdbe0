# SPDX-License-Identifier: MIT
"""PINs and PUKs that are typed or handed over, which are in no list of processes and no shell history."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from ...card.image import passphrase


def first_line(path: Path, what: str) -> str:
    """Return the first line of a file; `-` is standard input, where a person at a terminal types `what`.

    A descriptor is a file, too: /dev/fd/3. Raises OSError, ValueError when there is no such line.
    """
    if path == passphrase.STANDARD_INPUT and sys.stdin.isatty():
        text = getpass.getpass(f"{what}: ")
        if not text:
            raise ValueError(f"no {what} was typed")
        return text
    line = passphrase.read(path, what)
    assert line is not None
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the first line of {path} is no {what}: it is not UTF-8") from None
