# SPDX-License-Identifier: MIT
"""Words that many messages need: a number with its noun, why something failed, and what a wrong word may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'remove'?` for a word that is much like a known one, else nothing."""
    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def reason(error: Exception) -> str:
    """Return why something failed; of what the system says, the file and the reason, without a number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 point` or `2 points`; `plural` is for nouns that have another one: `tries`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
