# SPDX-License-Identifier: MIT
"""The command `pcsc`, which writes the configuration of pcscd."""

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
        bool,
        typer.Option(
            "--reversed", help="For serve --pcsc-reversed: vpcd connects to cardtear, on the loopback interface only."
        ),
    ] = False,
    readers: Annotated[int, typer.Option(help="Number of readers in pcscd.", min=1, max=16)] = 2,
    port: Annotated[int, typer.Option(help="TCP port of the first reader.", min=1, max=65520)] = 35963,
    name: Annotated[
        str, typer.Option(help="Name of the readers in pcscd; Yubico's programs look for `Yubico YubiKey CCID`.")
    ] = "Virtual PCD",
    write: Annotated[
        Path | None,
        typer.Option(
            help="Write it to this file, and make the copies of the driver that it needs.", show_default="print it"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a reader.conf that makes pcscd show cardtear's readers; on Debian its place is /etc/reader.conf.d/vpcd.

    The file of Debian's package has two readers. More readers need copies of the driver: one for each further two.
    """
    from ...card.files import output_file
    from ...reader.pcsc import reader_conf

    driver = reader_conf.find_driver()
    if driver is None:
        fail(as_json, "no-vpcd", "the driver vpcd is not installed; on Debian: apt-get install vsmartcard-vpcd", 1)
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
            say(f"cardtear: this configuration needs a copy of the driver: cp {driver} {copy}", to_errors=True)
    else:
        for copy in copies:
            say(f"{copy} is a copy of the driver {driver}", to_errors=is_printed)
        say(f"{write} is written; restart pcscd to use it", to_errors=is_printed)
