# SPDX-License-Identifier: MIT
"""The report of a sweep on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...card.shown import shown
from ...reader.trace import Trace
from ..processes import terminal
from ..processes.terminal import styled
from ..trace.records import follow
from ..trace.timeline import Timeline
from .outcome import MEANING, PointOutcome, Verdict, tell
from .report import Report
from .worker import Watch

STYLES = {
    Verdict.SUCCESS: ("✓", "green"),
    Verdict.CLEAN: ("✓", "green"),
    Verdict.UNREACHED: ("?", "yellow"),
    Verdict.RETRIED: ("↻", "magenta"),
    Verdict.STUCK: ("✗", "red"),
    Verdict.HANG: ("∞", "bold red"),
    Verdict.CRASH: ("✗", "bold white on red"),
    Verdict.BROKEN: ("!", "bold yellow"),
}
"""Sign and style of each verdict."""


def console(stream_is_errors: bool = False) -> Console:
    """Return a console, wide if it is not a terminal. What goes to standard error is printed beside the work."""
    return terminal.console(stream_is_errors, is_aside=stream_is_errors, width=200)


def table(report: Report, allowed: Collection[Verdict], all_points: bool = False) -> RenderableType:
    """Return how many points have which verdict, and the points that fail, by cause (or every point)."""
    groups = [[each] for each in report.in_order()] if all_points else _by_cause(report.failing(allowed))
    parts: list[RenderableType] = []
    if groups:
        rows = Table(box=None, pad_edge=False, header_style="dim")
        for name, justify in (("point", "right"), ("", "left"), ("where", "left"), ("what came of it", "left")):
            rows.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for group in groups:
            numbers = "\n".join(str(each.number) for each in group)
            first = group[0]
            words = styled(tell(first, timed=len(group) == 1), "dim")
            rows.add_row(numbers, badge(first.verdict), Text("\n").join(map(where, group)), words)
        parts += [rows, Text()]
    return Group(*parts, *_summary(report, allowed))


def _by_cause(outcomes: Iterable[PointOutcome]) -> list[list[PointOutcome]]:
    """Return the outcomes of which the same is said side by side, in the order of the first of each."""
    groups: dict[tuple[Verdict, str], list[PointOutcome]] = {}
    for each in outcomes:
        groups.setdefault((each.verdict, tell(each, timed=False)), []).append(each)
    return list(groups.values())


def line(outcome: PointOutcome) -> Text:
    """Write one point in one line."""
    return Text.assemble(
        f"{outcome.number:>5}  ", badge(outcome.verdict), "  ", where(outcome), "  ", (shown(tell(outcome)), "dim")
    )


def badge(verdict: Verdict) -> Text:
    """Write a verdict with its sign."""
    sign, style = STYLES[verdict]
    return Text(f"{sign} {verdict}", style)


def where(outcome: PointOutcome) -> Text:
    """Write a point's name, with what the APDU is."""
    about = f"  {outcome.about}" if outcome.about else ""
    return Text.assemble((shown(outcome.name), "cyan"), (shown(about), "dim"))


def _summary(report: Report, allowed: Collection[Verdict]) -> list[Text]:
    lines = []
    for verdict, count in sorted(report.counts.items(), key=lambda each: list(Verdict).index(each[0])):
        note = " (allowed)" if verdict in allowed else ""
        lines.append(Text.assemble(f"{count:>5}  ", badge(verdict), (f"  {MEANING[verdict]}{note}", "dim")))
    if report.odd:
        names = ", ".join(report.odd[:3]) + (" ..." if len(report.odd) > 3 else "")
        text = f"{len(report.odd):>5}  came in one of two runs only and are not played: {names}"
        lines.append(styled(text, "yellow"))
    if report.left:
        lines.append(Text(f"{len(report.left):>5}  not played yet; go on with --resume", "yellow"))
    return lines


def watching(out: Console) -> Watch:
    """Return a function that shows on a console what happens in a run, as it happens."""

    def watch(trace: Trace) -> Callable[[], None]:
        timeline = Timeline(out)
        stop = follow(trace, timeline.add)

        def end() -> None:
            stop()
            timeline.flush()

        return end

    return watch


def story(outcome: PointOutcome) -> RenderableType:
    """Return the outcome of a point that has been watched, and what the command printed."""
    output = outcome.run.ended.output if outcome.run is not None else ""
    parts: list[RenderableType] = [Text("it printed:", "dim"), _printed(output)]
    if outcome.again is not None:
        parts += [Text(f"with the card back: {outcome.again.words}", "dim"), _printed(outcome.again.output)]
    return Group(*parts, line(outcome))


def _printed(output: str) -> Text:
    return Text("\n").join(map(styled, output.rstrip().split("\n")))
