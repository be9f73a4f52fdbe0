# SPDX-License-Identifier: MIT
"""The points of a sweep: calls and APDUs of a program's run, each with a name under which it is found again."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from ...reader.reader import ApduMoment, Moment
from ..simulator.call_counter import CallCounter, Place
from ..trace.timeline import command_name

_NAME = re.compile(
    r"(?P<program>.+)#(?P<process>\d+):(?P<thread>\d+)/(?P<call>C_\w+)#(?P<nth>\d+)(?:/apdu#(?P<apdu>\d+))?"
    r"@(?P<when>before|during|after)"
)


@dataclass(frozen=True)
class Point:
    """A moment of a run. `about` names the APDU for people; `number` counts from 1 in a list of points."""

    place: Place
    when: str
    about: str = ""
    number: int = 0

    @property
    def name(self) -> str:
        """Return the name, as `pkcs11-tool#1:1/C_Sign#1/apdu#2@before`: program, process, thread, call, APDU."""
        place = self.place
        apdu = f"/apdu#{place.apdu}" if place.apdu is not None else ""
        where = f"{place.program}#{place.process}:{place.thread}/{place.call}#{place.nth}"
        return f"{where}{apdu}@{self.when}"


def parse(name: str) -> Point:
    """The point of a name. Raises ValueError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"not a point: {name!r}; a point is called as 'pkcs11-tool#1:1/C_Sign#1/apdu#2@before'")
    numbers = {each: int(match[each]) for each in ("process", "thread", "nth")}
    apdu = int(match["apdu"]) if match["apdu"] else None
    return Point(Place(match["program"], call=match["call"], apdu=apdu, **numbers), match["when"])


class Recorder:
    """A watcher of the testbed (testbed.py) that only notes where each moment lies."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._locator = CallCounter()
        self._lock = threading.Lock()

    def __call__(self, moment: Moment) -> None:
        with self._lock:
            place = self._locator.place(moment)
            if place is not None:
                about = command_name(moment.command) if isinstance(moment, ApduMoment) else ""
                self.points.append(Point(place, str(moment.when), about))


@dataclass(frozen=True)
class Choice:
    """Which moments of a run are points: of calls, of APDUs, on which side."""

    calls: bool = True
    apdus: bool = True
    when: tuple[str, ...] = ("before",)

    def __contains__(self, point: Point) -> bool:
        return point.when in self.when and (self.calls if point.place.apdu is None else self.apdus)


def common(first: Iterable[Point], second: Iterable[Point]) -> tuple[list[Point], list[Point]]:
    """Return the points that are in both recordings, numbered in the order of the first; and those in one only."""
    mine, theirs = {each.name: each for each in first}, {each.name: each for each in second}
    steady = [each for name, each in mine.items() if name in theirs]
    odd = [each for name, each in (mine | theirs).items() if name not in mine or name not in theirs]
    return [Point(each.place, each.when, each.about, number) for number, each in enumerate(steady, 1)], odd
