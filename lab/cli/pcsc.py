# SPDX-License-Identifier: MIT
"""The command about pcscd's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..processes.terminal import say, say_exactly
from .answers import errors, fail, writable
from .options import Json
from .parsing import App

app = App()


@app.command()
def pcsc(
    is_reversed: Annotated[
        bool, typer.Option("--reversed", help="For serve --pcsc-reversed: vpcd connects to us, on loopback only.")
    ] = False,
    readers: Annotated[int, typer.Option(help="How many readers pcscd shall show.", min=1, max=16)] = 2,
    port: Annotated[int, typer.Option(help="The port of the first slot.", min=1, max=65520)] = 35963,
    name: Annotated[
        str, typer.Option(help="What pcscd calls them; Yubico's programs want `Yubico YubiKey CCID` or the like.")
    ] = "Virtual PCD",
    write: Annotated[
        Path | None,
        typer.Option(help="Write it there, and make the copies of the driver.", show_default="print it"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the reader.conf by which pcscd shows cardtear's readers; Debian has it in /etc/reader.conf.d/vpcd.

    Debian's own file is right for two readers. More need copies of the driver, two readers for each.
    """
    from ...card.files import output_file
    from ...reader.pcsc import reader_conf

    driver = reader_conf.find_driver()
    if driver is None:
        fail(as_json, "no-vpcd", "vpcd is not installed (Debian: vsmartcard-vpcd)", 1)
    with errors(as_json):
        copies = reader_conf.copies(driver, readers)
        is_printed = writable((write,), as_json, inputs=map(Path, (driver, *copies)))
        text = reader_conf.configuration(driver, port, readers, is_reversed, name)
    if write is not None:
        try:
            for copy in copies:
                output_file.write(Path(copy), Path(driver).read_bytes())
            output_file.write(write, text)
        except OSError as error:
            fail(as_json, "cannot-write", f"cannot write {error.filename}: {error.strerror}", 1)
    if as_json:
        say(json.dumps({"driver": driver, "copies": copies, "configuration": text}))
    elif write is None:
        say_exactly(text)
        for copy in copies:
            say(f"cardtear: it needs a copy: cp {driver} {copy}", to_errors=True)
    else:
        say(f"{write} is written; restart pcscd", to_errors=is_printed)
