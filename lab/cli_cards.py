# SPDX-License-Identifier: MIT
"""Commands that make card images and look at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .cli_answers import errors
from .cli_options import Email, Json, Name, Pin, Profile, Puk, Serial, Settings, request_of

app = typer.Typer()
card_app = typer.Typer(help="Make and look at card images.", no_args_is_help=True)
app.add_typer(card_app, name="card")


@card_app.command("new")
def card_new(
    path: Annotated[Path, typer.Argument(help="The image to write.", show_default=False)],
    profile: Profile = "piv",
    name: Name = "Alice",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = None,
    puk: Puk = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Make a card and write its image."""
    from ..card.profiles import create
    from . import places

    with errors(as_json):
        create(
            request_of(profile, name, email, serial, pin, puk, settings),
            path,
            places.test_ca(),
        )
    print(json.dumps({"image": str(path), "card": name}) if as_json else f"{path} is a {profile} card of {name}")


@card_app.command("show")
def card_show(
    path: Annotated[Path, typer.Argument(help="A card image.", show_default=False)], as_json: Json = False
) -> None:
    """Show what is on a card; no secrets."""
    from .cards import describe

    with errors(as_json):
        about = describe(path)
    if as_json:
        print(json.dumps(about))
    else:
        from . import views

        views.card(about)


@card_app.command("profiles")
def card_profiles(as_json: Json = False) -> None:
    """List the ready-made cards."""
    from ..card.profiles import PROFILES

    if as_json:
        print(json.dumps({name: {"about": each.about, **each.parameters} for name, each in PROFILES.items()}))
    else:
        from . import views

        views.profiles({name: each.about for name, each in PROFILES.items()})


@card_app.command("ca")
def card_ca(
    out: Annotated[Path | None, typer.Option(help="Write it to a file.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Print the certificate (PEM) of the test CA that vouches for ready-made cards."""
    from . import places

    with errors(as_json):
        pem = places.test_ca().certificate_pem().decode()
        if out is not None:
            out.write_text(pem)
    if as_json:
        print(json.dumps({"certificate": pem}))
    elif out is None:
        print(pem, end="")
