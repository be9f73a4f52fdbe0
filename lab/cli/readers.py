# SPDX-License-Identifier: MIT
"""Commands for the cards and readers of a running simulator."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ...card.image.passphrase import handed_over
from ...card.wording import counted
from ..processes.terminal import say
from .answers import do, errors, the_reader
from .options import AnyCard, AnyReader, Json, PinFile, ReaderName, grouped
from .parsing import App
from .secret_input import first_line
from .verb_commands import add_commands, help_of

app = App()

_LONGEST_LINE = 1 << 20
"""Characters of a line with an APDU, which has 65544 bytes at most."""

Atr = Annotated[
    str | None,
    typer.Option(help="Another ATR in the place of the card's own, in hexadecimal.", show_default=False),
]


@app.command("insert", help=help_of("insert"))
@grouped
def insert(*, reader: AnyReader = None, card: AnyCard, atr: Atr = None, as_json: Json = False) -> None:
    more: dict[str, Any] = {} if atr is None else {"atr": atr}
    reader = the_reader(as_json, reader)
    with errors(as_json), handed_over(card.passphrase_file) as file:
        if not card.is_usual:  # else the simulator chooses, which knows what was in the reader
            more["card"] = card.named(file)
        do(as_json, "insert", lambda result: say(f"{result['card']} is in {reader}"), reader=reader, **more)


@app.command("swap", help=help_of("swap"))
@grouped
def swap(*, reader: AnyReader = None, card: AnyCard, atr: Atr = None, as_json: Json = False) -> None:
    more: dict[str, Any] = {} if atr is None else {"atr": atr}
    reader = the_reader(as_json, reader)
    with errors(as_json), handed_over(card.passphrase_file) as file:
        more["card"] = card.named(file, "Bob")
        do(as_json, "swap", lambda result: say(f"{result['card']} is in {reader} now"), reader=reader, **more)


@app.command("attach-pcsc", help=help_of("attach-pcsc"))
def attach_pcsc(
    reader: ReaderName,
    name: Annotated[str, typer.Argument(help="Part of the name of the PC/SC reader; `any`: the first one.")] = "any",
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Open it exclusively: other PC/SC programs cannot use it.")
    ] = False,
    as_json: Json = False,
) -> None:
    arguments = {"reader": reader, "name": "" if name == "any" else name, "exclusive": exclusive}

    def show(result: dict[str, Any]) -> None:
        card = result["card"]
        say(f"{reader} waits for a card in PC/SC's reader {name!r}" if card is None else f"{card} is in {reader}")

    do(as_json, "attach-pcsc", show, **arguments)


@app.command("apdu", help=help_of("apdu"))
def apdu(
    reader: ReaderName,
    command: Annotated[
        str,
        typer.Argument(
            help="The APDU in hexadecimal, as 00A40400; - for a line of standard input.", show_default=False
        ),
    ],
    as_json: Json = False,
) -> None:
    text = sys.stdin.readline(_LONGEST_LINE) if command == "-" else command
    do(as_json, "apdu", lambda result: print(result["response"]), reader=reader, command=text.strip())


@app.command("block-pin", help=help_of("block-pin"))
def block_pin(
    reader: AnyReader = None,
    left: Annotated[int, typer.Option(help="Number of tries to leave; 1 leaves the final try.")] = 0,
    puk: Annotated[bool, typer.Option("--puk", help="The tries of the PUK (SO PIN), not of the PIN.")] = False,
    as_json: Json = False,
) -> None:
    reader = the_reader(as_json, reader)
    done = f"the {'PUK' if puk else 'PIN'} of the card in {reader} has {counted(left, 'try', 'tries')} left"
    do(as_json, "block-pin", lambda _: say(done), reader=reader, left=left, puk=puk)


@app.command("pin-pad", help=help_of("pin-pad"))
def pin_pad(
    reader: ReaderName,
    pin: Annotated[
        str | None,
        typer.Argument(
            help="The PIN; without it, the cancel key. Other users can read it in the list of processes.",
            show_default=False,
        ),
    ] = None,
    pin_file: PinFile = None,
    as_json: Json = False,
) -> None:
    with errors(as_json):
        if pin_file is not None:
            if pin is not None:
                raise ValueError("PIN and --pin-file both give a PIN; give one of them")
            pin = first_line(pin_file, "PIN")
    arguments = {"reader": reader} if pin is None else {"reader": reader, "pin": pin}
    done = f"the red key of {reader} is pressed" if pin is None else f"a PIN is typed at {reader}"

    def show(result: dict[str, bool]) -> None:
        say(done if result["changed"] else f"{done}; the card in it has no PIN asked for there")

    do(as_json, "pin-pad", show, **arguments)


add_commands(app, "readers")
