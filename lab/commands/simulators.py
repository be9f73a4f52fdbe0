# SPDX-License-Identifier: MIT
"""Commands that run a simulator, or look at one."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answers import do, errors, fail
from .options import AnyCard, ForProgram, Json, Surroundings, grouped

if TYPE_CHECKING:
    from ...p11.quirks import Quirks
    from ...reader.vpcd_slots import PcscPlace
    from ..records import Record
    from ..simulator import Simulator

app = typer.Typer()

_PCSCD_PATIENCE = 5.0
"""Seconds for which `run` waits until pcscd has the card. It looks every 0.4 s."""

_NO_PCSCD = "is it running, with vpcd, and no other simulator in it? `cardtear doctor` says what is missing"


@app.command()
@grouped
def serve(
    *,
    folder: Annotated[Path | None, typer.Option(help="Where the sockets lie.", show_default="your own")] = None,
    reader: Annotated[
        list[str] | None, typer.Option(help="A reader to plug in; several times.", show_default="front")
    ] = None,
    card: AnyCard,
    surroundings: Surroundings,
    as_json: Json = False,
) -> None:
    """Run a simulator until Ctrl-C. The card goes into the first reader that has none from PC/SC."""
    from .. import places, process

    process.hold_signals()
    process.allow_many_files()
    readers = reader or ["front"]
    folder = folder or places.runtime_folder()
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
    reader: Annotated[str, typer.Option(help="The reader to plug in.")] = "front",
    card: AnyCard,
    surroundings: Surroundings,
    own_pcscd: Annotated[
        bool, typer.Option("--own-pcscd", help="As --pcsc, with a pcscd that is started for the program; for root.")
    ] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show calls, APDUs and events on standard error.")] = False,
    as_json: Json = False,
) -> None:
    """Run a program with a simulator of its own, and exit with its exit code: cardtear run [OPTIONS] -- CMD...

    The program finds CARDTEAR_MODULE, CARDTEAR_SOCKET and CARDTEAR_CONTROL in its environment. When this one is killed,
    it is killed, too.
    """
    from .. import process
    from ..guard import guarded
    from ..records import follow

    process.hold_signals()
    with errors(as_json), contextlib.ExitStack() as undo:
        place, variables = _started_pcscd(undo, as_json) if own_pcscd else (surroundings.place, {})
        simulator = undo.enter_context(_simulator([reader], card, surroundings, place))
        if trace:
            follow(simulator.bench.trace, _timeline(as_json, to_errors=True)[0])
        if simulator.pcsc is not None and simulator.pcsc.wait_until_shown(_PCSCD_PATIENCE):
            fail(as_json, "no-pcscd", f"no pcscd has taken the card: {_NO_PCSCD}", 1)
        try:
            with guarded(simulator.folder):
                code = process.run_program(command, {**os.environ, **variables, **simulator.environment})
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            fail(as_json, "cannot-run", f"cannot run {command[0]!r}: {error.strerror}", code)
    raise typer.Exit(code)


@app.command()
def status(as_json: Json = False) -> None:
    """Show readers, cards and applications."""

    def show(result: dict[str, Any]) -> None:
        from .. import views

        views.status(result)

    do(as_json, "status", show)


@app.command()
def trace(
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C, or show what is kept and end.")] = True,
    short: Annotated[bool, typer.Option("--short", help="Count APDUs and calls that look alike.")] = False,
    as_json: Json = False,
) -> None:
    """Show calls, APDUs and events in the order in which they happen; PINs and keys never appear."""
    from ..control import Control

    add, end = _timeline(as_json, to_errors=False, short=short)
    with errors(as_json), contextlib.suppress(KeyboardInterrupt), Control() as control:
        for record in control.stream("trace", after=0, follow=follow):
            add(record)
        end()


@app.command()
def crash(as_json: Json = False) -> None:
    """Be gone for every application, as a simulator that died; readers and cards stay as they are."""
    do(as_json, "crash", lambda _: print("the simulator is gone for applications; cardtear restart brings it back"))


@app.command()
def restart(as_json: Json = False) -> None:
    """Be there again after a crash."""
    do(as_json, "restart", lambda _: print("the simulator is there again"))


def _started_pcscd(undo: contextlib.ExitStack, as_json: bool) -> tuple[PcscPlace, dict[str, str]]:
    """Where a pcscd is that ends with `undo`, and by which variables programs find it."""
    from ...reader.vpcd_slots import PcscPlace
    from ..own_pcscd import OwnPcscd, PcscdError
    from ..scratch import Scratch

    try:
        daemon = undo.enter_context(OwnPcscd(undo.enter_context(Scratch()).path))
    except PcscdError as error:
        fail(as_json, "no-pcscd", str(error), 1)
    return PcscPlace(daemon.port), daemon.environment


@contextlib.contextmanager
def _simulator(
    readers: list[str], card: AnyCard, surroundings: Surroundings, place: PcscPlace | None, folder: Path | None = None
) -> Iterator[Simulator]:
    """A simulator with readers, the first ones mirroring PC/SC's, and a card in the next one; `place` is pcscd's."""
    from ..simulator import Simulator

    source = None if surroundings.no_card else card.source()
    mirrored = surroundings.from_pcsc or []
    if len(mirrored) > len(readers):
        raise ValueError("--from-pcsc wants a --reader for each")
    with Simulator(folder, _parsed(surroundings.quirks), place) as simulator:
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

    from ..timeline import Timeline

    timeline = Timeline(Console(highlight=False, stderr=to_errors), most_apdus=3 if short else None, folds=short)
    return timeline.add, timeline.flush
