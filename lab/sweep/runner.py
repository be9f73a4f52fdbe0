# SPDX-License-Identifier: MIT
"""Plays the points of a sweep on any concurrent.futures.Executor."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

from . import children, worker
from .command import Ended
from .outcome import Outcome, Run, Verdict
from .plan import Plan
from .points import Choice, Point, common

T = TypeVar("T")

Workers = Callable[[], AbstractContextManager[Executor]]
"""Makes an executor, a new one when the last is broken."""

FIRST_DEADLINE = 120.0
"""Seconds that the first run may take, when nothing else is said."""

_MOST_TRIES = 2
_AHEAD = 64
"""Points that are handed to an executor before they are due: it is never idle, and an interruption ends soon."""


class NotSweepable(Exception):
    """The command cannot be swept; the message says why, and what it printed."""


@dataclass(frozen=True)
class Survey:
    """What the runs without the action have shown. `odd` are points that only one of them came to."""

    first: Run
    points: list[Point]
    odd: list[Point]

    @property
    def deadline(self) -> float:
        """Seconds that a run with the action may take: ten times as long as without it, and some for a busy machine."""
        return 3.0 + 10 * self.first.ended.seconds


def survey(executor: Executor, plan: Plan, choice: Choice, deadline: float = FIRST_DEADLINE) -> Survey:
    """Run the command twice without the action, to know its points. Raises NotSweepable."""
    first, points = _attempt(plan, executor.submit(worker.record, plan, deadline))
    _require_good(first)
    second, others = _attempt(plan, executor.submit(worker.record, plan, deadline))
    _require_good(second)
    if not points:
        raise NotSweepable("the command made no call of the module; does it load $CARDTEAR_MODULE ({module})?")
    steady, odd = common((each for each in points if each in choice), (each for each in others if each in choice))
    slower = max(first, second, key=lambda run: run.ended.seconds)
    most = {name: max(getattr(first, name), getattr(second, name)) for name in ("logins", "verifies")}
    return Survey(replace(first, ended=slower.ended, **most), steady, odd)


def prepared(executor: Executor, plan: Plan, script: str, deadline: float = FIRST_DEADLINE) -> Plan:
    """The plan with what a shell command leaves in the folder and on the card. Raises NotSweepable."""
    ended, plan = _attempt(plan, executor.submit(worker.prepare, plan, script, deadline))
    if ended.hung or ended.code != 0:
        raise NotSweepable(f"the preparation did not work: {ended.words}\n{ended.output}".rstrip())
    return plan


def sweep(
    workers: Workers,
    plan: Plan,
    first: Run,
    points: Iterable[Point],
    deadline: float,
    tell: Callable[[Outcome], None],
    whole: bool = False,
) -> None:
    """Play the points, in parallel; `tell` hears of each as it is done. An interruption ends what is being played.

    A point that is not reached, or with which a worker dies, is played once more.
    """
    children.adopt()  # what a worker that dies leaves behind
    known = children.children()
    tries = {point: 1 for point in points}
    todo = list(tries)
    try:
        while todo:
            todo = _round(workers, plan, first, todo, tries, (deadline, whole), tell)
    finally:
        children.end(known)


def _round(
    workers: Workers,
    plan: Plan,
    first: Run,
    todo: list[Point],
    tries: dict[Point, int],
    options: tuple[float, bool],
    tell: Callable[[Outcome], None],
) -> list[Point]:
    """Play until all is done or the executor is broken; what is left."""
    left = iter(todo)
    under_way: dict[Future[Outcome], Point] = {}
    again: list[Point] = []
    with workers() as executor:

        def more() -> None:
            for point in left:
                under_way[executor.submit(worker.play, plan, first, point, *options)] = point
                if len(under_way) >= _AHEAD:
                    return

        try:
            more()
            while under_way:
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    point = under_way.pop(future)
                    outcome = _outcome(point, future)
                    if outcome.verdict in (Verdict.UNREACHED, Verdict.BROKEN) and tries[point] < _MOST_TRIES:
                        tries[point] += 1
                        again.append(point)
                    else:
                        tell(replace(outcome, tries=tries[point]))
                more()
        except BrokenExecutor:
            pass  # while submitting; those under way are told one by one
        for future, point in under_way.items():
            outcome = _outcome(point, future)
            if outcome.verdict is not Verdict.BROKEN or tries[point] >= _MOST_TRIES:
                tell(replace(outcome, tries=tries[point]))
            else:
                tries[point] += 1
                again.append(point)
    return [*again, *left]


def _outcome(point: Point, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenExecutor:
        why = "the process that played it is gone"
    except Exception as error:  # of one run, which others need not share
        why = f"{type(error).__name__}: {error}"
    return Outcome(point.number, point.name, point.about, Verdict.BROKEN, words=why)


def local(jobs: int) -> Workers:
    """Processes on this machine, which are forked: what is imported here is there at once."""

    @contextlib.contextmanager
    def make() -> Iterator[Executor]:
        context = multiprocessing.get_context("fork")
        executor = ProcessPoolExecutor(jobs, context, initializer=worker.begin)
        before = set(multiprocessing.active_children())
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise
        finally:
            executor.shutdown(cancel_futures=True)

    return make


def dask(address: str) -> Workers:
    """A Dask cluster, by the address of its scheduler. Raises ModuleNotFoundError without the extra `dask`."""
    from distributed import Client

    @contextlib.contextmanager
    def make() -> Iterator[Executor]:
        with Client(address, set_as_default=False) as client:
            executor = client.get_executor(pure=False)
            try:
                yield executor
            finally:
                executor.shutdown(wait=False)

    return make


def jobs() -> int:
    """As many runs at a time as keep the processors busy while some of them wait."""
    return 2 * len(os.sched_getaffinity(0))


def _attempt(plan: Plan, future: Future[T]) -> T:
    try:
        return future.result()
    except OSError as error:
        raise NotSweepable(f"cannot run {plan.command[0]!r}: {error.strerror or error}") from None


def _require_good(run: Run) -> None:
    """What is not good without any action is no measure for what comes of one."""
    ended: Ended = run.ended
    if ended.hung:
        raise NotSweepable(
            f"without any action the command has not ended after {ended.seconds:.0f} s (see --deadline); it has no "
            f"terminal and nothing on its standard input. It printed:\n{ended.output}".rstrip()
        )
    if ended.code != 0:
        raise NotSweepable(f"the command fails without any action: {ended.words}\n{ended.output}".rstrip())
