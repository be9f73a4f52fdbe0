# SPDX-License-Identifier: MIT
"""Commands for the cards and readers of a running simulator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ...card.image.passphrase import handed_over
from ...card.wording import counted
from ..processes.terminal import say
from .answers import do, errors, the_reader
from .options import AnyCard, AnyReader, Json, PinFile, ReaderName, grouped
from .parsing import App
from .secret_input import first_line

app = App()

_LONGEST_LINE = 1 << 20
"""Characters of a line with an APDU, which has 65544 bytes at most."""

Atr = Annotated[
    str | None,
    typer.Option(help="Another ATR in the place of the card's own, in hexadecimal.", show_default=False),
]


@app.command()
@grouped
def insert(*, reader: AnyReader = None, card: AnyCard, atr: Atr = None, as_json: Json = False) -> None:
    """Insert a card. Default: the card that was last in this reader, else Alice's ready-made card."""
    more: dict[str, Any] = {} if atr is None else {"atr": atr}
    reader = the_reader(as_json, reader)
    with errors(as_json), handed_over(card.passphrase_file) as file:
        if not card.is_usual:  # else the simulator chooses, which knows what was in the reader
            more["card"] = card.named(file)
        do(as_json, "insert", lambda result: say(f"{result['card']} is in {reader}"), reader=reader, **more)


@app.command()
@grouped
def swap(*, reader: AnyReader = None, card: AnyCard, atr: Atr = None, as_json: Json = False) -> None:
    """Remove the card and insert another in one step. Default: Bob's ready-made card."""
    more: dict[str, Any] = {} if atr is None else {"atr": atr}
    reader = the_reader(as_json, reader)
    with errors(as_json), handed_over(card.passphrase_file) as file:
        more["card"] = card.named(file, "Bob")
        do(as_json, "swap", lambda result: say(f"{result['card']} is in {reader} now"), reader=reader, **more)


VERBS = {
    "remove": ("Remove the card from a reader.", "{card} is out of {reader}"),
    "unplug": ("Unplug a reader, with the card in it.", "{reader} is unplugged"),
    "reset": (
        "Reset the card, as another program could: logins are lost, sessions stay.",
        "the card in {reader} is reset",
    ),
    "logout": (
        "Log out of the card, as another program could: logins are lost, sessions stay.",
        "nobody is logged in to the card in {reader}",
    ),
    "close-sessions": (
        "Close all sessions on the card, as the idle time-out of a module does: logins are lost, the card stays.",
        "no session is left on the card in {reader}",
    ),
    "touch": (
        "Touch the card, for a key that needs a touch now or next.",
        "the card in {reader} is touched",
    ),
    "mute": (
        "Make the card stop answering until it is reset or removed.",
        "the card in {reader} is mute",
    ),
    "detach-pcsc": ("Undo attach-pcsc; the mirrored card is removed.", "{reader} has cards of its own again"),
    "kill": (
        "Make the card stop answering for good, in any reader of this simulator.",
        "the card in {reader} is dead",
    ),
}
"""Commands whose only argument is a reader: help, and the line printed on success."""

_NO_CHANGE = {
    "touch": "the card in {reader} is touched; no key on it asks for that",
    "detach-pcsc": "{reader} was not attached to PC/SC",
}
"""The line printed when a command has changed nothing."""


def _command(verb: str, done: str) -> Callable[..., None]:
    def command(reader: AnyReader = None, as_json: Json = False) -> None:
        reader = the_reader(as_json, reader)

        def show(result: dict[str, Any] | None) -> None:
            result = result or {}
            said = done if result.get("changed", True) else _NO_CHANGE[verb]
            say(said.format(reader=reader, **result))

        do(as_json, verb, show, reader=reader)

    return command


for _verb, (_about, _done) in VERBS.items():
    app.command(_verb, help=_about)(_command(_verb, _done))


@app.command()
def plug(
    reader: ReaderName,
    contactless: Annotated[bool, typer.Option("--contactless", help="A contactless reader.")] = False,
    as_json: Json = False,
) -> None:
    """Plug a reader in, without a card."""
    more = {"contactless": True} if contactless else {}
    do(as_json, "plug", lambda _: say(f"{reader} is plugged in"), reader=reader, **more)


@app.command("attach-pcsc")
def attach_pcsc(
    reader: ReaderName,
    name: Annotated[str, typer.Argument(help="Part of the name of the PC/SC reader; `any`: the first one.")] = "any",
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Open it exclusively: other PC/SC programs cannot use it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Mirror the card of a PC/SC reader, real or virtual, in this reader (docs/pcsc.md)."""
    arguments = {"reader": reader, "name": "" if name == "any" else name, "exclusive": exclusive}

    def show(result: dict[str, Any]) -> None:
        card = result["card"]
        say(f"{reader} waits for a card in PC/SC's reader {name!r}" if card is None else f"{card} is in {reader}")

    do(as_json, "attach-pcsc", show, **arguments)


@app.command()
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
    """Send an APDU to the card, as another program could, and print the response with its status word."""
    text = sys.stdin.readline(_LONGEST_LINE) if command == "-" else command
    do(as_json, "apdu", lambda result: print(result["response"]), reader=reader, command=text.strip())


@app.command("block-pin")
def block_pin(
    reader: AnyReader = None,
    left: Annotated[int, typer.Option(help="Number of tries to leave; 1 leaves the final try.")] = 0,
    puk: Annotated[bool, typer.Option("--puk", help="The tries of the PUK (SO PIN), not of the PIN.")] = False,
    as_json: Json = False,
) -> None:
    """Use up tries of the PIN, as wrong PINs would. Logins are lost."""
    reader = the_reader(as_json, reader)
    done = f"the {'PUK' if puk else 'PIN'} of the card in {reader} has {counted(left, 'try', 'tries')} left"
    do(as_json, "block-pin", lambda _: say(done), reader=reader, left=left, puk=puk)


@app.command("pin-pad")
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
    """Type a PIN at a reader's PIN pad; it is kept until a program asks for a PIN there."""
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
