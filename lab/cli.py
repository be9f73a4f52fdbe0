# SPDX-License-Identifier: MIT
"""The command line. Each command is a few lines over the simulator or its control channel.

Imports stand where they are needed: `cardtear serve` has to be ready at once, `cardtear remove` even sooner.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from ..card.profiles import CardRequest
    from ..reader.trace import Entry
    from .records import Record
    from .simulator import Simulator

_SIMULATOR, _BENCH, _ALONE = "Simulator", "Cards and readers of a running simulator", "Without a simulator"

app = typer.Typer(
    help="A virtual PIV smart card that a script can pull out, with a PKCS #11 module for real applications.",
    epilog="Try: cardtear run -- pkcs11-tool --module $(cardtear module) --list-objects",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
card_app = typer.Typer(help="Make and look at card images.", no_args_is_help=True)
app.add_typer(card_app, name="card", rich_help_panel=_ALONE)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")]
ReaderName = Annotated[str, typer.Argument(help="The reader's name.", show_default=False)]
Profile = Annotated[str, typer.Option(help="Which ready-made card; `cardtear card profiles` lists them.")]
Name = Annotated[str, typer.Option(help="The name on a ready-made card.")]
Email = Annotated[
    str | None, typer.Option(help="The e-mail address in its certificates.", show_default="NAME@example.com")
]
Serial = Annotated[
    str | None, typer.Option(help="Its serial number, up to 16 hexadecimal digits.", show_default="by name")
]
Pin = Annotated[str | None, typer.Option(help="Its PIN, 6 to 8 digits.", show_default="123456")]
Puk = Annotated[
    str | None,
    typer.Option(help="Its PUK, 6 to 8 characters; in PKCS #11 it is the SO PIN.", show_default="12345678"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another parameter of it, as capacity=65536 or pin_pad=true (docs/control.md); several times.",
        show_default=False,
    ),
]
Image = Annotated[Path | None, typer.Option(help="A card image instead, used where it lies.", show_default=False)]
Quirk = Annotated[
    list[str] | None,
    typer.Option(
        "--quirks",
        metavar="NAME",
        help="A profile of middleware, or a quirk NAME=VALUE (`cardtear quirks` lists them); several times.",
        show_default=False,
    ),
]
NoCard = Annotated[bool, typer.Option("--no-card", help="Leave the reader empty.")]


# Simulators


@app.command(rich_help_panel=_SIMULATOR)
def serve(
    folder: Annotated[Path | None, typer.Option(help="Where the sockets lie.", show_default="your own")] = None,
    reader: Annotated[
        list[str] | None, typer.Option(help="A reader to plug in; several times.", show_default="front")
    ] = None,
    profile: Profile = "piv",
    name: Name = "Alice",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = None,
    puk: Puk = None,
    settings: Settings = None,
    image: Image = None,
    no_card: NoCard = False,
    quirks: Quirk = None,
    as_json: Json = False,
) -> None:
    """Run a simulator until Ctrl-C. The card goes into the first reader."""
    from . import places, process

    process.hold_signals()
    readers = reader or ["front"]
    with _errors(as_json):
        card = None if no_card else image or _request(profile, name, email, serial, pin, puk, settings)
        with _simulator(readers, card, quirks, folder or places.runtime_folder()) as simulator:
            _say_ready(simulator, readers[0], as_json)
            process.wait_for_the_end(simulator.stopped)


@app.command(
    rich_help_panel=_SIMULATOR, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
def run(
    command: Annotated[
        list[str], typer.Argument(metavar="CMD", help="The program and its arguments.", show_default=False)
    ],
    reader: Annotated[str, typer.Option(help="The reader to plug in.")] = "front",
    profile: Profile = "piv",
    name: Name = "Alice",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = None,
    puk: Puk = None,
    settings: Settings = None,
    image: Image = None,
    no_card: NoCard = False,
    quirks: Quirk = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show calls, APDUs and events on standard error.")] = False,
    as_json: Json = False,
) -> None:
    """Run a program with a simulator of its own, and exit with its exit code: cardtear run [OPTIONS] -- CMD...

    The program finds CARDTEAR_MODULE, CARDTEAR_SOCKET and CARDTEAR_CONTROL in its environment.
    """
    from . import process

    process.hold_signals()
    with _errors(as_json):
        card = None if no_card else image or _request(profile, name, email, serial, pin, puk, settings)
        with _simulator([reader], card, quirks) as simulator:
            if trace:
                _show_trace(simulator, as_json)
            try:
                code = process.run_program(command, {**os.environ, **simulator.environment})
            except OSError as error:
                code = 127 if isinstance(error, FileNotFoundError) else 126
                _fail(as_json, "cannot-run", f"cannot run {command[0]!r}: {error.strerror}", code)
    raise typer.Exit(code)


@app.command(rich_help_panel=_SIMULATOR)
def status(as_json: Json = False) -> None:
    """Show readers, cards and applications."""

    def show(result: dict[str, Any]) -> None:
        from . import views

        views.status(result)

    _do(as_json, "status", show)


@app.command(rich_help_panel=_SIMULATOR)
def trace(
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C, or show what is kept and end.")] = True,
    short: Annotated[bool, typer.Option("--short", help="Count APDUs and calls that look alike.")] = False,
    as_json: Json = False,
) -> None:
    """Show calls, APDUs and events in the order in which they happen; PINs and keys never appear."""
    from .control import Control

    add, end = _timeline(as_json, to_errors=False, short=short)
    with _errors(as_json), contextlib.suppress(KeyboardInterrupt), Control() as control:
        for record in control.stream("trace", after=0, follow=follow):
            add(record)
        end()


# Cards and readers


@app.command(rich_help_panel=_BENCH)
def insert(
    reader: ReaderName,
    profile: Profile = "piv",
    name: Name = "Alice",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = None,
    puk: Puk = None,
    settings: Settings = None,
    image: Image = None,
    as_json: Json = False,
) -> None:
    """Put a card into a reader."""
    with _errors(as_json):
        card = _named(image, profile, name, email, serial, pin, puk, settings)
    _do(as_json, "insert", lambda result: print(f"{result['card']} is in {reader}"), reader=reader, card=card)


@app.command(rich_help_panel=_BENCH)
def remove(reader: ReaderName, as_json: Json = False) -> None:
    """Pull the card out of a reader."""
    _do(as_json, "remove", lambda result: print(f"{result['card']} is out of {reader}"), reader=reader)


@app.command(rich_help_panel=_BENCH)
def swap(
    reader: ReaderName,
    profile: Profile = "piv",
    name: Name = "Bob",
    email: Email = None,
    serial: Serial = None,
    pin: Pin = None,
    puk: Puk = None,
    settings: Settings = None,
    image: Image = None,
    as_json: Json = False,
) -> None:
    """Exchange the card in a reader for another, at one instant."""
    with _errors(as_json):
        card = _named(image, profile, name, email, serial, pin, puk, settings)
    _do(as_json, "swap", lambda result: print(f"{result['card']} is in {reader} now"), reader=reader, card=card)


@app.command(rich_help_panel=_BENCH)
def plug(reader: ReaderName, as_json: Json = False) -> None:
    """Plug a reader in."""
    _do(as_json, "plug", lambda _: print(f"{reader} is plugged in"), reader=reader)


@app.command(rich_help_panel=_BENCH)
def unplug(reader: ReaderName, as_json: Json = False) -> None:
    """Pull a reader out, with the card in it."""
    _do(as_json, "unplug", lambda _: print(f"{reader} is unplugged"), reader=reader)


@app.command(rich_help_panel=_BENCH)
def reset(reader: ReaderName, as_json: Json = False) -> None:
    """Reset the card in a reader, as another program could: logins are lost."""
    _do(as_json, "reset", lambda _: print(f"the card in {reader} is reset"), reader=reader)


@app.command("pin-pad", rich_help_panel=_BENCH)
def pin_pad(
    reader: ReaderName,
    pin: Annotated[str | None, typer.Argument(help="The PIN; without one, the red key.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Type at a reader's PIN pad; what is typed waits there until a program asks for it."""
    arguments = {"reader": reader} if pin is None else {"reader": reader, "pin": pin}
    done = f"the red key of {reader} is pressed" if pin is None else f"a PIN is typed at {reader}"
    _do(as_json, "pin-pad", lambda _: print(done), **arguments)


@app.command(rich_help_panel=_BENCH)
def arm(
    verb: Annotated[
        Literal["remove", "unplug", "reset"], typer.Argument(help="What is to happen.", show_default=False)
    ],
    reader: ReaderName,
    call: Annotated[str | None, typer.Option(help="At this PKCS #11 call, as C_Sign.", show_default=False)] = None,
    ins: Annotated[
        str | None, typer.Option(help="At an APDU with this instruction byte, as 87.", show_default=False)
    ] = None,
    nth: Annotated[int, typer.Option(help="At the n-th of them from now on.")] = 1,
    after: Annotated[bool, typer.Option("--after", help="When it has been carried out, not before.")] = False,
    as_json: Json = False,
) -> None:
    """Let something happen once, at a certain call or APDU."""
    moment = {"call": call, "ins": ins, "nth": nth, "when": "after" if after else "before"}
    on = {key: value for key, value in moment.items() if value is not None}
    _do(as_json, "arm", lambda _: print(f"armed: {verb} {reader}"), on=on, then={"do": verb, "reader": reader})


# What needs no simulator


@app.command(rich_help_panel=_ALONE)
def module(as_json: Json = False) -> None:
    """Print the path of the PKCS #11 module."""
    from ..csrc import module_path

    path = str(module_path())
    print(json.dumps({"module": path}) if as_json else path)


@app.command("quirks", rich_help_panel=_ALONE)
def list_quirks(as_json: Json = False) -> None:
    """List what the module can do wrong, and profiles of real middleware."""
    from . import cli_quirks

    cli_quirks.show(as_json)


@app.command(rich_help_panel=_ALONE)
def doctor(as_json: Json = False) -> None:
    """Say what works here, and what to install for the rest."""
    from .doctor import examine

    found = examine()
    if as_json:
        print(json.dumps([each._asdict() for each in found]))
    else:
        from . import views

        views.findings(found)
    if any(each.needed and not each.works for each in found):
        raise typer.Exit(1)


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

    with _errors(as_json):
        create(
            _request(profile, name, email, serial, pin, puk, settings),
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

    with _errors(as_json):
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

    with _errors(as_json):
        pem = places.test_ca().certificate_pem().decode()
        if out is not None:
            out.write_text(pem)
    if as_json:
        print(json.dumps({"certificate": pem}))
    elif out is None:
        print(pem, end="")


def main() -> None:
    """The entry point."""
    logging.basicConfig(level=logging.WARNING, format="cardtear: %(message)s")
    app(prog_name="cardtear")


# Below the commands


_ASKED_WRONGLY = frozenset({"bad-request", "profile-error"})
"""What a running simulator calls that which is a ValueError here."""


@contextlib.contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    """Makes one line and an exit code of what can go wrong: 1 when it was refused, 2 when it was asked wrongly."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        raise typer.Exit(1) from None
    except _refusals() as error:
        code = getattr(error, "code", "bad-request" if isinstance(error, ValueError) else "os-error")
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        asked_wrongly = isinstance(error, ValueError) or code in _ASKED_WRONGLY
        _fail(as_json, code, message, 2 if asked_wrongly else 1)


def _refusals() -> tuple[type[Exception], ...]:
    """What the bench, card images, sockets and the control channel raise; imported only when something is raised."""
    from ..card.store import ImageError
    from ..reader.errors import BenchError
    from ..reader.private_socket import SocketError
    from .control import ControlFailure

    return BenchError, ImageError, SocketError, ControlFailure, ValueError, OSError


def _fail(as_json: bool, code: str, message: str, exit_code: int) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}))
    else:
        print(f"cardtear: {message}", file=sys.stderr)
    raise typer.Exit(exit_code)


def _do(as_json: bool, verb: str, show: Callable[[Any], None], **arguments: Any) -> None:
    """A verb of the running simulator, and what to say of it."""
    from .control import Control

    with _errors(as_json):
        with Control() as control:
            result = control.do(verb, **arguments)
        if as_json:
            print(json.dumps(result))
        else:
            show(result)


@contextlib.contextmanager
def _simulator(
    readers: list[str], card: Path | CardRequest | None, quirks: list[str] | None, folder: Path | None = None
) -> Iterator[Simulator]:
    """A simulator with readers, and a card in the first one."""
    from ..p11.quirks import Quirks
    from .simulator import Simulator

    with Simulator(folder, Quirks.parse(quirks or ())) as simulator:
        for each in readers:
            simulator.plug(each)
        if card is not None:
            simulator.insert(readers[0], card)
        yield simulator


def _say_ready(simulator: Simulator, reader: str, as_json: bool) -> None:
    """In one write, so that a script may read the first line and close the pipe."""
    if as_json:
        text = json.dumps({"ready": True, **simulator.environment})
    else:
        remove = f"cardtear remove {shlex.quote(reader)}"
        text = f"# ready; Ctrl-C ends it. Elsewhere: cardtear status, cardtear trace, {remove}"
        for name, value in simulator.environment.items():
            text += f"\nexport {name}={shlex.quote(value)}"
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _timeline(
    as_json: bool, to_errors: bool, short: bool = False
) -> tuple[Callable[[Record], None], Callable[[], None]]:
    """Functions that show a record of the trace, and the end."""
    if as_json:
        stream = sys.stderr if to_errors else sys.stdout
        return lambda record: print(json.dumps(record), file=stream, flush=True), lambda: None
    from rich.console import Console

    from .timeline import Timeline

    timeline = Timeline(Console(highlight=False, stderr=to_errors), most_apdus=3 if short else None, folds=short)
    return timeline.add, timeline.flush


def _show_trace(simulator: Simulator, as_json: bool) -> None:
    """Show the trace on standard error from now on."""
    from .records import as_record

    add, _ = _timeline(as_json, to_errors=True)
    one_at_a_time = threading.Lock()

    def show(entry: Entry) -> None:
        with one_at_a_time:
            add(as_record(entry))

    simulator.bench.trace.subscribe(show)


def _request(*options: Any) -> CardRequest:
    """A ready-made card of the options of a command, as _parameters has them."""
    from ..card.profiles import request

    return request(_parameters(*options))


def _named(image: Path | None, *options: Any) -> str | dict[str, object]:
    """A card as the control channel names it."""
    return str(image.resolve()) if image is not None else _parameters(*options)


def _parameters(
    profile: str,
    name: str,
    email: str | None,
    serial: str | None,
    pin: str | None,
    puk: str | None,
    settings: list[str] | None,
) -> dict[str, object]:
    """The parameters of a card that were given. Raises ValueError for a setting without a value."""
    options = {"profile": profile, "name": name, "email": email, "serial": serial, "pin": pin, "puk": puk}
    parameters: dict[str, object] = {key: value for key, value in options.items() if value is not None}
    if settings:
        from ..card.traits import from_text

        for setting in settings:
            if "=" not in setting:
                raise ValueError(f"--set wants NAME=VALUE, not {setting!r}")
        parameters.update(map(from_text, settings))
    return parameters


if __name__ == "__main__":
    main()
