# SPDX-License-Identifier: MIT
"""What is asked for on a command line, and how one asks for a point of it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...card.image.store import read_whole
from ...card.issuing.profiles import CardRequest, ready_image
from ...p11.quirks import Quirks
from ..processes import paths
from .outcome import FINE, Verdict
from .plan import Action, Plan, Then, pack
from .points import Choice, Point, parse

EVERYTHING = Choice(when=("before", "during", "after"))
"""Every moment there is, for points that are called by name."""

_OTHERS = ("Bob", "Alice")
"""Names on the card that `swap` puts in: the first that is not the card's own."""


@dataclass(frozen=True)
class Asked:
    """The settings of a sweep; two sweeps with the same ones have the same points. `card` is parameters of a card."""

    command: tuple[str, ...]
    at: str = "both"
    when: tuple[str, ...] = ("before",)
    action: str = "remove"
    then: tuple[str, ...] = ()
    prepare: str | None = None
    copy: str | None = None
    own_home: bool = False
    recover: str | None = None
    seed: int = 0
    quirks: tuple[str, ...] = ()
    card: tuple[str, ...] = ()
    """The options that describe the card, as they were given."""

    @property
    def choice(self) -> Choice:
        """Return which moments are points."""
        return Choice(self.at in ("calls", "both"), self.at in ("apdus", "both"), self.when)

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def plan(self, card: CardRequest | Path) -> Plan:
        """Make the plan. Raises ValueError, ImageError, OSError."""
        action = Action.parse(self.action, self.seed)
        if self.seed and action.verb != "garble":
            raise ValueError("--seed is for --action garble: nothing else is left to chance")
        then = tuple(Then.parse(each) for each in self.then)
        name = next(each for each in _OTHERS if isinstance(card, Path) or each != card.name)
        other = CardRequest(name=name) if isinstance(card, Path) else CardRequest(card.profile, name=name)
        own = b"" if self.prepare is not None else None
        folder = own if self.copy is None else pack(Path(self.copy), wants_all=True)
        Quirks.parse(self.quirks)  # what is wrong is said before anything runs
        images = _image(card), _image(other)
        return Plan(self.command, action, then, *images, folder, self.own_home, self.recover, self.quirks)


def possible(points: list[Point], action: Action) -> list[Point]:
    """Return the points at which the action can be, numbered anew. Raises ValueError if there is none."""
    problems = [action.problem(each) for each in points]
    found = [each for each, problem in zip(points, problems, strict=True) if problem is None]
    if not found:
        raise ValueError(next((each for each in problems if each), "there is no such point in the command's run"))
    return [Point(each.place, each.when, each.about, number) for number, each in enumerate(found, 1)]


def chosen(points: list[Point], names: list[str], action: Action) -> list[Point]:
    """Return points by number or name; a name need not be among the points. Raises ValueError."""
    by_number = {str(each.number): each for each in points}
    by_name = {each.name: each for each in points}
    found: list[Point] = []
    for name in names:
        if name.isdigit() and name not in by_number:
            raise ValueError(f"there is no point {name}; there are 1 to {len(points)}")
        point = by_number.get(name) or by_name.get(name) or parse(name)
        problem = action.problem(point)
        if problem is not None:
            raise ValueError(problem)
        found.append(point if point.number else replace(point, number=len(points) + len(found) + 1))
    return found


def part(points: list[Point], shard: str) -> list[Point]:
    """Return the i-th of n parts, as `2/4`. Raises ValueError."""
    first, _, count = shard.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise ValueError(f"a part of a sweep is called as 1/4, not {shard!r}")
    return points[int(first) - 1 :: int(count)]


def verdicts(names: list[str]) -> set[Verdict]:
    """Return the verdicts that are no failure. Raises ValueError."""
    known = [str(each) for each in Verdict if each not in FINE]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no verdict {name!r} to allow; there are: {', '.join(known)}")
    return {Verdict(name) for name in names}


def again(settings: Mapping[str, Any], point: str) -> str:
    """Return the command that plays one point of a sweep again."""
    words = ["cardtear", "sweep", "--only", point]
    for name in ("action", "prepare", "copy", "recover"):
        if settings[name] is not None and (name, settings[name]) != ("action", "remove"):
            words += [f"--{name}", settings[name]]
    words += [word for name in ("then", "quirks") for each in settings[name] for word in (f"--{name}", each)]
    words += ["--own-home"] * settings["own_home"] + (["--seed", str(settings["seed"])] if settings["seed"] else [])
    return shlex.join([*words, *settings["card"], "--", *settings["command"]])


def _image(card: CardRequest | Path) -> bytes:
    if not isinstance(card, Path):
        return ready_image(card, paths.image_cache(), paths.test_ca()).read_bytes()
    content, is_encrypted = read_whole(card)
    if is_encrypted:
        raise ValueError(
            f"{card} is encrypted, but the copies that runs have cannot be; "
            "sweep one that is not: cardtear card copy --no-passphrase"
        )
    return content
