# SPDX-License-Identifier: MIT
"""The commands `module` and `doctor`, about what is installed."""

from __future__ import annotations

import json

import typer

from ..processes.terminal import say, say_exactly
from .options import Json
from .parsing import App

app = App()


@app.command()
def module(as_json: Json = False) -> None:
    """Print the path of the PKCS #11 module, for an application to load."""
    from ...csrc import module_path

    path = str(module_path())
    say_exactly(f"{json.dumps({'module': path}) if as_json else path}\n")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check what works on this machine, and say what to install for the rest. Exit 1: cardtear itself cannot work."""
    from .doctor import examine

    found = examine()
    if as_json:
        say(json.dumps([each._asdict() for each in found]))
    else:
        from . import tables

        tables.findings(found)
    if any(each.needed and not each.works for each in found):
        raise typer.Exit(1)
