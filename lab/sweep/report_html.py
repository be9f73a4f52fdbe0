# SPDX-License-Identifier: MIT
"""The report of a sweep as one HTML page that needs nothing else: a map of all points, and the time line of each that
fails. Its looks are in report.html.
"""

from __future__ import annotations

import html
import io
import shlex
from collections.abc import Collection, Iterable
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console
from rich.text import Text

from ...card.shown import lines
from ...card.wording import counted
from ..trace.records import Record
from ..trace.timeline import Timeline
from .options import again
from .outcome import MEANING, PointOutcome, Verdict, tell
from .points import Point
from .report import Report

_SIGNS = {
    Verdict.UNREACHED: "?",
    Verdict.RETRIED: "P",
    Verdict.STUCK: "R",
    Verdict.HANG: "H",
    Verdict.CRASH: "C",
    Verdict.BROKEN: "!",
}
"""A letter on the map for those who do not tell colours apart."""

_CLASSES = {"on": "event", "red": "bad", "green": "ok", "yellow": "warn", "cyan": "call", "dim": "dim", "grey62": "dim"}
"""Words in the time line's styles, and what they are on the page; the first that fits."""


def escape(text: str) -> str:
    """Return text from outside as HTML, control characters shown."""
    return html.escape(lines(text))


def page(report: Report, allowed: Collection[Verdict]) -> str:
    """Return the page."""
    failing = report.failing(allowed)
    settings = report.settings
    command = shlex.join(report.command)
    points = f"{counted(len(report.points), 'point')}, {len(report.outcomes)} played in {report.seconds:.1f} s"
    first = f"{report.first.made} in {report.first.ended.seconds:.2f} s"
    then = "".join(f", then {each}" for each in settings["then"])
    values = {
        "title": f"cardtear sweep: {command}",
        "headline": f"cardtear sweep — {settings['action']}{then}, {' and '.join(settings['when'])}",
        "command": command,
        "facts": f"{points}; without any action {first}; deadline {report.deadline:.1f} s; seed {settings['seed']}",
        "failing_title": f"Points that fail ({len(failing)})",
        "all_title": f"{counted(len(report.outcomes), 'point')}, one line each",
        "version": report.version,
    }
    parts = {
        "notices": "".join(f'<p class="notice">{escape(each)}</p>' for each in _notices(report)),
        "tiles": "".join(_tile(verdict, report.counts[verdict], verdict in allowed) for verdict in Verdict),
        "map": "".join(_map(report, {each.number for each in failing})),
        "failing": "".join(_point(each, report) for each in failing) or "<p>None.</p>",
        "rows": "".join(map(_row, report.in_order())),
    }
    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    return template.substitute({name: escape(value) for name, value in values.items()} | parts)


def _notices(report: Report) -> Iterable[str]:
    if report.left:
        left = counted(len(report.left), "point has", "points have")
        yield f"{left} not been played: the sweep was interrupted. Go on with --resume."
    if report.odd:
        yield (
            f"{counted(len(report.odd), 'point')} came in one of two runs without action only, and not played: "
            + ", ".join(report.odd[:5])
            + (" ..." if len(report.odd) > 5 else "")
        )


def _tile(verdict: Verdict, count: int, is_allowed: bool) -> str:
    if not count:
        return ""
    note = " (allowed)" if is_allowed else ""
    return (
        f'<li class="tile {_class(verdict)}" title="{escape(MEANING[verdict])}">'
        f"<b>{count}</b><span>{escape(verdict)}{note}</span></li>"
    )


def _map(report: Report, failing: Collection[int]) -> Iterable[str]:
    """Return a row for each call, with a cell for each of its points: the call's own first, then its APDUs."""
    for place, points in groupby(report.points, key=lambda each: each.place._replace(apdu=None)):
        name = f"{place.program}#{place.process}:{place.thread} {place.call}#{place.nth}"
        cells = "".join(_cell(point, report.outcomes.get(point.number), failing) for point in points)
        yield f'<div class="row"><span class="name">{escape(name)}</span><div class="cells">{cells}</div></div>'


def _cell(point: Point, outcome: PointOutcome | None, failing: Collection[int]) -> str:
    verdict = "waiting" if outcome is None else outcome.verdict
    kind = "cell call" if point.place.apdu is None else "cell"
    words = f"{point.number} {point.name} {point.about}: {verdict}".replace(" :", ":")
    attributes = f'class="{kind} {_class(verdict)}" title="{escape(words)}" aria-label="{escape(words)}"'
    sign = _SIGNS.get(outcome.verdict, "") if outcome is not None else ""
    if point.number in failing:
        return f'<a href="#p{point.number}" {attributes}>{sign}</a>'
    return f'<span role="img" {attributes}>{sign}</span>'


def _point(outcome: PointOutcome, report: Report) -> str:
    """Return a point that fails: its outcome, time line and output, and how to play it again."""
    run, then = outcome.run, outcome.again
    sections = [("Play it again", f'<pre class="again">{escape(again(report.settings, outcome.name))}</pre>')]
    if outcome.records:
        sections.append(("Time line", f'<pre tabindex="0">{_timeline(outcome.records)}</pre>'))
    if run is not None:
        sections.append((f"It printed ({run.ended.words})", _output(run.ended.output)))
    if then is not None:
        sections.append((f"With the card back it printed ({then.words})", _output(then.output)))
    inside = "".join(f"<h3>{escape(title)}</h3>{body}" for title, body in sections)
    return (
        f'<details class="point {_class(outcome.verdict)}" id="p{outcome.number}"><summary>'
        f'<span class="number">{outcome.number}</span><span class="badge">{escape(outcome.verdict)}</span>'
        f'<span class="name">{escape(_where(outcome))}</span><span class="what">{escape(tell(outcome))}</span>'
        f'</summary><div class="inside">{inside}</div></details>'
    )


def _row(outcome: PointOutcome) -> str:
    return (
        f'<tr class="{_class(outcome.verdict)}"><td>{outcome.number}</td>'
        f'<td><span class="badge">{escape(outcome.verdict)}</span></td>'
        f'<td class="name">{escape(_where(outcome))}</td><td>{escape(tell(outcome))}</td></tr>'
    )


def _output(text: str) -> str:
    return f'<pre tabindex="0">{escape(text.rstrip())}</pre>' if text.strip() else '<p class="soft">nothing</p>'


def _where(outcome: PointOutcome) -> str:
    return f"{outcome.name}  {outcome.about}".rstrip()


def _class(verdict: str) -> str:
    return str(verdict).replace(" ", "-")


class _Lines(Console):
    """Takes what a time line prints, with its styles."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO())
        self.parts: list[str] = []

    def print(self, *objects: Any, end: str = "\n", **_options: Any) -> None:
        """Keep it as HTML."""
        for each in objects:
            self.parts.append(_marked(each) if isinstance(each, Text) else escape(str(each)))
        self.parts.append(end)


def _timeline(records: Iterable[Record]) -> str:
    printed = _Lines()
    timeline = Timeline(printed)
    for record in records:
        timeline.add(record)
    timeline.flush()
    return "".join(printed.parts)


def _marked(text: Text) -> str:
    """Return a text with its spans, which do not overlap, as HTML."""
    parts, position = [], 0
    for span in text.spans:
        words = str(span.style).split()
        name = next((name for word, name in _CLASSES.items() if word in words), "")
        parts.append(escape(text.plain[position : span.start]))
        parts.append(f'<span class="t-{name}">{escape(text.plain[span.start : span.end])}</span>')
        position = span.end
    return "".join(parts) + escape(text.plain[position:])
