# SPDX-License-Identifier: MIT
"""What is done at every point of a sweep: the command, the action, the card and the files that each run begins with.

A plan is plain values, so that it can be sent to another process or another machine.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...p11.constants import CKR
from ...p11.number_names import name_of
from ..simulator.moments import OnPlace
from ..simulator.trigger import Trigger
from ..simulator.value_types import return_value
from ..simulator.verbs import FAULTS, TABLE, Request, Use, usable
from .points import Point

READER = "front"
_UNITS = {"ms": 0.001, "s": 1.0}

_PLAIN = {name: row.sweep for name, row in TABLE.items() if row.sweep}
"""Actions without a value, and what they are for people."""


@dataclass(frozen=True)
class Action:
    """The action at a point: a verb or fault (simulator/verbs.py) and its arguments."""

    text: str
    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)
    words: str = ""

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Action:
        """As `remove`, `sw:6F00`, `rv:CKR_DEVICE_ERROR`, `delay:500ms`, `cut:1`. Raises ValueError."""
        name, colon, value = text.partition(":")
        if not colon and name in _PLAIN:
            arguments = {"seed": seed} if TABLE[name].is_fault else {"reader": READER}
            return cls(text, name, arguments, _PLAIN[name])
        if name == "sw" and re.fullmatch("[0-9A-Fa-f]{4}", value):
            return cls(text, "answer", {"status": int(value, 16)}, f"the card answers {value.upper()}")
        if name == "rv" and value:
            number = return_value(value)
            return cls(text, "return", {"value": number}, f"the call returns {name_of(CKR, number)}")
        if name == "delay" and value:
            return cls(text, "delay", {"seconds": span(value)}, f"it takes {value} longer")
        if name == "cut" and value.isdigit():
            return cls(text, "cut", {"length": int(value)}, f"only {value} bytes of the answer arrive")
        known = ", ".join((*_PLAIN, "sw:6F00", "rv:CKR_DEVICE_ERROR", "delay:500ms", "cut:1"))
        raise ValueError(f"there is no action {text!r}; there are: {known}")

    def problem(self, point: Point) -> str | None:
        """Return why this cannot be done at a point; None if it can."""
        if (fault := FAULTS.get(self.verb)) is not None:
            is_call = point.place.apdu is None
            what, other, possible = ("a call", "apdus", fault.calls) if is_call else ("an APDU", "calls", fault.apdus)
            if not possible:
                return f"--action {self.text} cannot be at {what}: choose --at {other}"
            if point.when not in possible:
                sides = " or ".join(f"--{side}" for side in possible)
                return f"--action {self.text} cannot be --{point.when} {what}: choose {sides}"
        try:
            Trigger(self.verb, self.arguments, OnPlace(point.place, point.when))  # type: ignore[arg-type]
        except ValueError as error:
            return str(error)
        return None


@dataclass(frozen=True)
class Then:
    """What follows so many seconds after the action."""

    verb: str
    delay: float

    @classmethod
    def parse(cls, text: str) -> Then:
        """As `insert:500ms`. Raises ValueError."""
        verb, colon, value = text.partition(":")
        if verb not in usable(Use.THEN):
            raise ValueError(
                f"after the action there can be {', '.join(usable(Use.THEN))}, as insert:500ms; not {text!r}"
            )
        return cls(verb, seconds(value) if colon else 0.0)


@dataclass(frozen=True)
class Plan:
    """A sweep without its points. `command` may hold {dir} (the run's own folder) and {module}.

    `image` is the card that every run begins with, `other` the one that `swap` puts in; `folder`, a tar archive, what
    lies in the run's own folder, in which the command runs then. `recover` is the shell command that shows whether all
    works again, None: the command itself; "": it is not asked.
    """

    command: tuple[str, ...]
    action: Action
    then: tuple[Then, ...] = ()
    image: bytes = field(default=b"", repr=False)
    other: bytes = field(default=b"", repr=False)
    folder: bytes | None = field(default=None, repr=False)
    own_home: bool = False
    recover: str | None = None
    quirks: tuple[str, ...] = ()

    def triggers(self, point: Point, other: Path) -> list[Trigger]:
        """Return what is armed for a run, in order: the action at the point, and what follows when it is done.

        What follows a fault counts from its beginning, for that may be a delay. An insertion is of the last card.
        """
        on = OnPlace(point.place, point.when)  # type: ignore[arg-type]
        arguments = dict(self.action.arguments)
        if self.action.verb == "swap":
            arguments["card"] = other
        later = []
        for then in self.then:
            more: dict[str, Any] = {"reader": READER}
            if then.verb == "swap":
                more["card"] = other
            later.append(Trigger("later", {"seconds": then.delay, "then": Request(then.verb, more)}, on))
        action = Trigger(self.action.verb, arguments, on)
        return [*later, action] if action.verb in FAULTS else [action, *later]


def seconds(text: str) -> float:
    """Parse a duration such as `500ms` or `2s`. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:[.][0-9]{1,9})?)(ms|s)", text)
    if match is None:
        raise ValueError(f"not a span of time: {text!r}; as 500ms or 2s")
    return float(match[1]) * _UNITS[match[2]]


MOST_BYTES = 256 << 20
"""Bytes of the files in the folder that each run begins with: every worker holds it in memory, and unpacks it anew."""
MOST_FILES = 100_000


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield what is in a folder, with its mode. Raises ValueError as soon as it is too much, OSError."""
    count = size = 0
    folders = [folder]
    while folders:
        for entry in os.scandir(folders.pop()):
            status = entry.stat(follow_symlinks=False)
            count += 1
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
            if count > MOST_FILES or size > MOST_BYTES:
                raise ValueError(
                    f"the folder {folder} is too large for a copy for each run: at most {MOST_BYTES >> 20} MiB in "
                    f"{MOST_FILES} files; copy a folder with what the command needs"
                )
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            yield Path(entry.path), status.st_mode


def span(text: str) -> float:
    """Parse a duration that is longer than zero. Raises ValueError."""
    if not (found := seconds(text)):
        raise ValueError(f"{text!r} is no time at all; as 500ms or 2s")
    return found


def pack(folder: Path, wants_all: bool = False) -> bytes:
    """Return a folder with everything in it but sockets as a tar archive.

    Raises ValueError for one that is too large, or with `wants_all` has pipes, sockets or devices in it; OSError.
    """
    for path, mode in _files(folder):  # before anything is held in memory
        if wants_all and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise ValueError(f"{path} is a pipe, socket or device, which no run can have a copy of; take it out")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack an archive of `pack`."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="tar")
