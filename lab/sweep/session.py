# SPDX-License-Identifier: MIT
"""A sweep as a person runs it: begun or resumed, with its progress on a terminal, and its report in files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from rich import progress

from ...card.files import output_file
from ...card.wording import counted
from ..processes.terminal import styled
from . import options, report_html, report_junit, report_svg, report_text, runner
from .options import Asked
from .outcome import PointOutcome, Verdict
from .plan import Plan, span
from .points import Choice
from .report import Report
from .runner import Workers


class SweepSession:
    """One use of `cardtear sweep`: what is asked for, where it is played, and where it is told."""

    def __init__(
        self,
        wanted: Asked,
        plan: Plan,
        workers: Workers,
        allowed: set[Verdict],
        files: dict[str, Path | None],
        is_printed: bool = False,
    ) -> None:
        """`is_printed`: one of the files is standard output, and what is for people goes to standard error."""
        self.wanted, self.plan, self.workers, self.allowed, self.files = wanted, plan, workers, allowed, files
        self.out = report_text.console(stream_is_errors=is_printed)
        self.console = report_text.console(stream_is_errors=True)

    def all(self, shard: str, resume: bool, deadline: str | None, all_points: bool) -> int:
        """Sweep all points, or those that are left; return the exit code."""
        report = self._resumed(shard) if resume else None
        if report is None or (report.left and self.wanted.prepare is not None):
            fresh = self._begun(shard, deadline, self.wanted.choice)
            report = report or fresh
        self.console.print(
            f"{counted(len(report.points), 'point')} of {report.first.made}, "
            f"{self.plan.action.words}; deadline {report.deadline:.1f} s, seed {self.wanted.seed}"
        )
        self._play(report)
        self.out.print(report_text.table(report, self.allowed, all_points))
        self._write(report)
        if report.interrupted:
            return 130
        return 1 if report.failing(self.allowed) else 0

    def only(self, names: list[str], deadline: str | None) -> int:
        """Play single points, and show all that happens."""
        self._require_no_more(len(names))
        by_name = not any(each.isdigit() for each in names)
        report = self._begun("1/1", deadline, options.EVERYTHING if by_name else self.wanted.choice)
        points = options.chosen(report.points, names, self.plan.action)
        out = self.out
        watch = report_text.watching(out)
        report.points, report.settings = points, {**report.settings, "only": names}

        def tell(outcome: PointOutcome) -> None:
            report.outcomes[outcome.number] = outcome
            out.print(report_text.story(outcome))

        for point in points:
            out.print(styled(f"{point.name}: {self.plan.action.words}"))
            runner.sweep(runner.here, self.plan, report.first, [point], report.deadline, tell, watch)
        self._write(report)
        return 1 if report.failing(self.allowed) else 0

    def _begun(self, shard: str, deadline: str | None, choice: Choice) -> Report:
        """Return a report with nothing played yet."""
        longest = runner.FIRST_DEADLINE if deadline is None else span(deadline)
        with self.console.status("running it without any action ..."), self.workers(1) as executor:
            if self.wanted.prepare is not None:
                self.plan = runner.prepared(executor, self.plan, self.wanted.prepare, longest)
            found = runner.survey(executor, self.plan, choice, longest)
        points = options.possible(found.points, self.plan.action)
        return Report(
            {**self.wanted.settings(), "shard": shard},
            found.first,
            found.deadline if deadline is None else longest,
            options.part(points, shard),
            [each.name for each in found.odd],
        )

    def _resumed(self, shard: str) -> Report | None:
        """Return the report in the JSON file, if there is one. Raises ValueError for one of another sweep."""
        path = self.files["json"]
        if path is None:
            raise ValueError("--resume goes on with the report in a file: give it with --json FILE")
        if not path.is_file():
            return None
        report = Report.read(path)
        mine = {**self.wanted.settings(), "shard": shard}
        odd = [each for each in mine if report.settings.get(each) != mine[each]]
        if odd:
            raise ValueError(f"{path} is of another sweep: it differs in {', '.join(odd)}")
        if report.settings.get("only"):
            raise ValueError(f"{path} has nothing but the points that --only has named; there is nothing to go on with")
        return report

    def _require_no_more(self, count: int) -> None:
        """Refuse to write so many points over the report of a whole sweep. Raises ValueError."""
        path = self.files["json"]
        if path is None or not path.is_file():
            return
        try:
            kept = Report.read(path)
        except ValueError:
            return
        if len(kept.points) > count:
            raise ValueError(f"{path} has a sweep of {counted(len(kept.points), 'point')}; give --only another file")

    def _play(self, report: Report) -> None:
        """Play what is left, with a progress bar; an interruption keeps what is done."""
        started, written, before = time.monotonic(), 0.0, report.seconds
        with self._progress() as bar:
            task = bar.add_task("", total=len(report.points), completed=len(report.outcomes))

            def tell(outcome: PointOutcome) -> None:
                nonlocal written
                report.outcomes[outcome.number] = outcome
                report.seconds = before + time.monotonic() - started
                if self.console.is_terminal and outcome in report.failing(self.allowed):
                    bar.console.print(report_text.line(outcome))
                bar.update(task, advance=1)
                if time.monotonic() - written > 1:
                    self._keep(report)
                    written = time.monotonic()

            try:
                left = report.left
                runner.sweep(self.workers, self.plan, report.first, left, report.deadline, tell)
                report.interrupted = False
            except KeyboardInterrupt:
                report.interrupted = True

    def _progress(self) -> progress.Progress:
        return progress.Progress(
            progress.SpinnerColumn(),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("points, remaining"),
            progress.TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )

    def _write(self, report: Report) -> None:
        """Write all files that are asked for. Raises the first OSError when the others are written."""
        texts: dict[str, Callable[[], str]] = {
            "json": report.as_json,
            "junit": lambda: report_junit.text(report, self.allowed),
            "html": lambda: report_html.page(report, self.allowed),
            "svg": lambda: report_svg.picture(report, self.allowed),
        }
        failures = []
        for kind, text in texts.items():
            if (path := self.files[kind]) is not None:
                try:
                    output_file.write(path, text())
                except OSError as error:
                    failures.append(error)
        for failure in failures:
            raise failure

    def _keep(self, report: Report) -> None:
        """Write what is done so far where it is replaced by what comes later. A failure is told at the end."""
        path = self.files["json"]
        with contextlib.suppress(OSError):
            if path is not None and output_file.is_replaced(path):
                output_file.write(path, report.as_json())
