# SPDX-License-Identifier: MIT
"""`cardtear quirks`: what the module can do wrong."""

from __future__ import annotations

import json

from ..processes.terminal import say
from .options import Json
from .parsing import App

app = App()


@app.command()
def quirks(as_json: Json = False) -> None:
    """List what the module can do wrong (serve and run --quirks), and profiles of real middleware."""
    from ...p11.quirks import PROFILES, ROWS, describe

    if as_json:
        say(json.dumps(describe()))
        return
    from . import tables

    tables.print_table(("profile", "what it is like"), [(name, each.about) for name, each in PROFILES.items()])
    say("")
    rows = [(name, row.kind.words, row.about) for name, row in ROWS.items()]
    tables.print_table(("quirk", "values", "what it does"), rows)
