# SPDX-License-Identifier: MIT
"""The command `quirks`, which lists the faults of middleware that the module can imitate."""

from __future__ import annotations

import json

from ..processes.terminal import say
from .options import Json
from .parsing import App

app = App()


@app.command()
def quirks(as_json: Json = False) -> None:
    """List the faults of middleware that the module can imitate (serve and run --quirks), and profiles of real ones."""
    from ...p11.quirks import PROFILES, ROWS, describe

    if as_json:
        say(json.dumps(describe()))
        return
    from . import tables

    tables.print_table(("profile", "imitates"), [(name, each.about) for name, each in PROFILES.items()])
    say("")
    rows = [(name, row.kind.words, row.about) for name, row in ROWS.items()]
    tables.print_table(("quirk", "values", "what it does"), rows)
