# SPDX-License-Identifier: MIT
"""The command `sweep`: its options, and a person's view of a sweep under way."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .answers import errors, fail, writable
from .options import Image, NewCard, QuirkNames, grouped

if TYPE_CHECKING:
    from ..sweep.asked import Asked
    from ..sweep.outcome import Outcome, Verdict
    from ..sweep.plan import Plan
    from ..sweep.points import Choice
    from ..sweep.report import Report
    from ..sweep.runner import Workers

app = typer.Typer()

_ACTIONS = "remove, reset, swap, mute, unplug, logout, garble, sw:6F00, rv:CKR_DEVICE_ERROR, delay:500ms or cut:1"


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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
    at: Annotated[Literal["calls", "apdus", "both"], typer.Option(help="What is a point.")] = "both",
    before: Annotated[bool, typer.Option("--before", help="Before each; so it is when nothing is said.")] = False,
    during: Annotated[bool, typer.Option("--during", help="When a call sends its first APDU or waits.")] = False,
    after: Annotated[bool, typer.Option("--after", help="After it has been carried out.")] = False,
    action: Annotated[str, typer.Option(help=f"What happens there: {_ACTIONS}.")] = "remove",
    then: Annotated[
        list[str] | None, typer.Option(help="What follows, as insert:500ms; several times.", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Runs at a time.", show_default="2 per processor")
    ] = None,
    shard: Annotated[str, typer.Option(help="Play the i-th of n parts, as 1/4.")] = "1/1",
    only: Annotated[
        list[str] | None, typer.Option(help="Play this point alone, by number or name, with its trace.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep of the --json file.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Keep the report as JSON.", show_default=False, dir_okay=False)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write it as JUnit XML.", show_default=False, dir_okay=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write it as an HTML page.", show_default=False, dir_okay=False)
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(help="Write its table as a picture.", show_default=False, dir_okay=False)
    ] = None,
    all_points: Annotated[bool, typer.Option("--all", help="List every point, not only those that fail.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A verdict that is no failure, as 'retried PIN'; several times.", show_default=False),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="How long a run may take, as 20s.", show_default="by the first run")
    ] = None,
    prepare: Annotated[
        str | None,
        typer.Option(
            metavar="SHELL",
            help="Run once; each run begins with what it leaves in its folder, and on the card, and works in {dir}.",
            show_default=False,
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(
            help="Each run works in its own copy of this folder, {dir}.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ] = None,
    own_home: Annotated[bool, typer.Option("--own-home", help="HOME is an empty folder of each run's own.")] = False,
    recover: Annotated[
        str | None,
        typer.Option(
            metavar="SHELL",
            help="What shows that all works again with the card back; '' for nothing.",
            show_default="CMD again",
        ),
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Play on a Dask cluster.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="For what is left to chance: which byte is garbled.")] = 0,
    card: NewCard,
    image: Image = None,
    quirks: QuirkNames = None,
) -> None:
    """Pull the card at every point of a program's run, and see which of them it does not survive.

    The program is run twice as it is, which gives the points: each call and each APDU. Then it is run once for each
    point, in a simulator of its own with a copy of the card, and once more with the card back. Exit code: 1 when it
    crashed, hung, did not recover, entered the PIN again, or when a point was not reached.
    """
    from ..sweep import asked
    from ..sweep.runner import NotSweepable

    sides = {"before": before, "during": during, "after": after}
    wanted = asked.Asked(
        tuple(command),
        at,
        tuple(side for side, is_wanted in sides.items() if is_wanted) or ("before",),
        action,
        tuple(then or ()),
        prepare,
        str(copy.resolve()) if copy is not None else None,
        own_home,
        recover,
        seed,
        tuple(quirks or ()),
        (*card.words, *(("--image", str(image)) if image is not None else ())),
    )
    _hear_the_end()
    with errors(False, refused=2):
        asked.part([], shard)
        writable((json_file, junit, html, svg))
        session = _Session(
            wanted,
            wanted.plan(image or card.request()),
            _workers(dask, jobs),
            asked.verdicts(allow or []),
            {"json": json_file, "junit": junit, "html": html, "svg": svg},
        )
        try:
            code = session.only(only, deadline) if only else session.all(shard, resume, deadline, all_points)
        except NotSweepable as error:
            fail(False, "not-sweepable", str(error), 2)
        except KeyboardInterrupt:
            code = 130
    raise typer.Exit(code)


class _Session:
    """One use of the command: what is asked for, and where it is told."""

    def __init__(
        self, wanted: Asked, plan: Plan, workers: Workers, allowed: set[Verdict], files: dict[str, Path | None]
    ) -> None:
        from ..sweep.report_text import console

        self.wanted, self.plan, self.workers, self.allowed, self.files = wanted, plan, workers, allowed, files
        self.console = console(stream_is_errors=True)

    def all(self, shard: str, resume: bool, deadline: str | None, all_points: bool) -> int:
        """Sweep all points, or what is left of them; the exit code."""
        from ..sweep import report_text

        report = self._resumed(shard) if resume else None
        if report is None or (report.left and self.wanted.prepare is not None):
            fresh = self._begun(shard, deadline, self.wanted.choice)
            report = report or fresh
        self.console.print(
            f"{len(report.points)} points of {report.first.calls} calls and {report.first.apdus} APDUs, "
            f"{self.plan.action.words}; deadline {report.deadline:.1f} s, seed {self.wanted.seed}"
        )
        self._play(report)
        report_text.console().print(report_text.table(report, self.allowed, all_points))
        if report.interrupted:
            return 130
        return 1 if report.failing(self.allowed) else 0

    def only(self, names: list[str], deadline: str | None) -> int:
        """Play single points, and show all that happens."""
        from ..sweep import asked, report_text, runner

        by_name = not any(each.isdigit() for each in names)
        report = self._begun("1/1", deadline, asked.EVERYTHING if by_name else self.wanted.choice)
        points = asked.chosen(report.points, names, self.plan.action)
        out = report_text.console()
        watch = report_text.watching(out)
        report.points = points

        def tell(outcome: Outcome) -> None:
            report.outcomes[outcome.number] = outcome
            out.print(report_text.story(outcome))

        for point in points:
            out.print(f"{point.name}: {self.plan.action.words}")
            runner.sweep(runner.here, self.plan, report.first, [point], report.deadline, tell, watch)
        self._write(report)
        return 1 if report.failing(self.allowed) else 0

    def _begun(self, shard: str, deadline: str | None, choice: Choice) -> Report:
        """A report with nothing played yet."""
        from ..sweep import asked, runner
        from ..sweep.plan import seconds
        from ..sweep.report import Report

        longest = runner.FIRST_DEADLINE if deadline is None else seconds(deadline)
        with self.console.status("running it without any action ..."), self.workers() as executor:
            if self.wanted.prepare is not None:
                self.plan = runner.prepared(executor, self.plan, self.wanted.prepare, longest)
            found = runner.survey(executor, self.plan, choice, longest)
        points = asked.possible(found.points, self.plan.action)
        return Report(
            {**self.wanted.settings(), "shard": shard},
            found.first,
            found.deadline if deadline is None else longest,
            asked.part(points, shard),
            [each.name for each in found.odd],
        )

    def _resumed(self, shard: str) -> Report | None:
        """The report in the JSON file, if there is one. Raises ValueError for one of another sweep."""
        from ..sweep.report import Report

        path = self.files["json"]
        if path is None:
            raise ValueError("--resume goes on with the report in a file: give it with --json FILE")
        if not path.exists():
            return None
        report = Report.read(path)
        mine = {**self.wanted.settings(), "shard": shard}
        odd = [each for each in mine if report.settings.get(each) != mine[each]]
        if odd:
            raise ValueError(f"{path} is of another sweep: it differs in {', '.join(odd)}")
        return report

    def _play(self, report: Report) -> None:
        """Play what is left, with a progress bar; an interruption keeps what is done."""
        from ..sweep import report_text, runner

        started, written, before = time.monotonic(), 0.0, report.seconds
        with self._progress() as progress:
            task = progress.add_task("", total=len(report.points), completed=len(report.outcomes))

            def tell(outcome: Outcome) -> None:
                nonlocal written
                report.outcomes[outcome.number] = outcome
                report.seconds = before + time.monotonic() - started
                if self.console.is_terminal and outcome in report.failing(self.allowed):
                    progress.console.print(report_text.line(outcome))
                progress.update(task, advance=1)
                if time.monotonic() - written > 1:
                    self._write(report, ("json",))
                    written = time.monotonic()

            try:
                left = report.left
                runner.sweep(self.workers, self.plan, report.first, left, report.deadline, tell)
                report.interrupted = False
            except KeyboardInterrupt:
                report.interrupted = True
        self._write(report)

    def _progress(self) -> Any:
        from rich import progress

        return progress.Progress(
            progress.SpinnerColumn(),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("points, remaining"),
            progress.TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )

    def _write(self, report: Report, kinds: tuple[str, ...] = ("json", "junit", "html", "svg")) -> None:
        from ..sweep import report_html, report_junit, report_svg

        for kind in kinds:
            path = self.files[kind]
            if path is None:
                continue
            if kind == "json":
                report.write(path)
            else:
                writers = {"junit": report_junit, "html": report_html, "svg": report_svg}
                writers[kind].write(report, path, self.allowed)


def _workers(dask: str | None, jobs: int | None) -> Workers:
    """Where points are played. Raises ValueError."""
    from ..sweep import runner

    if dask is None:
        return runner.local(jobs or runner.jobs())
    try:
        return runner.dask(dask)
    except ModuleNotFoundError:
        raise ValueError("--dask needs an extra: pip install 'cardtear[dask]'") from None


def _hear_the_end() -> None:
    """A request to end is as good as Ctrl-C."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
