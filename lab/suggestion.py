# SPDX-License-Identifier: MIT
"""A question for who may have written a word wrongly, to stand in a message that refuses it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'remove'?` for a word that is much like a known one, else nothing."""
    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
