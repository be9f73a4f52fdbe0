# SPDX-License-Identifier: MIT
"""Quirks: how real middleware departs from the standard, for tests of the applications that use it.

table.py describes them; profiles.py combines them; the other files carry them out, around the handlers and at the
points of application.Middleware. A module without quirks uses none of this.
"""

from __future__ import annotations

from typing import Any

from .bugs import BUGS, Bug
from .profiles import PROFILES, QuirkProfile
from .table import DEFAULTS, ROWS, QuirkRow, Quirks
from .values import show

__all__ = ["BUGS", "PROFILES", "ROWS", "Bug", "QuirkProfile", "QuirkRow", "Quirks", "describe"]


def describe() -> dict[str, Any]:
    """Return profiles, quirks and bugs as JSON values."""
    return {
        "profiles": {name: each._asdict() for name, each in PROFILES.items()},
        "bugs": {name: each._asdict() for name, each in BUGS.items()},
        "quirks": {
            name: {**row._asdict(), "kind": row.kind.words, "default": show(DEFAULTS[name])}
            for name, row in ROWS.items()
        },
    }
