# SPDX-License-Identifier: MIT
"""Plays scenarios: each with a simulator of its own, step by step, to an outcome."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from ...card.profiles import ProfileError
from ...card.store import ImageError
from ..records import as_record
from .model import Scenario
from .outcome import Outcome, Status, StepResult
from .quirks import parse
from .stage import Stage, StepFailed
from .steps import Repeat

LOG = logging.getLogger(__name__)

Progress = Callable[[StepResult], None]


def play(
    scenario: Scenario,
    *,
    quirks: Sequence[str] = (),
    here: Path | None = None,
    lines: Sequence[int] = (),
    origin: str = "",
    progress: Progress | None = None,
) -> Outcome:
    """Play a scenario to its outcome; never raises for what happens in it, and never takes longer than its deadline.

    `quirks` are added to the scenario's own, `here` is the folder to which its paths are relative. `lines` are the lines
    of its steps in the file `origin`, for messages. `progress` hears of every step.
    """
    started = monotonic()
    performance = _Performance(scenario, origin, lines, progress)
    missing = [name for name in scenario.needs if shutil.which(name) is None]
    if missing:
        status, message = Status.SKIPPED, f"needs {', '.join(missing)}, which is not installed"
    else:
        status, message = performance.run(here or Path.cwd(), [*scenario.quirks, *quirks])
    return Outcome(
        scenario.name,
        scenario.about,
        status,
        monotonic() - started,
        message,
        performance.results,
        [as_record(entry) for entry in performance.entries],
    )


class _Performance:
    def __init__(self, scenario: Scenario, origin: str, lines: Sequence[int], progress: Progress | None) -> None:
        self._scenario = scenario
        self._origin = origin
        self._lines = lines
        self._progress = progress
        self.results: list[StepResult] = []
        self.entries: list[Any] = []

    def run(self, here: Path, quirks: list[str]) -> tuple[Status, str]:
        """From the first to the last step, or to the first that fails."""
        try:
            with Stage(self._scenario, here, parse(quirks)) as stage:
                try:
                    return self._steps(stage)
                finally:
                    self.entries = stage.history.entries()
        except (ImageError, ProfileError, OSError, ValueError) as error:
            return Status.ERROR, f"{self._origin or self._scenario.name}: cannot be played: {error}"

    def _steps(self, stage: Stage) -> tuple[Status, str]:
        for number, step, top in _numbered(self._scenario.steps):
            started = monotonic()
            status, message = Status.PASSED, ""
            try:
                stage.do(step)
            except StepFailed as failure:
                status, message = Status.FAILED, str(failure)
            except Exception as error:
                LOG.exception("step %s", number)
                status, message = Status.ERROR, f"{type(error).__name__}: {error}"
            result = StepResult(number, words(step), monotonic() - started, message)
            self.results.append(result)
            if self._progress is not None:
                self._progress(result)
            if status is not Status.PASSED:
                place = f"{self._origin}:{self._lines[top]}" if top < len(self._lines) else self._scenario.name
                return status, f"{place}: step {number}, {result.text}: {message}"
        return Status.PASSED, ""


def _numbered(steps: Sequence[Any]) -> Iterator[tuple[str, Any, int]]:
    """Every step with its number, as often as it is repeated, and the number of the outermost from 0."""
    for top, step in enumerate(steps):
        for number, each in _unrolled(str(top + 1), step):
            yield number, each, top


def _unrolled(number: str, step: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(step, Repeat):
        yield number, step
        return
    for turn in range(1, step.repeat + 1):
        for inner, each in enumerate(step.steps, 1):
            for name, found in _unrolled(f"{number}.{inner}", each):
                yield f"{name} (round {turn})", found


def words(step: Any) -> str:
    """A step in one line, as YAML has it."""
    from .wording import in_one_line

    return in_one_line(step)
