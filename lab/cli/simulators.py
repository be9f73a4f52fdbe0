# SPDX-License-Identifier: MIT
"""Commands that run, show, stop and restart a simulator."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...card.wording import counted
from ..processes.terminal import say
from .answers import do, errors, fail
from .options import AnyCard, Json, Surroundings, grouped
from .parsing import App, ForProgram
from .verb_commands import add_commands, help_of

if TYPE_CHECKING:
    from ...p11.quirks import Quirks
    from ...reader.pcsc.vpcd_slots import PcscSlots
    from ..control.simulator import Simulator
    from ..simulator.own_pcscd import OwnPcscd
    from ..trace.records import Record

app = App()

_PCSCD_PATIENCE = 5.0
"""Seconds for which `run` waits until pcscd has the card. It looks every 0.4 s."""

_OWN_PCSCD_PATIENCE = 20.0
"""The same for one that was started for the program: it is there, and on a busy machine it looks later."""

_NO_PCSCD = "check that it runs, has vpcd, and that no other simulator uses it; `cardtear doctor` says what is missing"


@app.command()
@grouped
def serve(
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Socket folder.", show_default="$XDG_RUNTIME_DIR/cardtear")
    ] = None,
    reader: Annotated[
        list[str] | None, typer.Option(help="A reader to plug in; several times.", show_default="front")
    ] = None,
    card: AnyCard,
    surroundings: Surroundings,
    as_json: Json = False,
) -> None:
    """Run a simulator until Ctrl-C. The card starts in the first reader without --from-pcsc."""
    from ..processes import paths, process

    process.hold_signals()
    process.allow_many_files()
    readers = reader or ["front"]
    folder = folder or paths.runtime_folder()
    with errors(as_json), _simulator(readers, card, surroundings, surroundings.place, folder) as simulator:
        _say_ready(simulator, readers[0], as_json)
        process.wait_for_the_end(simulator.stopped)


@app.command(cls=ForProgram, context_settings={"allow_interspersed_args": False})
@grouped
def run(
    *,
    command: Annotated[
        list[str], typer.Argument(metavar="CMD", help="The program and its arguments.", show_default=False)
    ],
    reader: Annotated[
        list[str] | None, typer.Option(help="A reader to plug in; several times.", show_default="front")
    ] = None,
    card: AnyCard,
    surroundings: Surroundings,
    own_pcscd: Annotated[
        bool, typer.Option("--own-pcscd", help="As --pcsc, with a pcscd started for the program; needs root.")
    ] = False,
    pcsc_name: Annotated[
        str | None,
        typer.Option(
            help="Name of the readers in that pcscd, to which it adds numbers.",
            show_default="Virtual PCD; Yubico YubiKey CCID with --profile yubikey",
        ),
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Print calls, APDUs and events on standard error.")] = False,
    as_json: Json = False,
) -> None:
    """Run a program with a simulator of its own, and exit with its exit code: cardtear run [OPTIONS] -- CMD...

    The program finds CARDTEAR_MODULE, CARDTEAR_SOCKET and CARDTEAR_CONTROL in its environment. If cardtear is killed,
    the program is, too.
    """
    from ...reader.pcsc import reader_conf
    from ..processes import process
    from ..processes.reaper import guarded
    from ..trace.records import follow

    process.hold_signals()
    with errors(as_json), contextlib.ExitStack() as undo:
        readers = reader or ["front"]
        daemon = None
        if own_pcscd:
            name = pcsc_name or reader_conf.usual_name(card.profile)
            daemon = _started_pcscd(undo, as_json, name, len(readers))
        pcsc, variables = (daemon.place, daemon.environment) if daemon is not None else (surroundings.place, {})
        showing = undo.enter_context(contextlib.ExitStack())  # ends after the simulator
        simulator = undo.enter_context(_simulator(readers, card, surroundings, pcsc))
        if trace:
            showing.callback(follow(simulator.testbed.trace, _timeline(as_json, to_errors=True)[0]))
        _wait_for_pcscd(simulator, daemon, as_json)
        try:
            with guarded(simulator.folder):
                code = process.run_program(command, {**os.environ, **variables, **simulator.environment})
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            hint = f"; a line for a shell: sh -c {shlex.quote(command[0])}" if " " in command[0].strip() else ""
            fail(as_json, "cannot-run", f"cannot run {command[0]!r}: {error.strerror}{hint}", code)
    raise typer.Exit(code)


@app.command()
def status(as_json: Json = False) -> None:
    """Show readers, cards and applications."""

    def show(result: dict[str, Any]) -> None:
        from . import tables

        tables.status(result)

    do(as_json, "status", show)


@app.command()
def trace(
    follow: Annotated[bool, typer.Option(help="Continue until Ctrl-C, or print what is recorded and exit.")] = True,
    short: Annotated[bool, typer.Option("--short", help="Collapse repeated APDUs and calls.")] = False,
    as_json: Json = False,
) -> None:
    """Print calls, APDUs and events as they happen, without PINs and keys."""
    from ..control.client import Control, ControlFailure

    add, end = _timeline(as_json, to_errors=False, short=short)
    with errors(as_json), contextlib.suppress(KeyboardInterrupt), Control() as control:
        for record in control.stream("trace", after=0, follow=follow):
            add(record)
        end()
        if not control.has_ended:
            raise ControlFailure(
                "no-simulator",
                f"the simulator on {control.path} has died; start another one with: cardtear serve",
            )


@app.command()
def stop(as_json: Json = False) -> None:
    """Stop the running simulator; applications see their cards removed."""
    do(as_json, "shutdown", lambda _: say("the simulator ends"))


class PcscdAction(StrEnum):
    """An action of `cardtear pcscd`."""

    STOP = "stop"
    START = "start"


@app.command("pcscd", help=help_of("pcscd"))
def pcscd(action: PcscdAction, as_json: Json = False) -> None:
    done = {
        ("stop", True): "pcscd is stopped; cardtear pcscd start brings it back",
        ("stop", False): "pcscd was stopped already; cardtear pcscd start brings it back",
        ("start", True): "pcscd is there again",
        ("start", False): "pcscd was running already",
    }
    do(as_json, "pcscd", lambda result: say(done[action.value, result["changed"]]), action=action.value)


add_commands(app, "simulators")


def _started_pcscd(undo: contextlib.ExitStack, as_json: bool, name: str, readers: int) -> OwnPcscd:
    """Start a pcscd that ends with `undo`. Raises ValueError for a name that no reader can have."""
    from ..processes.kept_process import ProcessError
    from ..processes.temp_dir import TempDir
    from ..simulator.own_pcscd import OwnPcscd

    try:
        return undo.enter_context(OwnPcscd(undo.enter_context(TempDir()).path, name, readers))
    except ProcessError as error:
        fail(as_json, "no-pcscd", str(error), 1, several=True)


def _wait_for_pcscd(simulator: Simulator, daemon: OwnPcscd | None, as_json: bool) -> None:
    """Return when pcscd has the cards; end with an error if it does not take them."""
    patience = _PCSCD_PATIENCE if daemon is None else _OWN_PCSCD_PATIENCE
    if simulator.pcsc is None or not (missing := simulator.pcsc.wait_until_shown(patience)):
        return
    why = f"pcscd has not taken the card in {', '.join(missing)} within {patience:.0f} s"
    if daemon is not None:
        fail(as_json, "no-pcscd", f"{why}. {daemon.said}", 1, several=True)
    fail(as_json, "no-pcscd", f"{why}: {_NO_PCSCD}", 1)


@contextlib.contextmanager
def _simulator(
    readers: list[str], card: AnyCard, surroundings: Surroundings, pcsc: PcscSlots | None, folder: Path | None = None
) -> Iterator[Simulator]:
    """Run a simulator with readers, the first ones mirroring PC/SC's, and a card in the next. `pcsc`: pcscd's place."""
    from ..control.simulator import Simulator

    source = None if surroundings.no_card else card.source()
    mirrored = surroundings.from_pcsc or []
    if len(mirrored) > len(readers):
        raise ValueError(
            f"--from-pcsc is given {len(mirrored)} times, with {counted(len(readers), 'reader')}: give more --reader"
        )
    if len(mirrored) == len(readers) and not card.is_usual:
        raise ValueError("no reader is left for the card: all of them mirror readers of PC/SC; give another --reader")
    with Simulator(folder, _parsed(surroundings.quirks), pcsc) as simulator:
        for each in readers:
            simulator.plug(each)
        for each, name in zip(readers, mirrored, strict=False):
            simulator.attach_pcsc(each, "" if name == "any" else name)
        if source is not None and len(readers) > len(mirrored):
            simulator.insert(readers[len(mirrored)], source)
        yield simulator


def _parsed(names: list[str] | None) -> Quirks | None:
    if not names:
        return None
    from ...p11.quirks import Quirks

    return Quirks.parse(names)


def _say_ready(simulator: Simulator, reader: str, as_json: bool) -> None:
    """Print the environment in one write, so that a script may read the first line and close the pipe."""
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
) -> tuple[Callable[[Record], object], Callable[[], None]]:
    """Return functions that print a record of the trace, and what is left at its end."""
    from ..processes import terminal

    if as_json:
        output = terminal.Output(to_errors)
        return lambda record: output.write(f"{json.dumps(record)}\n"), lambda: None
    from ..trace.timeline import Timeline

    timeline = Timeline(terminal.console(to_errors), most_apdus=3 if short else None, folds=short)
    return timeline.add, timeline.flush
