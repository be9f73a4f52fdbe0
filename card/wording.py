# SPDX-License-Identifier: MIT
"""Wording that many messages share: a number with its noun, why something failed, suggestions for mistyped words."""

from __future__ import annotations

from collections.abc import Iterable


def meant(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'remove'?` for a word that is a few slips away from a known one, else an empty string.

    One slip in three characters is allowed. A prefix as `C_` or `CKR_` counts for nothing: half of the names begin so.
    """
    names = list(known)
    distances = [min(_slips(word, name), _slips(word, _bare(name))) for name in names]
    nearest = min(distances, default=len(word))
    if nearest > max(1, len(_bare(word)) // 3) or nearest >= len(word):
        return ""
    return f"; did you mean {names[distances.index(nearest)]!r}?"


def _bare(name: str) -> str:
    """Return a name without its prefix: `Sign` of `C_Sign`, `DEVICE_ERROR` of `CKR_DEVICE_ERROR`."""
    prefix, _, rest = name.partition("_")
    return rest if rest and len(prefix) <= _LONGEST_PREFIX and prefix.isupper() else name


_LONGEST_PREFIX = 4


def _slips(word: str, name: str) -> int:
    """Count the letters to insert, omit, change or exchange with their neighbour; case does not count."""
    word, name = word.casefold(), name.casefold()
    before: list[int] = []
    row = list(range(len(name) + 1))
    for i, letter in enumerate(word, 1):
        last, row, older = row, [i], before
        for j, other in enumerate(name, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other)))
            if i > 1 and j > 1 and letter == name[j - 2] and word[i - 2] == other:
                row[j] = min(row[j], older[j - 2] + 1)
        before = last
    return row[-1]


def reason(error: Exception) -> str:
    """Return why something failed; of an OSError, the file and the reason, without the number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 point` or `2 points`; `plural` is for nouns with an irregular plural, as `tries`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
