# SPDX-License-Identifier: MIT
"""A program that is asked line by line: the first word is what to do, the others are its arguments."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

Commands = Mapping[str, Callable[..., str]]

_LOCK = threading.Lock()


def say(line: str) -> None:
    """Print a line, whole, from any thread."""
    with _LOCK:
        sys.stdout.write(f"{' '.join(line.split())}\n")  # at once: who reads it takes what ends for a line
        sys.stdout.flush()


def serve(commands: Commands) -> None:
    """Answer until the input ends. What goes wrong is an answer, too."""
    for line in sys.stdin:
        say(_answer(commands, line.split()))


def _answer(commands: Commands, words: list[str]) -> str:
    if not words or words[0] not in commands:
        return f"error: say one of {', '.join(commands)}"
    try:
        return commands[words[0]](*words[1:])
    except Exception as error:
        return f"error: {type(error).__name__}: {error}"
