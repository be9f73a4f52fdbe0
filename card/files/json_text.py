# SPDX-License-Identifier: MIT
"""JSON from outside, with finite numbers only: Python's reader accepts NaN, Infinity and 1e999, too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

_SHOWN = 40
"""Characters of a number that a message repeats."""


class _NoNumber(str):
    """A placeholder for a number that is not finite."""


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, which names the field and the number that is not finite."""
    try:
        value = json.loads(text, parse_constant=_NoNumber, parse_float=_float, parse_int=_int)
        found = _find(value, "")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if found is not None:
        name, number = found
        where = f"{name!r} is" if name else "there is"
        raise ValueError(f"{where} {number}; give a number that is finite")
    return value


def _float(digits: str) -> float | _NoNumber:
    """Return a finite float, else a placeholder."""
    value = float(digits)
    return value if math.isfinite(value) else _shortened(digits)


def _int(digits: str) -> int | _NoNumber:
    """Return an integer, else a placeholder for one with too many digits."""
    try:
        return int(digits)
    except ValueError:  # longer than Python reads (sys.set_int_max_str_digits)
        return _shortened(digits)


def _shortened(digits: str) -> _NoNumber:
    """Return a placeholder that shows the beginning of a long number."""
    return _NoNumber(digits if len(digits) <= _SHOWN else f"{digits[:_SHOWN]}... ({len(digits)} characters)")


def _find(value: Any, name: str) -> tuple[str, str] | None:
    """Return the first number that is none, and the field that it is in."""
    if isinstance(value, _NoNumber):
        return name, str(value)
    inside: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = ((name, each) for each in value)
    else:
        return None
    return next((found for key, each in inside if (found := _find(each, key)) is not None), None)
