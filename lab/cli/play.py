# SPDX-License-Identifier: MIT
"""The commands `play` and `scenarios`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...card.shown import shown
from ..processes import terminal
from ..processes.terminal import say, say_exactly
from .answers import errors, fail, writable
from .options import Json
from .parsing import App

if TYPE_CHECKING:
    from rich.console import Console

    from ..scenario.outcome import Outcome, StepResult
    from ..scenario.scenario import Scenario

app = App()


@app.command()
def play(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Scenario files, or names of those that `cardtear scenarios` lists.",
            show_default=False,
        ),
    ] = None,
    quirks: Annotated[
        list[str] | None,
        typer.Option(
            help="A quirk of the module, in addition to the scenario's own; several times.", show_default=False
        ),
    ] = None,
    broken: Annotated[
        bool,
        typer.Option(
            "--broken",
            help="Show the bug: play each scenario with the quirks of its `fails-with`, once for each.",
        ),
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML for CI.", show_default=False)] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write every call, APDU and event as JSON lines.", show_default=False)
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="Skip scenarios whose programs are not installed; without it they fail."),
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of scenario files and exit.")] = False,
    as_json: Json = False,
) -> None:
    """Play scenarios. Exit code: 0 when all pass, 1 when one does not, 2 when one cannot be read.

    A scenario of a bug (B01 ...) passes where the bug is absent, as with cardtear's module; --broken plays it with the
    bug, so that it fails. A scenario of findings/ passes while the fault of a real program is still there.
    """
    if schema and files:
        fail(as_json, "bad-request", f"--schema plays no scenario; leave out {files[0]!r}", 2)
    if schema:
        from ..scenario.schema import text

        say_exactly(text())
        return
    if not files:
        fail(as_json, "bad-request", "name scenario files, or scenarios that `cardtear scenarios` lists", 2)
    with errors(as_json, refused=2), _no_program_is_left_behind():
        scenarios = _loaded(files)
        inputs = [each for path, _, scenario in scenarios for each in (path, *scenario.sources(path.parent))]
        progress = _PlayProgress(as_json, to_errors=writable((junit, trace), as_json, inputs))
        _play(scenarios, quirks or [], broken, junit, trace, skip_missing, progress)


@app.command()
def scenarios(as_json: Json = False) -> None:
    """List the scenarios that come with cardtear, each with the command that shows its bug.

    A scenario of a bug passes with cardtear's module (cardtear play B05) and fails with the quirks of a broken one
    (--broken). A scenario of findings/ passes while the fault of a real program is still there.
    """
    from ..scenario import load
    from ..scenario.shipped import findings, shipped

    loaded = [load(path) for path in shipped()]
    found = [load(path) for path in findings()]
    rows = [(each.name, each.about, each.needs, f"cardtear play {each.name} --broken") for each in loaded]
    names = [f"findings/{each.name}" for each in found]
    rows += [(name, each.about, each.needs, f"cardtear play {name}") for name, each in zip(names, found, strict=True)]
    if as_json:
        say(json.dumps([dict(zip(("name", "about", "needs", "reproduce"), row, strict=True)) for row in rows]))
        return
    from . import tables

    tables.scenarios(rows)


@contextlib.contextmanager
def _no_program_is_left_behind() -> Iterator[None]:
    """End all programs of the scenario when SIGTERM or SIGKILL ends this one, as with Ctrl-C."""
    from ..processes.reaper import guarded_temporaries

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with guarded_temporaries():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _loaded(names: list[str]) -> list[tuple[Path, str, Scenario]]:
    """Read all of them first, so that nothing is played of a list with a mistake in it. Raises ScenarioError."""
    from ..scenario import ScenarioError, loads
    from ..scenario.loading import read
    from ..scenario.shipped import find

    try:
        texts = [(path, read(path)) for path in map(find, names)]
    except OSError as error:
        raise ScenarioError(f"{error.filename}: {error.strerror}") from None
    return [(path, text, loads(text, str(path), path.stem)) for path, text in texts]


def _play(
    scenarios: list[tuple[Path, str, Scenario]],
    quirks: list[str],
    broken: bool,
    junit: Path | None,
    trace: Path | None,
    skip_missing: bool,
    show: _PlayProgress,
) -> None:
    from ...card.files import output_file
    from ...p11.quirks import Quirks
    from ..scenario import Status, play_file
    from ..scenario.outcome import write_junit

    Quirks.parse(quirks)
    runs: list[tuple[Path, str, list[str]]] = [(path, text, []) for path, text, _ in scenarios]
    if broken:
        runs = [(path, text, failure.quirks) for path, text, scenario in scenarios for failure in scenario.broken]
    outcomes = []
    for path, text, more in runs:
        show.begins(path)
        outcomes.append(play_file(path, quirks=[*quirks, *more], progress=show.step, text=text))
        show.ends(outcomes[-1])
    if junit is not None:
        write_junit(junit, outcomes)
    if trace is not None:
        lines = (json.dumps({"scenario": each.title, **record}) for each in outcomes for record in each.records)
        output_file.write(trace, "".join(f"{line}\n" for line in lines))
    show.total(outcomes, broken)
    fine = {Status.PASSED, Status.SKIPPED} if skip_missing else {Status.PASSED}
    if any(each.status not in fine for each in outcomes):
        raise typer.Exit(1)


class _PlayProgress:
    """Prints a line for each scenario, and of one that fails the reason and the time line."""

    def __init__(self, as_json: bool, to_errors: bool) -> None:
        self._console: Console | None = None if as_json else terminal.console(to_errors)
        self._steps = 0

    def begins(self, path: Path) -> None:
        self._steps = 0
        self._update(path.stem)

    def step(self, result: StepResult) -> None:
        self._steps += 1
        self._update(f"step {result.number}: {result.text}")

    def _update(self, text: str) -> None:
        """Replace the line of the current step; on a terminal only."""
        if self._console is not None and self._console.is_terminal:
            self._console.file.write(f"\r\x1b[K{shown(text)[: self._console.width - 1]}")

    def ends(self, outcome: Outcome) -> None:
        if self._console is None:
            return
        self._update("")
        sign, style = _SIGNS[outcome.status]
        head = terminal.styled(f"{sign} {outcome.title}", f"bold {style}").append(f"  {outcome.seconds:.1f} s", "none")
        self._console.print(head, soft_wrap=True)
        if outcome.message:
            for line in outcome.message.split("\n"):
                self._console.print(terminal.styled(line, style), soft_wrap=True)
        if outcome.status in ("failed", "error"):
            self._time_line(outcome)

    def _time_line(self, outcome: Outcome) -> None:
        from ..trace.timeline import Timeline

        assert self._console is not None
        timeline = Timeline(self._console, most_apdus=3, folds=True)
        for record in outcome.records:
            timeline.add(record)
        timeline.flush()

    def total(self, outcomes: list[Outcome], broken: bool) -> None:
        if self._console is None:
            say(json.dumps([each.as_json() for each in outcomes]))
            return
        counts: dict[str, Any] = {}
        for each in outcomes:
            counts[each.status.value] = counts.get(each.status.value, 0) + 1
        text = ", ".join(f"{count} {status}" for status, count in counts.items())
        if broken:
            text += "; with --broken a scenario is expected to fail, for its quirks are the bug"
        self._console.print(text)


_SIGNS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "error": ("!", "red"),
    "skipped": ("-", "yellow"),
}
