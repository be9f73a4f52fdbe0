# SPDX-License-Identifier: MIT
"""Plays the points of a sweep on any concurrent.futures.Executor."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..processes import subreaper
from ..processes.reaper import guarded_folder, guarded_temporaries
from . import worker
from .command import Ended
from .outcome import CommandRun, PointOutcome, Verdict
from .plan import Plan
from .points import Choice, Point, common

T = TypeVar("T")

Workers = Callable[[int], AbstractContextManager[Executor]]
"""Makes an executor for so many tasks, a new one when the last is broken."""

FIRST_DEADLINE = 120.0
"""Seconds that the first run may take, when nothing else is said."""

_DOUBTFUL = frozenset({Verdict.UNREACHED, Verdict.HANG, Verdict.STUCK})
"""What is only said of a point when it is played a second time: threads and deadlines depend on what else goes on."""

_ENDS = (signal.SIGINT, signal.SIGTERM)

_CONNECT = 5.0
"""Seconds until a cluster that does not answer is given up."""

AHEAD = 64
"""Points that an executor has at a time: it is never idle, an interruption ends soon, and no more run at once."""


class NotSweepable(Exception):
    """The command cannot be swept; the message says why, and what it printed."""


@dataclass(frozen=True)
class Survey:
    """What the runs without the action have shown. `odd` are points that only one of them came to."""

    first: CommandRun
    points: list[Point]
    odd: list[Point]

    @property
    def deadline(self) -> float:
        """Return the seconds that a run with the action may take: ten times those without it, and some more."""
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
    """Return the plan with what a shell command leaves in the folder and on the card. Raises NotSweepable."""
    ended, plan = _attempt(plan, executor.submit(worker.prepare, plan, script, deadline))
    if ended.hung or ended.code != 0:
        raise NotSweepable(f"the preparation did not work: {ended.words}\n{ended.output}".rstrip())
    return plan


def sweep(
    workers: Workers,
    plan: Plan,
    first: CommandRun,
    points: Iterable[Point],
    deadline: float,
    tell: Callable[[PointOutcome], None],
    watch: worker.Watch | None = None,
) -> None:
    """Play the points, in parallel; `tell` hears of each as it is done. An interruption ends what is being played.

    A point that is not reached, or whose verdict may come of a busy machine, is played once more. When a worker dies,
    the points that it may have had are played one by one, so that the one that ended it is known. Children that this
    process gets meanwhile are ended with the sweep.
    """
    subreaper.adopt()  # what a worker that dies leaves behind
    known = subreaper.children()
    playing = _Playing(workers, (plan, first), (deadline, watch), tell)
    try:
        todo = list(points)
        while todo:
            todo, suspects = playing.play(todo)
            for point in suspects:
                again, guilty = playing.play([point])
                todo += again
                for each in guilty:
                    tell(_broken(each, "the process that played it is gone"))
    finally:
        subreaper.end(known)


class _Playing:
    """Plays points on one executor after another."""

    def __init__(
        self,
        workers: Workers,
        subject: tuple[Plan, CommandRun],
        options: tuple[float, worker.Watch | None],
        tell: Callable[[PointOutcome], None],
    ) -> None:
        self._workers, self._subject, self._options, self._tell = workers, subject, options, tell
        self._earlier: dict[Point, Verdict] = {}
        """What has been said of points that are played once more."""

    def play(self, points: list[Point]) -> tuple[list[Point], list[Point]]:
        """Play until all is done or the executor is broken: what is to be played, and what it may have broken with."""
        left, again = iter(points), list[Point]()
        under_way: dict[Future[PointOutcome], Point] = {}
        try:
            with self._workers(len(points)) as executor:
                while self._submit(executor, left, under_way):
                    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                        again += self._done(under_way[future], future)
                        del under_way[future]
        except BrokenExecutor:
            suspects = []
            for future, point in under_way.items():
                if future.done() and future.exception() is None:
                    again += self._done(point, future)
                else:
                    suspects.append(point)
            return [*again, *left], suspects
        except BaseException:
            for future, point in under_way.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._done(point, future)
            raise
        return again, []

    def _submit(self, executor: Executor, left: Iterator[Point], under_way: dict[Future[PointOutcome], Point]) -> bool:
        """Give the executor enough to do; whether there is anything to wait for."""
        for point in itertools.islice(left, max(0, AHEAD - len(under_way))):
            try:
                future = executor.submit(worker.play, *self._subject, point, *self._options)
            except BrokenExecutor as error:  # by another point, which is among those under way
                future = Future()
                future.set_exception(error)
            under_way[future] = point
        return bool(under_way)

    def _done(self, point: Point, future: Future[PointOutcome]) -> list[Point]:
        """Tell what came of a point, or that it is to be played again. Raises BrokenExecutor."""
        try:
            outcome = future.result()
        except BrokenExecutor:
            raise
        except Exception as error:  # of one run, which others need not share
            outcome = _broken(point, f"{type(error).__name__}: {error}")
        if outcome.verdict in _DOUBTFUL and point not in self._earlier:
            self._earlier[point] = outcome.verdict
            return [point]
        self._tell(replace(outcome, earlier=self._earlier.get(point)))
        return []


def _broken(point: Point, words: str) -> PointOutcome:
    return PointOutcome(point.number, point.name, point.about, Verdict.BROKEN, words=words)


def local(jobs: int) -> Workers:
    """Start processes on this machine, which are forked: what is imported here is there at once.

    What is temporary lies in a guarded folder, so that nothing stays of one that is killed, nor when all are.
    """

    @contextlib.contextmanager
    def make(tasks: int) -> Iterator[Executor]:
        context = multiprocessing.get_context("fork")
        before = set(multiprocessing.active_children())
        with guarded_folder() as folder:
            start = str(folder), os.getpid()
            executor = ProcessPoolExecutor(min(jobs, tasks), context, initializer=worker.begin, initargs=start)
            try:
                with _signals_wait():  # until a process has handlers of its own (worker.begin), it would have ours
                    executor.submit(_nothing)  # which starts them all
                yield executor
            except (KeyboardInterrupt, SystemExit):  # runs that are under way end at once
                for process in set(multiprocessing.active_children()) - before:
                    process.kill()  # SIGTERM just before one waits for its next task is heard when there is one
                raise
            finally:
                executor.shutdown(cancel_futures=True)

    return make


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Delay a request to end, here and in what is forked meanwhile.

    Blocking alone would not do: another thread may get the signal, and the handler runs in this one.
    """
    came: list[int] = []
    handlers = [(each, signal.signal(each, lambda number, _: came.append(number))) for each in _ENDS]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each, handler in handlers:
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)


def _nothing() -> None:
    """Do nothing."""


class _Here(Executor):
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def here(_tasks: int) -> Iterator[Executor]:
    """Play in this process, one point after another: what happens can be watched."""
    with guarded_temporaries():
        yield _Here()


def dask(address: str) -> Workers:
    """Connect to a Dask cluster by its scheduler's address. Raises ModuleNotFoundError without the extra `dask`."""
    from distributed import Client

    @contextlib.contextmanager
    def make(_tasks: int) -> Iterator[Executor]:
        try:
            client = Client(address, timeout=_CONNECT, set_as_default=False)
        except OSError as error:
            raise NotSweepable(f"no Dask scheduler answers at {address}: {error}") from None
        with client:
            executor = client.get_executor(pure=False)
            try:
                yield executor
            finally:
                executor.shutdown(wait=False)

    return make


def jobs() -> int:
    """Return how many runs at a time keep the processors busy while some of them wait."""
    return 2 * len(os.sched_getaffinity(0))


def _attempt(plan: Plan, future: Future[T]) -> T:
    try:
        return future.result()
    except BrokenExecutor:
        raise NotSweepable("the command ends the process that runs it") from None
    except OSError as error:
        raise NotSweepable(f"cannot run {plan.command[0]!r}: {error.strerror or error}") from None


def _require_good(run: CommandRun) -> None:
    """Refuse a run that fails without any action: nothing can be compared with it."""
    ended: Ended = run.ended
    if ended.hung:
        raise NotSweepable(
            f"without any action the command has not ended after {ended.seconds:.1f} s (see --deadline); it has no "
            f"terminal and nothing on its standard input. It printed:\n{ended.output}".rstrip()
        )
    if ended.code != 0:
        raise NotSweepable(f"the command fails without any action: {ended.words}\n{ended.output}".rstrip())
