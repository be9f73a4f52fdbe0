# SPDX-License-Identifier: MIT
"""The command `sweep`."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .answers import errors, fail, writable
from .options import Image, NewCard, QuirkNames, grouped
from .parsing import App, ForProgram

if TYPE_CHECKING:
    from ..sweep.runner import Workers

app = App()

_ACTIONS = "remove, reset, swap, mute, unplug, logout, garble, sw:6F00, rv:CKR_DEVICE_ERROR, delay:500ms or cut:1"


@app.command(cls=ForProgram, context_settings={"allow_interspersed_args": False})
@grouped
def sweep(
    *,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="CMD",
            help="The program and its arguments; {module} is the module's path, {dir} a folder of each run's own.",
            show_default=False,
        ),
    ],
    at: Annotated[Literal["calls", "apdus", "both"], typer.Option(help="Remove at calls, APDUs or both.")] = "both",
    before: Annotated[bool, typer.Option("--before", help="Before each of them (default).")] = False,
    during: Annotated[
        bool, typer.Option("--during", help="When a call sends its first APDU or begins to wait.")
    ] = False,
    after: Annotated[bool, typer.Option("--after", help="After each of them.")] = False,
    action: Annotated[str, typer.Option(help=f"What to do there: {_ACTIONS}.")] = "remove",
    then: Annotated[
        list[str] | None,
        typer.Option(help="What to do after that, as insert:500ms; several times.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j", "--jobs", min=1, max=64, help="Number of runs at the same time.", show_default="2 per processor"
        ),
    ] = None,
    shard: Annotated[str, typer.Option(help="Play only the I-th of N parts, as 1/4.")] = "1/1",
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Play only this point, by its name or number in the report, and show its trace; several times."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep of the --json file.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON.", show_default=False, dir_okay=False)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the report as JUnit XML.", show_default=False, dir_okay=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as an HTML page.", show_default=False, dir_okay=False)
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(help="Write the table of the report as an SVG picture.", show_default=False, dir_okay=False),
    ] = None,
    all_points: Annotated[bool, typer.Option("--all", help="List every point, not only those that fail.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Do not count this verdict as a failure, as 'retried PIN'; several times.", show_default=False
        ),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="The longest that a run may take, as 20s.", show_default="by the first run")
    ] = None,
    prepare: Annotated[
        str | None,
        typer.Option(
            metavar="SHELL",
            help="A command to run once; each run starts in {dir} with a copy of the files and the card it leaves.",
            show_default=False,
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(
            help="Start each run in {dir} with a copy of this folder.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ] = None,
    own_home: Annotated[bool, typer.Option("--own-home", help="Give each run an empty home folder.")] = False,
    recover: Annotated[
        str | None,
        typer.Option(
            metavar="SHELL",
            help="The command that checks that all works with the card back in; '' for no check.",
            show_default="CMD again",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Play on the Dask cluster with this scheduler, as tcp://host:8786.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Choose which byte is garbled.")] = 0,
    card: NewCard,
    image: Image = None,
    quirks: QuirkNames = None,
) -> None:
    """Remove the card at every point of a program's run, and report where the program fails.

    Two runs without a removal give the points: each call and each APDU. Then there is one run for each point, with a
    simulator and a copy of the card of its own, and another with the card back in. Exit code: 1 when the program
    crashed, hung, did not recover or entered the PIN again, or when a point was not reached.
    """
    from ..sweep import options
    from ..sweep.runner import NotSweepable
    from ..sweep.session import SweepSession

    sides = {"before": before, "during": during, "after": after}
    wanted = options.Asked(
        tuple(command),
        at,
        tuple(side for side, is_wanted in sides.items() if is_wanted) or ("before",),
        action,
        tuple(then or ()),
        prepare,
        os.path.realpath(copy) if copy is not None else None,
        own_home,
        recover,
        seed,
        tuple(quirks or ()),
        (*card.words, *(("--image", str(image)) if image is not None else ())),
    )
    _treat_sigterm_as_interrupt()
    with errors(False, refused=2):
        if image is not None:
            card.refuse_with_image()
        options.part([], shard)
        is_printed = writable((json_file, junit, html, svg), inputs=(image, *_files(command), *card.files))
        session = SweepSession(
            wanted,
            wanted.plan(image or card.request()),
            _workers(dask, jobs),
            options.verdicts(allow or []),
            {"json": json_file, "junit": junit, "html": html, "svg": svg},
            is_printed,
        )
        try:
            code = session.only(only, deadline) if only else session.all(shard, resume, deadline, all_points)
        except NotSweepable as error:
            fail(False, "not-sweepable", str(error), 2, several=True)
        except KeyboardInterrupt:
            code = 130
    raise typer.Exit(code)


def _files(command: list[str]) -> Iterator[Path]:
    """Yield the files that stand in a command line, the program's among them."""
    yield from map(Path, filter(os.path.isfile, (shutil.which(command[0]) or "", *command)))


def _workers(dask: str | None, jobs: int | None) -> Workers:
    """Return the workers that play points. Raises ValueError."""
    from ..sweep import runner

    if dask is None:
        return runner.local(jobs or runner.jobs())
    if re.search(r"[^:/]:[0-9]{1,5}$", dask) is None:
        raise ValueError(f"--dask wants the address of a scheduler, as tcp://host:8786, not {dask!r}")
    try:
        return runner.dask(dask)
    except ModuleNotFoundError:
        raise ValueError("--dask needs an extra: pip install 'cardtear[dask]'") from None


def _treat_sigterm_as_interrupt() -> None:
    """Treat SIGTERM as Ctrl-C."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
