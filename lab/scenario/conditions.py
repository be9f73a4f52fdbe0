# SPDX-License-Identifier: MIT
"""The conditions of `wait` and `expect` by their keys."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import BeforeValidator

from .alternatives import one_of
from .condition import Condition, RunState, StaticState
from .failure import StepFailed
from .fields import Duration, Model, in_words
from .recorded_conditions import ApduHappens, CallHappens, CountIs, EventHappens, SignalHappens
from .state_conditions import BackgroundReturns, ProgramDoes, SessionIs, TriggerFires, ValueIs

START = "start"
"""The mark at the beginning of every scenario."""


class NothingHappens(Condition):
    """For so long, from now on, something does not happen."""

    nothing: AnyHappening
    for_: Duration

    def words(self) -> str:
        return f"nothing for {in_words(self.for_)}: {self.nothing.words()}"

    def holds(self, run: RunState) -> Callable[[], bool]:
        raise TypeError("it holds at the end of its duration only: use require()")

    def require(self, run: RunState, deadline: float, within: float) -> None:
        comes = self.nothing.comes_from_now(run)
        end = monotonic() + self.for_
        if run.wait(comes, min(end, run.deadline)):
            raise StepFailed(f"awaited {self.words()}; but it came")
        if monotonic() < end:
            raise StepFailed(f"the scenario's time is over before {in_words(self.for_)} have passed")

    def check(self, static: StaticState) -> None:
        static.require_duration(self.for_)
        self.nothing.check_absence(static)

    def signals(self) -> set[str]:
        return self.nothing.signals()


HAPPENINGS: dict[str, type[Model]] = {
    "event": EventHappens,
    "call": CallHappens,
    "apdu": ApduHappens,
    "signal": SignalHappens,
    "trigger": TriggerFires,
    "background": BackgroundReturns,
    "program": ProgramDoes,
}
"""Those that can be waited for, by the key by which they are known."""
_STATES: dict[str, type[Model]] = {"session": SessionIs, "count": CountIs, "value": ValueIs, "nothing": NothingHappens}
CONDITIONS: dict[str, type[Model]] = HAPPENINGS | _STATES
"""Conditions by the key by which they are known."""


def _text(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    AnyHappening = Condition
    AnyCondition = Condition
else:
    AnyHappening = one_of(HAPPENINGS, "what happens")
    AnyCondition = one_of(CONDITIONS, "an expectation", BeforeValidator(_text))
NothingHappens.model_rebuild()
