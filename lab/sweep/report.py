# SPDX-License-Identifier: MIT
"""A sweep and what came of it, as one value: kept as JSON, taken up again by --resume, told by report_*.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ... import __version__
from ...card.files import input_file, json_text
from .command import Ended
from .outcome import FINE, CommandRun, PointOutcome, Verdict, tell
from .points import Point, parse

_LONGEST = 256 << 20
"""Bytes in the longest report that is taken up again; a point has about half a kilobyte."""

_REMEDY = "take it away, or give another file"


@dataclass
class Report:
    """`settings` says what was asked for: two reports with the same settings are of the same sweep.

    `odd` names points that came in one of two runs only, and that are not played.
    """

    settings: dict[str, Any]
    first: CommandRun
    deadline: float
    points: list[Point]
    odd: list[str] = field(default_factory=list)
    outcomes: dict[int, PointOutcome] = field(default_factory=dict)
    version: str = __version__
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def command(self) -> list[str]:
        """Return the command that was swept."""
        return list(self.settings["command"])

    @property
    def counts(self) -> Counter[Verdict]:
        """Return how many points have which verdict."""
        return Counter(each.verdict for each in self.outcomes.values())

    @property
    def left(self) -> list[Point]:
        """Return the points that have not been played."""
        return [each for each in self.points if each.number not in self.outcomes]

    def in_order(self) -> list[PointOutcome]:
        """Return the outcomes by number."""
        return [self.outcomes[number] for number in sorted(self.outcomes)]

    def failing(self, allowed: Iterable[Verdict] = ()) -> list[PointOutcome]:
        """Return the outcomes that are neither fine nor allowed."""
        good = FINE | set(allowed)
        return [each for each in self.in_order() if each.verdict not in good]

    def as_json(self) -> str:
        """Write the report as `read` reads it."""
        value = {
            "cardtear": self.version,
            "settings": self.settings,
            "first": asdict(self.first),
            "deadline": self.deadline,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "counts": {str(verdict): count for verdict, count in sorted(self.counts.items())},
            "points": [{"number": each.number, "name": each.name, "about": each.about} for each in self.points],
            "odd": self.odd,
            "outcomes": [{**asdict(each), "words": tell(each)} for each in self.in_order()],
        }
        return json.dumps(value, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a report. Raises OSError; ValueError for what is no report of this program."""
        content = input_file.read_regular(path, _LONGEST)
        try:
            value = json_text.loads(content)
        except ValueError as error:
            raise ValueError(f"{path} is not a report of a sweep ({error}); {_REMEDY}") from None
        try:
            points = [(parse(each["name"]), each) for each in value["points"]]
            outcomes = [PointOutcome.of_json(each) for each in value["outcomes"]]
            return cls(
                value["settings"],
                CommandRun(**{**value["first"], "ended": Ended(**value["first"]["ended"])}),
                value["deadline"],
                [Point(point.place, point.when, each["about"], each["number"]) for point, each in points],
                value["odd"],
                {each.number: each for each in outcomes},
                value["cardtear"],
                value["seconds"],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path} is not a report of a sweep; {_REMEDY}") from None
