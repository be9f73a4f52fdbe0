# SPDX-License-Identifier: MIT
"""What came of a scenario, and the same for CI: JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from pathlib import Path
from typing import Any

from ...card.files import output_file
from ...card.shown import lines
from ..trace.junit import document
from ..trace.records import Record


@unique
class Status(StrEnum):
    """PASSED or FAILED as the scenario says; ERROR when it could not be played; SKIPPED when a program is not there."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class StepResult:
    """One step: its number ("3", in a repetition "3.1"), what it says, how long it took, and what was wrong."""

    number: str
    text: str
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario. `message` says what was awaited and what came instead; `records` is the time line.

    `quirks` are those that it was played with beside its own. One that passes has a message, too, if that is no good
    news: a finding, whose fault is still there.
    """

    name: str
    about: str
    status: Status
    seconds: float
    message: str = ""
    steps: list[StepResult] = field(default_factory=list)
    records: list[Record] = field(default_factory=list, repr=False)
    quirks: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Return the name, with the quirks."""
        return f"{self.name} with {' '.join(self.quirks)}" if self.quirks else self.name

    @property
    def passed(self) -> bool:
        """Return whether the scenario passed."""
        return self.status is Status.PASSED

    def as_json(self) -> dict[str, Any]:
        """Return the outcome for programs, without the time line."""
        steps = [vars(step) for step in self.steps]
        return {
            "name": self.name,
            "about": self.about,
            "quirks": self.quirks,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "message": self.message,
            "steps": steps,
        }


def write_junit(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write one test case for each scenario. Raises OSError."""
    outcomes = list(outcomes)
    counts = {status: sum(each.status is status for each in outcomes) for status in Status}
    suite = ElementTree.Element(
        "testsuite",
        name="cardtear",
        tests=str(len(outcomes)),
        failures=str(counts[Status.FAILED]),
        errors=str(counts[Status.ERROR]),
        skipped=str(counts[Status.SKIPPED]),
        time=f"{sum(each.seconds for each in outcomes):.3f}",
    )
    for each in outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="scenarios", name=lines(each.title), time=f"{each.seconds:.3f}"
        )
        if not each.passed:
            kind = {Status.FAILED: "failure", Status.ERROR: "error", Status.SKIPPED: "skipped"}[each.status]
            first = each.message.partition("\n")[0]
            ElementTree.SubElement(case, kind, message=lines(first)).text = lines(each.message)
    output_file.write(path, document(suite))
