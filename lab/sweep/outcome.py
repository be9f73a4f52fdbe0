# SPDX-License-Identifier: MIT
"""What came of a point, as values that JSON has, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any, NamedTuple

from ...card.wording import counted
from ..trace.records import Record
from .command import Ended


@unique
class Verdict(StrEnum):
    """What a program made of the point."""

    SUCCESS = "success"
    CLEAN = "clean error"
    UNREACHED = "unreached"
    RETRIED = "retried PIN"
    STUCK = "did not recover"
    HANG = "hang"
    CRASH = "crash"
    BROKEN = "not played"


FINE = frozenset({Verdict.SUCCESS, Verdict.CLEAN})
"""What a program may make of it. All else fails a sweep, unless it is allowed."""

MEANING = {
    Verdict.SUCCESS: "exit as without the action",
    Verdict.CLEAN: "another exit code, in time, and all works again afterwards",
    Verdict.UNREACHED: "the run did not come to this point: nothing was tested",
    Verdict.RETRIED: "it entered the PIN at another card, or more often than the action had made it forget it",
    Verdict.STUCK: "with the card back, the command does not work again",
    Verdict.HANG: "it had not ended at the deadline",
    Verdict.CRASH: "it died of a signal",
    Verdict.BROKEN: "the sweep itself could not play it",
}


class RepeatedLogins(NamedTuple):
    """Logins and PINs that were accepted after one end of the logins, until the next."""

    logins: int = 0
    verifies: int = 0


@dataclass(frozen=True)
class CommandRun:
    """A run of the command: how it ended, and what it did at its card."""

    ended: Ended
    last: str = ""
    failures: dict[str, int] = field(default_factory=dict)
    open_calls: tuple[str, ...] = ()
    logins: int = 0
    verifies: int = 0
    calls: int = 0
    apdus: int = 0
    repeats: tuple[RepeatedLogins, ...] = ()
    strange: int = 0
    """PINs that another card got."""

    @property
    def made(self) -> str:
        """Return what it has made, in words."""
        return f"{counted(self.calls, 'call')} and {counted(self.apdus, 'APDU')}"

    def more_than(self, first: CommandRun) -> RepeatedLogins:
        """Return the C_Logins and PINs beyond those of the first run.

        Each end of the logins (removal, reset, logout) allows what the first run did once more, if it is accepted: it
        is needed then. What is tried in vain is not.
        """
        logins = first.logins + sum(min(each.logins, first.logins) for each in self.repeats)
        verifies = first.verifies + sum(min(each.verifies, first.verifies) for each in self.repeats)
        return RepeatedLogins(max(self.logins - logins, 0), max(self.verifies - verifies, 0))


@dataclass(frozen=True)
class PointOutcome:
    """A point that was played. `again` is how the command ended with the card back, `overhead` seconds of our own.

    `records` is the time line (records.py) of a point that is not fine, or that was played alone.
    """

    number: int
    name: str
    about: str
    verdict: Verdict
    run: CommandRun | None = None
    again: Ended | None = None
    logins: int = 0
    """C_Login beyond those that were needed (CommandRun.more_than)."""
    verifies: int = 0
    """PINs sent to the card beyond those that were needed."""
    earlier: Verdict | None = None
    """What was said of it before it was played a second time."""
    overhead: float = 0.0
    words: str = ""
    records: list[Record] = field(default_factory=list)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> PointOutcome:
        """Read what dataclasses.asdict has made of an outcome. Raises TypeError, KeyError, ValueError."""
        run, again = value["run"], value["again"]
        return cls(
            **{
                **value,
                "verdict": Verdict(value["verdict"]),
                "earlier": None if value["earlier"] is None else Verdict(value["earlier"]),
                "run": None if run is None else _run(run),
                "again": None if again is None else _ended(again),
            }
        )


def _run(value: dict[str, Any]) -> CommandRun:
    return CommandRun(
        **{
            **value,
            "ended": _ended(value["ended"]),
            "repeats": tuple(RepeatedLogins(*each) for each in value["repeats"]),
        }
    )


def _ended(value: dict[str, Any]) -> Ended:
    return Ended(**{**value, "left": tuple(value["left"])})


def judge(first: CommandRun, run: CommandRun, again: Ended | None, reached: bool) -> Verdict:
    """Return the verdict of a run with the action, compared with the first run without it."""
    if not reached:
        return Verdict.UNREACHED
    if run.ended.hung:
        return Verdict.HANG
    if run.ended.crashed:
        return Verdict.CRASH
    if again is not None and (again.hung or again.code != first.ended.code):
        return Verdict.STUCK
    if run.strange > 0 or max(run.more_than(first)) > 0:
        return Verdict.RETRIED
    return Verdict.SUCCESS if run.ended.code == first.ended.code else Verdict.CLEAN


def tell(outcome: PointOutcome, timed: bool = True) -> str:
    """Return one sentence about an outcome; without times it is the same for all points that fail of one cause."""
    if outcome.words or outcome.run is None:
        return outcome.words
    run = outcome.run
    ended = run.ended
    parts = [ended.words if timed else ended.how]
    if ended.hung:
        parts[0] += f", in {', '.join(run.open_calls)}" if run.open_calls else ", outside the module"
    if run.failures:
        parts.append(f"first error {next(iter(run.failures))}")
    elif run.last:
        parts.append(f"last {run.last}")
    if outcome.logins > 0 or outcome.verifies > 0:
        parts.append(f"{outcome.logins} C_Login, {counted(outcome.verifies, 'PIN')} more than needed")
    if run.strange > 0:
        parts.append(f"{counted(run.strange, 'PIN')} at another card")
    if outcome.again is not None and outcome.verdict is Verdict.STUCK:
        again = outcome.again
        parts.append(f"with the card back: {again.words if timed else again.how}")
    if outcome.earlier is not None and outcome.earlier is not outcome.verdict:
        parts.append(f"the first time: {outcome.earlier}")
    if ended.left:
        parts.append(f"left behind: {', '.join(ended.left)}")
    return "; ".join(parts)
