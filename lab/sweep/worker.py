# SPDX-License-Identifier: MIT
"""Plays one run: a simulator of its own, a copy of the card, a folder of its own, and nothing left afterwards.

The functions here are what a sweep submits to its executor: plain values in, plain values out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...card.card import Card
from ...csrc import module_path
from ...p11.quirks import Quirks
from ...reader.errors import TestbedError
from ...reader.reader import Event, Moment
from ...reader.trace import Trace
from ..control.simulator import Simulator
from ..processes import subreaper
from ..processes.temp_dir import TempDir
from ..simulator.trigger import Trigger
from .command import Ended, run
from .log import Log
from .outcome import FINE, CommandRun, PointOutcome, judge
from .plan import READER, Plan, pack, unpack
from .points import Point, Recorder

_ONE_AT_A_TIME = threading.Lock()
"""Children of this process that are not known are a run's own, so there may be one run at a time in a process."""

Watch = Callable[[Trace], Callable[[], None]]
"""Begins to show the trace of a run, and returns what ends that."""

_WHOLE = 500, 2000
"""Entries of the time line that are kept of a point that is watched: before the action, and from it on."""


def begin(folder: str, parent: int) -> None:
    """Prepare a process that plays runs only: it ends with its parent, and leaves nothing when it is ended.

    Temporary files go into a folder of its own in this one.
    """
    subreaper.end_with_parent()
    if os.getppid() != parent:  # gone before it could be asked for
        os._exit(1)
    own = tempfile.tempdir = tempfile.mkdtemp(dir=folder)

    def stop(_number: int, _frame: object) -> None:
        subreaper.end(set())
        shutil.rmtree(own, ignore_errors=True)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; the sweep says what follows
    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the parent, or its parent, has blocked
    subreaper.adopt()
    logging.getLogger("cardtear").setLevel(logging.CRITICAL)  # an action may find that it is too late


@dataclass(frozen=True)
class Bed:
    """What a run takes place in."""

    plan: Plan
    simulator: Simulator
    folder: Path
    card: Path
    other: Path
    own: Card
    """The card of the image `card`."""

    def run(self, command: tuple[str, ...], deadline: float) -> Ended:
        """Run a command; {dir} and {module} in its words are filled in. Raises OSError if it cannot be started."""
        values = {"{dir}": str(self.folder), "{module}": str(module_path())}
        words = [_filled(word, values) for word in command]
        return run(words, self._environment(), self.folder if self.plan.folder is not None else None, deadline)

    def bring_back(self) -> None:
        """Insert the card again, if it is out, and wait until it responds.

        After a garbled answer it is put in anew: what cannot be told from the truth is believed until then.
        """
        with contextlib.suppress(TestbedError):  # what was to come later may have come meanwhile
            self.simulator.plug(READER)
        insertion = self.simulator.testbed.reader(READER).insertion
        is_right = insertion is not None and not insertion.is_mute and insertion.card is self.own
        if is_right and self.plan.action.verb != "garble":
            return
        with contextlib.suppress(TestbedError):
            self.simulator.remove(READER)
        with contextlib.suppress(TestbedError):
            self.simulator.insert(READER, self.card)

    def _environment(self) -> dict[str, str]:
        temporary = self.folder.parent / "tmp"
        variables = {**os.environ, **self.simulator.environment, "CARDTEAR_DIR": str(self.folder)}
        variables["TMPDIR"] = str(temporary)
        if self.plan.own_home:
            variables["HOME"] = str(self.folder.parent / "home")
        return variables


@contextlib.contextmanager
def bed(plan: Plan) -> Iterator[Bed]:
    """Open a simulator with a copy of the plan's card in its reader, and a folder of the run's own."""
    with TempDir() as own_folder:
        scratch = own_folder.path
        for name in ("dir", "tmp", "home"):
            (scratch / name).mkdir(mode=0o700)
        if plan.folder:
            unpack(plan.folder, scratch / "dir")
        card, other = scratch / "card", scratch / "other"
        for path, image in ((card, plan.image), (other, plan.other)):
            path.touch(mode=0o600)
            path.write_bytes(image)
        with Simulator(quirks=Quirks.parse(plan.quirks)) as simulator:
            simulator.plug(READER)
            own = simulator.insert(READER, card)
            yield Bed(plan, simulator, scratch / "dir", card, other, own)


def prepare(plan: Plan, script: str, deadline: float) -> tuple[Ended, Plan]:
    """Run a shell command once; what it leaves in its folder and on the card every run begins with. Raises OSError."""
    with _ONE_AT_A_TIME, bed(plan) as place:
        ended = place.run(("sh", "-c", script), deadline)
        place.simulator.remove(READER)
        place.simulator.close()  # the image is whole and free
        return ended, replace(plan, image=place.card.read_bytes(), folder=pack(place.folder))


def record(plan: Plan, deadline: float) -> tuple[CommandRun, list[Point]]:
    """Run the command without any action: how it ended, and where a point could be. Raises OSError."""
    recorder = Recorder()
    with _ONE_AT_A_TIME, bed(plan) as place, place.simulator.testbed.watching(recorder):
        log = Log(place.own.name)
        stop = place.simulator.testbed.trace.add_part(log)
        ended = place.run(plan.command, deadline)
        stop()
    return _run(ended, log), recorder.points


def play(plan: Plan, first: CommandRun, point: Point, deadline: float, watch: Watch | None = None) -> PointOutcome:
    """Run the command with the action at the point, then once more with the card back. Who watches sees it live.

    Raises OSError if the command cannot be started.
    """
    with _ONE_AT_A_TIME:
        started = time.monotonic()
        with bed(plan) as place:
            log = Log(place.own.name, *_WHOLE) if watch else Log(place.own.name)
            testbed = place.simulator.testbed
            unwatch = watch(testbed.trace) if watch else None
            stop = testbed.trace.add_part(log)
            triggers = [_Marking(each, log) for each in plan.triggers(point, place.other)]
            for trigger in triggers:
                place.simulator.arm(trigger)
            ended = place.run(plan.command, deadline)
            done = _run(ended, log)
            stop()
            if unwatch:
                unwatch()
            again = None
            if plan.recover != "":
                place.bring_back()
                again = place.run(("sh", "-c", plan.recover) if plan.recover else plan.command, deadline)
        verdict = judge(first, done, again, triggers[0].fired > 0)
        more = done.more_than(first)
        spent = ended.seconds + (again.seconds if again is not None else 0.0)
        return PointOutcome(
            point.number,
            point.name,
            point.about,
            verdict,
            done,
            again,
            more.logins,
            more.verifies,
            overhead=time.monotonic() - started - spent,
            records=log.records() if watch or verdict not in FINE else [],
        )


class _Marking(Trigger):
    """Marks in the log the moment of the point, at which all triggers of a run fire."""

    def __init__(self, action: Trigger, log: Log) -> None:
        super().__init__(action.verb, action.arguments, action.on)
        self._log = log

    def fires(self, moment: Moment | Event | str | None) -> bool:
        """Return whether this is the moment, as every trigger does."""
        fired = super().fires(moment)
        if fired:
            self._log.mark()
        return fired


def _run(ended: Ended, log: Log) -> CommandRun:
    return CommandRun(
        ended,
        log.last,
        dict(log.failures),
        tuple(log.open_calls),
        log.logins,
        log.verifies,
        log.calls,
        log.apdus,
        tuple(log.repeats),
        log.strange,
    )


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word
