# SPDX-License-Identifier: MIT
"""Plays scenarios: each with a simulator of its own, step by step, to an outcome."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from ...card.image.store import ImageError
from ...card.issuing.profiles import ProfileError
from ...card.shown import shown
from ...p11.quirks import Quirks
from ...reader.observers import Watcher
from ..trace.records import as_record
from . import in_pcsc
from .execution import Execution
from .failure import StepFailed
from .fields import in_words
from .loading import Place, loads_with_lines, read
from .needs import lacking
from .outcome import Outcome, Status, StepResult
from .scenario import Scenario
from .steps import Repeat
from .wording import in_one_line, secrets_of

LOG = logging.getLogger(__name__)

Progress = Callable[[StepResult], None]


def play(
    scenario: Scenario | Path | str,
    *,
    quirks: Sequence[str] = (),
    here: Path | None = None,
    lines: Mapping[Place, int] | None = None,
    origin: str = "",
    progress: Progress | None = None,
) -> Outcome:
    """Play a scenario to its outcome; never raises for what happens in it, and never takes longer than its deadline.

    A path is that of a file, as for `play_file`, from which then `here`, `lines` and `origin` come.

    `quirks` are added to the scenario's own, `here` is the folder to which its paths are relative. `lines` are the
    lines of its steps (by place, ("steps", 0)) in the file `origin`, for messages. `progress`, a watcher, hears of
    every step.
    """
    if isinstance(scenario, str | Path):
        return play_file(Path(scenario), quirks=quirks, progress=progress)
    started = monotonic()
    watcher = Watcher(progress, f"the progress {progress!r}") if progress is not None else None
    run = ScenarioRun(scenario, origin, lines or {}, watcher.tell if watcher is not None else None)
    if reason := _unmet(scenario):
        status, message = Status.SKIPPED, reason
    else:
        status, message = run.play(here or Path.cwd(), [*scenario.quirks, *quirks])
    if watcher is not None:
        watcher.close()
    if scenario.finding:
        message = "\n".join(filter(None, (message, _OF_FINDINGS.get(status))))
    return Outcome(
        scenario.name,
        scenario.about,
        status,
        monotonic() - started,
        message,
        run.results,
        [as_record(entry) for entry in run.entries],
        list(quirks),
    )


def _unmet(scenario: Scenario) -> str:
    """Return what the scenario needs and this machine does not have, "" if it has everything."""
    if reason := lacking(scenario.needs):
        return reason
    missing = in_pcsc.missing() if scenario.pcsc else None
    return "" if missing is None else f"needs PC/SC: {missing}"


_OF_FINDINGS = {
    Status.PASSED: "the fault is still there",
    Status.FAILED: "the fault does not show any more, or otherwise: is the program mended, or another one installed?",
}
"""What the outcome of a scenario means that plays a fault."""


class ScenarioRun:
    """One scenario played from its first step to its last, or to the first that fails."""

    def __init__(self, scenario: Scenario, origin: str, lines: Mapping[Place, int], progress: Progress | None) -> None:
        self._scenario = scenario
        self._origin = origin
        self._lines = lines
        self._progress = progress
        self._secrets = secrets_of(scenario)
        self.results: list[StepResult] = []
        self.entries: list[Any] = []

    def play(self, here: Path, quirks: list[str]) -> tuple[Status, str]:
        """Play the steps up to the first that fails; return what came of them."""
        try:
            with Execution(self._scenario, here, Quirks.parse(quirks)) as execution:
                try:
                    return self._steps(execution)
                finally:
                    self.entries = execution.history.entries()
        except (ImageError, ProfileError, OSError, ValueError) as error:
            return Status.ERROR, f"{shown(self._origin or self._scenario.name)}: cannot be played: {error}"

    def _open(self, text: str) -> str:
        """Return the text without the PINs and PUKs of the scenario's cards."""
        return self._secrets.sub("<PIN>", text) if self._secrets is not None else text

    def _steps(self, execution: Execution) -> tuple[Status, str]:
        for number, place, step in _numbered(self._scenario.steps):
            started = monotonic()
            status, message = Status.PASSED, ""
            try:
                execution.do(step)
            except StepFailed as failure:
                status, message = Status.FAILED, str(failure)
                if monotonic() >= execution.deadline:
                    message += f"\n(the scenario's deadline of {in_words(self._scenario.deadline)} is over)"
                if "has ended" not in message:
                    message = "\n".join((message, *execution.ends))
            except Exception as error:
                LOG.exception("step %s", number)
                status, message = Status.ERROR, f"{type(error).__name__}: {error}"
            result = StepResult(number, self._open(in_one_line(step)), monotonic() - started, self._open(message))
            self.results.append(result)
            if self._progress is not None:
                self._progress(result)
            if status is not Status.PASSED:
                where = f"{shown(self._origin)}:{self._lines[place]}" if place in self._lines else self._scenario.name
                return status, f"{where}: step {number}, {result.text}: {result.message}"
        return Status.PASSED, ""


def _numbered(steps: Sequence[Any]) -> Iterator[tuple[str, Place, Any]]:
    """Iterate over every step with its number and location, as often as it is repeated."""
    for top, step in enumerate(steps):
        yield from _unrolled(str(top + 1), ("steps", top), step)


def _unrolled(number: str, place: Place, step: Any) -> Iterator[tuple[str, Place, Any]]:
    if not isinstance(step, Repeat):
        yield number, place, step
        return
    for turn in range(1, step.repeat + 1):
        for inner, each in enumerate(step.steps):
            for name, where, found in _unrolled(f"{number}.{inner + 1}", (*place, "steps", inner), each):
                yield f"{name} (round {turn})", where, found


def play_file(
    path: Path, *, quirks: Sequence[str] = (), progress: Progress | None = None, text: str | None = None
) -> Outcome:
    """Play the scenario in a file, which is not read where its `text` is given: nothing comes out of a pipe twice.

    Raises ScenarioError and OSError when it cannot be read.
    """
    text = read(path) if text is None else text
    scenario, lines = loads_with_lines(text, str(path), path.stem)
    here = Path(os.path.realpath(path)).parent
    return play(scenario, quirks=quirks, here=here, lines=lines, origin=str(path), progress=progress)
