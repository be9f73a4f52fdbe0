# SPDX-License-Identifier: MIT
"""`cardtear quirks`: what the module can do wrong."""

from __future__ import annotations

import json
from typing import Any

from ..p11.quirks import PROFILES, ROWS
from ..p11.quirks.table import DEFAULTS
from ..p11.quirks.values import show as as_text


def describe() -> dict[str, Any]:
    """Profiles and quirks, as JSON has them."""
    return {
        "profiles": {name: each._asdict() for name, each in PROFILES.items()},
        "quirks": {
            name: {
                "values": row.kind.words,
                "default": as_text(DEFAULTS[name]),
                "about": row.about,
                "seen": row.seen,
                "link": row.link,
                "bugs": row.bugs,
            }
            for name, row in ROWS.items()
        },
    }


def show(as_json: bool) -> None:
    """Print them."""
    if as_json:
        print(json.dumps(describe()))
        return
    from . import views

    views.print_table(("profile", "what it is like"), [(name, each.about) for name, each in PROFILES.items()])
    print()
    rows = [(name, row.kind.words, row.about) for name, row in ROWS.items()]
    views.print_table(("quirk", "values", "what it does"), rows)
