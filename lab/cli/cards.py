# SPDX-License-Identifier: MIT
"""The commands `card ...`, which make card images, show and change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..processes.terminal import say, say_exactly
from .answers import errors, writable
from .options import Json, NewCard, PassphraseFile, a_file, grouped, read_input, require_encrypted
from .parsing import App, Group

app = App()
card_app = App(cls=Group, help="Make, show, copy, export and change card images.", no_args_is_help=True)
app.add_typer(card_app, name="card")

ImagePath = Annotated[Path, typer.Argument(metavar="IMAGE", help="A card image.", show_default=False, callback=a_file)]
NewImage = Annotated[Path, typer.Argument(help="The image to write.", show_default=False, callback=a_file)]


@card_app.command("new")
@grouped
def card_new(
    *,
    path: NewImage,
    card: NewCard,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make a card and write its image, encrypted if a passphrase is given."""
    from ...card.image import passphrase
    from ...card.issuing.profiles import create
    from ..processes import paths

    with errors(as_json):
        wanted = card.request()
        create(wanted, path, paths.test_ca(), passphrase.read(passphrase_file))
    about = f"{path} is a {wanted.profile} card of {wanted.name}"
    say(json.dumps({"image": str(path), "card": wanted.name}) if as_json else about)


@card_app.command("show")
def card_show(path: ImagePath, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Show what is on a card, without PINs and keys."""
    from ...card.image import passphrase
    from ..cards.description import describe

    with errors(as_json):
        require_encrypted(path, passphrase_file)
        about = describe(path, passphrase.read(passphrase_file))
    if as_json:
        say(json.dumps(about))
    else:
        from . import tables

        tables.card(about)


@card_app.command("profiles")
def card_profiles(as_json: Json = False) -> None:
    """List the ready-made cards."""
    from ...card.issuing.profiles import PROFILES

    if as_json:
        say(json.dumps({name: {"about": each.about, **each.parameters} for name, each in PROFILES.items()}))
    else:
        from . import tables

        tables.profiles({name: each.about for name, each in PROFILES.items()})


@card_app.command("ca")
def card_ca(
    out: Annotated[Path | None, typer.Option(help="Write it to this file.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Print the certificate (PEM) of the test CA that has issued the certificates of ready-made cards."""
    from ...card.files import output_file
    from ..processes import paths

    with errors(as_json):
        writable((out,), as_json, inputs=paths.test_ca_files())
        pem = paths.test_ca().certificate_pem().decode()
        if out is not None:
            output_file.write(out, pem)
    if as_json:
        say(json.dumps({"certificate": pem}))
    elif out is None:
        say_exactly(pem)


@card_app.command("copy")
def card_copy(
    path: ImagePath,
    copy: NewImage,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(help="Encrypt the copy under the passphrase in this file; - for standard input."),
    ] = None,
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Write the copy unencrypted.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Copy a card image. With the same passphrase, the image may be in use and its passphrase is not needed."""
    from ...card.image import passphrase
    from ...card.image.store import copy_image, create_image, read_image

    with errors(as_json):
        if no_passphrase and new_passphrase_file is not None:
            raise ValueError("--no-passphrase and --new-passphrase-file do not go together; give one")
        require_encrypted(path, passphrase_file)
        if no_passphrase or new_passphrase_file is not None:
            state = read_image(path, passphrase.read(passphrase_file))
            create_image(copy, state, passphrase.read(new_passphrase_file))
        else:
            copy_image(path, copy)
    say(json.dumps({"image": str(copy)}) if as_json else f"{copy} is a copy of {path}")


@card_app.command("export")
def card_export(
    path: ImagePath,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A new file, which only you can read.", show_default="standard output"),
    ] = None,
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys", help="Include private keys, PIN and PUK, so that `card import` can make the card again."
        ),
    ] = False,
    pem: Annotated[bool, typer.Option("--pem", help="Write certificates (and private keys) as PEM, not JSON.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Write what is on a card as text, to read, compare, keep under version control or give to another program."""
    from ...card.files import output_file
    from ...card.image import passphrase
    from ...card.image.store import read_image
    from ..cards import export

    with errors(as_json):
        if with_keys and out is None:
            raise ValueError("--with-keys writes a file that only you can read: name it with -o FILE")
        is_printed = writable((out,), as_json, inputs=(path, passphrase_file))
        require_encrypted(path, passphrase_file)
        state = read_image(path, passphrase.read(passphrase_file))
        text = export.as_pem(state, with_keys) if pem else export.as_json(state, with_keys)
        if out is not None:
            output_file.write_new(out, text)
    if out is None:
        say_exactly(text)
    elif as_json:
        say(json.dumps({"file": str(out), "keys": with_keys}))
    else:
        left_out = "" if with_keys else "; no private keys, no PIN (see --with-keys)"
        where = "standard output" if is_printed else out
        say(f"{where} has what is on {path}{left_out}", to_errors=is_printed)


@card_app.command("import")
def card_import(
    path: ImagePath,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An export of a card, or keys and certificates (PEM, DER, PKCS #12, PKCS #7, OpenSSH); - for standard "
            "input.",
            show_default=False,
        ),
    ],
    slot: Annotated[
        str | None,
        typer.Option(
            help="PIV key slot for the key and its certificate, as 9A; certificates of CAs go beside the slots.",
            show_default="none: an export, or certificates",
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help="A file whose first line is the password of FILE; - for standard input.", show_default=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make a card from an export (--with-keys), or write keys and certificates to an existing card."""
    from ...card.files import input_file
    from ...card.image import passphrase
    from ...card.image.store import create_image
    from ...card.issuing import key_files
    from ..cards import export, personalisation

    with errors(as_json):
        key, password = passphrase.read(passphrase_file), passphrase.read(password_file, "password")
        content = read_input(source, export.LONGEST)
        if slot is None and (content.lstrip().startswith(b"{") or not path.exists()):
            if password is not None:
                raise ValueError(
                    "an export of a card has no password; leave out --password-file, which is for keys and certificates"
                )
            create_image(path, export.from_json(content, str(source)), key)
            done = [f"{path} is the card of {source}"]
        else:
            require_encrypted(path, passphrase_file)
            input_file.require_short(len(content), input_file.KEYS_AND_CERTIFICATES, source)
            contents = key_files.read(content, password, str(source))
            if password is not None and not contents.had_password:
                raise ValueError(f"{source} has no password: --password-file would do nothing; leave it out")
            if slot is None:
                done = personalisation.put_certificates(path, key, contents, str(source))
            else:
                done = personalisation.put_in_slot(path, key, slot, contents, str(source))
    _say(path, done, as_json)


@card_app.command("put")
def card_put(
    path: ImagePath,
    tag: Annotated[str, typer.Argument(help="Tag of the data object, as 5FC102.", show_default=False)],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The content, with or without the tag 53 around it; an empty file deletes the object; - for standard "
            "input.",
            show_default=False,
        ),
    ],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Write a data object of an existing card, byte for byte."""
    from ...card.image import passphrase
    from ..cards import personalisation

    with errors(as_json):
        require_encrypted(path, passphrase_file)
        key = passphrase.read(passphrase_file)
        done = personalisation.put_object(path, key, tag, read_input(source, personalisation.LONGEST), str(source))
    _say(path, done, as_json)


def _say(path: Path, done: list[str], as_json: bool) -> None:
    """Print what has been done to a card, a line for each part."""
    for line in [json.dumps({"image": str(path), "done": done})] if as_json else done:
        say(line)
