# SPDX-License-Identifier: MIT
"""Quirks: how real middleware departs from the standard, to be played to applications that have to live with it.

table.py is what there is to know of them; profiles.py puts them together; the other files carry them out, around and on
top of what the conformant module does, which knows nothing of them.
"""

from __future__ import annotations

from typing import Any

from .bugs import BUGS, Bug
from .profiles import PROFILES, Profile
from .table import DEFAULTS, ROWS, Quirks, Row
from .values import show

__all__ = ["BUGS", "PROFILES", "ROWS", "Bug", "Profile", "Quirks", "Row", "describe"]


def describe() -> dict[str, Any]:
    """Profiles, quirks and bugs, as JSON has them."""
    return {
        "profiles": {name: each._asdict() for name, each in PROFILES.items()},
        "bugs": {name: each._asdict() for name, each in BUGS.items()},
        "quirks": {
            name: {**row._asdict(), "kind": row.kind.words, "default": show(DEFAULTS[name])}
            for name, row in ROWS.items()
        },
    }
