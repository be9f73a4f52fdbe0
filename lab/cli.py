# SPDX-License-Identifier: MIT
"""The command line. Each command is a few lines over the simulator or its control channel; --json everywhere."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="A virtual PIV smart card that a script can pull out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
card_app = typer.Typer(help="Make and look at card images.", no_args_is_help=True)
app.add_typer(card_app, name="card")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ReaderName = Annotated[str, typer.Argument(help="The reader's name.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="Where the sockets lie.", show_default="your own")]
Profile = Annotated[str, typer.Option(help="Which ready-made card: piv, piv-ec, blank, unrecognised.")]
Name = Annotated[str, typer.Option(help="The name on a ready-made card.")]
Email = Annotated[str | None, typer.Option(help="The e-mail address in its certificates.")]
Serial = Annotated[str | None, typer.Option(help="Its serial number, up to 16 hexadecimal digits.")]
Image = Annotated[Path | None, typer.Option("--image", help="A card image, used where it lies.")]
Pin = Annotated[str, typer.Option(help="The PIN of a ready-made card.")]
Puk = Annotated[str, typer.Option(help="Its PUK, which is the SO PIN in PKCS #11.")]


@app.command()
def serve(
    folder: Folder = None,
    reader: Annotated[list[str] | None, typer.Option("--reader", help="A reader to plug in; several times.")] = None,
    profile: Profile = "piv",
    name: Name = "Alice",
    image: Image = None,
    no_card: Annotated[bool, typer.Option("--no-card", help="Leave the readers empty.")] = False,
    as_json: Json = False,
) -> None:
    """Run a simulator until it is stopped (Ctrl-C). The card goes into the first reader."""
    from . import places
    from .simulator import Simulator

    logging.basicConfig(level=logging.WARNING, format="cardtear: %(message)s")
    with _errors(), Simulator(folder or places.runtime_folder()) as simulator:
        readers = reader or ["front"]
        for each in readers:
            simulator.plug(each)
        if not no_card:
            simulator.insert(readers[0], _source(image, profile=profile, name=name))
        if as_json:
            print(json.dumps({"ready": True, **simulator.environment}), flush=True)
        else:
            print("ready; in another terminal: cardtear status, cardtear remove front", flush=True)
            for variable, value in simulator.environment.items():
                print(f"export {variable}={value}", flush=True)
        _wait_for_the_end(simulator)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The program and its arguments.")],
    profile: Profile = "piv",
    name: Name = "Alice",
    image: Image = None,
    reader: Annotated[str, typer.Option("--reader", help="The reader's name.")] = "front",
    no_card: Annotated[bool, typer.Option("--no-card", help="Leave the reader empty.")] = False,
) -> None:
    """Run a program with a simulator of its own; exits with the program's exit code.

    The program finds CARDTEAR_MODULE, CARDTEAR_SOCKET and CARDTEAR_CONTROL in its environment.
    """
    from .simulator import Simulator

    logging.basicConfig(level=logging.WARNING, format="cardtear: %(message)s")
    with _errors(), Simulator() as simulator:
        simulator.plug(reader)
        if not no_card:
            simulator.insert(reader, _source(image, profile=profile, name=name))
        try:
            child = subprocess.Popen(command, env={**os.environ, **simulator.environment})
        except OSError as error:
            _fail("cannot-run", f"cannot run {command[0]!r}: {error.strerror}", 127)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda caught, _frame: child.send_signal(caught))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the program as well
        code = child.wait()
    raise typer.Exit(code if code >= 0 else 128 - code)


@app.command()
def insert(
    reader: ReaderName,
    profile: Profile = "piv",
    name: Name = "Alice",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = "123456",
    puk: Puk = "12345678",
    image: Image = None,
    as_json: Json = False,
) -> None:
    """Put a card into a reader."""
    card = _card(image, profile=profile, name=name, email=email, serial=serial, pin=pin, puk=puk)
    _verb(as_json, "insert", lambda result: f"{result['card']} is in {reader}", reader=reader, card=card)


@app.command()
def remove(reader: ReaderName, as_json: Json = False) -> None:
    """Pull the card out of a reader."""
    _verb(as_json, "remove", lambda result: f"{result['card']} is out of {reader}", reader=reader)


@app.command()
def swap(
    reader: ReaderName,
    profile: Profile = "piv",
    name: Name = "Bob",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = "123456",
    puk: Puk = "12345678",
    image: Image = None,
    as_json: Json = False,
) -> None:
    """Exchange the card in a reader for another, at one instant."""
    card = _card(image, profile=profile, name=name, email=email, serial=serial, pin=pin, puk=puk)
    _verb(as_json, "swap", lambda result: f"{result['card']} is in {reader} now", reader=reader, card=card)


@app.command()
def plug(reader: ReaderName, as_json: Json = False) -> None:
    """Plug a reader in."""
    _verb(as_json, "plug", lambda _: f"{reader} is plugged in", reader=reader)


@app.command()
def unplug(reader: ReaderName, as_json: Json = False) -> None:
    """Pull a reader out, with its card."""
    _verb(as_json, "unplug", lambda _: f"{reader} is unplugged", reader=reader)


@app.command()
def reset(reader: ReaderName, as_json: Json = False) -> None:
    """Reset the card in a reader, as another program could: logins are lost."""
    _verb(as_json, "reset", lambda _: f"the card in {reader} is reset", reader=reader)


@app.command()
def status(as_json: Json = False) -> None:
    """Show readers, cards and applications."""

    def words(result: dict[str, Any]) -> str:
        lines = [
            f"{each['name']}: {each['card']} ({each['profile']})" if each["card"] else f"{each['name']}: empty"
            for each in result["readers"]
        ]
        lines += [
            f"{each['name']}: {each['sessions']} sessions{', logged in' if each['logged_in'] else ''}"
            for each in result["applications"]
        ]
        return "\n".join(lines) or "no readers"

    _verb(as_json, "status", words)


@app.command()
def trace(
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C, or show what is kept and end.")] = True,
    as_json: Json = False,
) -> None:
    """Show calls, APDUs and events in one order; PINs and key material never appear."""
    from rich.console import Console

    from .control import Control
    from .timeline import Lines

    console, lines = Console(highlight=False), Lines()
    with _errors(), Control() as control:
        try:
            for record in control.stream("trace", after=0, follow=follow):
                if as_json:
                    print(json.dumps(record), flush=True)
                else:
                    lines.print(console, record)
        except KeyboardInterrupt:
            return


@app.command()
def module(as_json: Json = False) -> None:
    """Print the path of the PKCS #11 module."""
    from ..csrc import module_path

    path = str(module_path())
    print(json.dumps({"module": path}) if as_json else path)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what works here, and what to install for the rest."""
    from .doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([each._asdict() for each in findings]))
    else:
        for each in findings:
            print(f"{'ok     ' if each.works else 'missing'} {each.what}: {each.detail}")
    if any(each.needed and not each.works for each in findings):
        raise typer.Exit(1)


@card_app.command("new")
def card_new(
    path: Annotated[Path, typer.Argument(help="The image to write.")],
    profile: Profile = "piv",
    name: Name = "Alice",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = "123456",
    puk: Puk = "12345678",
    as_json: Json = False,
) -> None:
    """Make a card and write its image."""
    from ..card.ca import TestCA
    from ..card.profiles import CardRequest, create
    from . import places

    with _errors():
        create(CardRequest(profile, name, email, serial, pin, puk), path, TestCA.load_or_create(places.ca_folder()))
    print(json.dumps({"image": str(path), "card": name}) if as_json else f"{path}: {profile} card of {name}")


@card_app.command("show")
def card_show(path: Annotated[Path, typer.Argument(help="A card image.")], as_json: Json = False) -> None:
    """Show what is on a card; no secrets."""
    from .cards import describe

    with _errors():
        about = describe(path)
    if as_json:
        print(json.dumps(about))
        return
    print(f"{about['name']} ({about['profile']}), serial {about['serial']}, ATR {about['atr']}")
    print(f"PIN: {about['pin_tries']} tries left, PUK: {about['puk_tries']}")
    for key in about["keys"]:
        print(f"{key['slot']} {key['purpose']}: {key['algorithm']}, {key['certificate'] or 'no certificate'}")


@card_app.command("ca")
def card_ca(
    out: Annotated[Path | None, typer.Option("--out", help="Write it to a file.")] = None, as_json: Json = False
) -> None:
    """Export the certificate of the test CA that issues the certificates on ready-made cards (PEM)."""
    from ..card.ca import TestCA
    from . import places

    pem = TestCA.load_or_create(places.ca_folder()).certificate_pem().decode()
    if out is not None:
        with _errors():
            out.write_text(pem)
    if as_json:
        print(json.dumps({"certificate": pem}))
    elif out is None:
        print(pem, end="")


def main() -> None:
    """The entry point."""
    app()


class _errors:
    """Turns what the bench, the card and the control channel refuse into one line and exit code 1."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        from ..card.profiles import ProfileError
        from ..card.store import ImageError
        from ..reader.errors import BenchError
        from ..reader.private_socket import SocketError
        from .control import ControlFailure

        if isinstance(error, (BenchError, ImageError, ProfileError, SocketError, ControlFailure)):
            _fail(error.code, str(error))
        if isinstance(error, OSError):
            _fail("os-error", f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))


def _fail(code: str, message: str, exit_code: int = 1) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": {"code": code, "message": message}}))
    else:
        print(f"cardtear: {message}", file=sys.stderr)
    raise typer.Exit(exit_code)


def _verb(as_json: bool, verb: str, words: Callable[[Any], str], **arguments: Any) -> None:
    """A verb of the running simulator, and what to say of it."""
    from .control import Control

    with _errors(), Control() as control:
        result = control.do(verb, **arguments)
    print(json.dumps(result) if as_json else words(result))


def _source(image: Path | None, **parameters: str) -> Any:
    from ..card.profiles import CardRequest

    return image if image is not None else CardRequest(**parameters)


def _card(image: Path | None, **parameters: str | None) -> str | dict[str, str]:
    """A card as the control channel names it."""
    if image is not None:
        return str(image.resolve())
    return {name: value for name, value in parameters.items() if value is not None}


def _wait_for_the_end(simulator: Any) -> None:
    """Until Ctrl-C, SIGTERM, or the verb `shutdown`."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: simulator.stopped.set())
    signal.signal(signal.SIGINT, lambda _number, _frame: simulator.stopped.set())
    simulator.stopped.wait()


if __name__ == "__main__":
    main()
