# SPDX-License-Identifier: MIT
"""The base class of conditions, and the interfaces through which they see a running and a checked scenario.

Which conditions there are stands in recorded_conditions.py, state_conditions.py and conditions.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from .failure import StepFailed
from .fields import Model, in_words

if TYPE_CHECKING:
    from .history import Fits, Occurrence
    from .possibilities import Possibilities
    from .programs import Program
    from .scenario_simulator import Counted

NOTHING = "nothing of the kind"
"""In a message: nothing came that is worth naming."""


class RunState(Protocol):
    """A scenario that runs, as conditions see it. Deadlines are of the monotonic clock."""

    deadline: float

    def wait(self, holds: Callable[[], bool], deadline: float) -> bool:
        """Wait until `holds()` is true; return False once the deadline has passed."""

    def now(self) -> int:
        """Return the current position in the history."""

    def position(self, mark: str | None) -> int:
        """Return the position of a mark; without one that of the last step that did something."""

    def search(self, fits: Fits, since: int) -> Callable[[], bool]:
        """Return a question whether an entry fits that came since then; it looks at each entry once."""

    def occurrences(self, since: int) -> list[Occurrence]:
        """Return what has happened since then."""

    def is_under_way(self, fits: Fits) -> bool:
        """Return whether a call that fits is being worked on."""

    def trigger(self, name: str) -> Counted:
        """Return a trigger by name."""

    def program(self, name: str) -> Program:
        """Return a started program by name."""

    def drain(self, program: Program) -> None:
        """Wait a moment for the rest of an ended program's output."""

    def is_returned(self, background: str) -> bool:
        """Return whether a call in the background has returned."""

    def settle(self, background: str, deadline: float, within: float) -> None:
        """Wait for a call in the background and compare its result. Raises StepFailed."""

    def evaluate(self, tree: ast.expr) -> Any:
        """Return the value of an expression. Raises StepFailed."""

    def session_state(self, handle: int) -> int | None:
        """Return a session's state, None if there is no such session; makes no call."""


class StaticState(Protocol):
    """A scenario that is checked step by step, as conditions see it. Each method raises Refusal."""

    possible: Possibilities

    def require_mark(self, name: str) -> None:
        """Refuse a mark that no step before sets."""

    def require_reader(self, name: str) -> None:
        """Refuse an unknown reader."""

    def require_trigger(self, name: str) -> int | None:
        """Refuse a trigger that is not armed; return how often it fires at most."""

    def require_saved(self, names: Iterable[str]) -> None:
        """Refuse names under which nothing is saved."""

    def require_duration(self, seconds: float) -> None:
        """Refuse a duration longer than the whole scenario may take."""

    def require_started(self, program: str) -> None:
        """Refuse a program that no step before starts."""

    def require_running(self, program: str) -> None:
        """Refuse a program that does not run in the background."""

    def require_background(self, name: str) -> None:
        """Refuse a call that is not under way in the background; its result counts as looked at."""

    def end_program(self, program: str) -> None:
        """Record that a program has ended."""

    def return_background(self, name: str) -> None:
        """Record that a call in the background has returned."""

    def await_trigger(self, name: str, fired: int) -> None:
        """Record how often a trigger has been waited for."""

    def was_awaited(self, trigger: str) -> int:
        """Return how often a trigger has been waited for."""

    def has_ended(self, program: str) -> bool:
        """Return whether a program is known to have ended."""

    def was_just_done(self, change: str, reader: str | None) -> bool:
        """Return whether the step before brings about this change (of any reader)."""


class Refusal(ValueError):
    """A contradiction in a scenario, without its location."""


class Condition(Model):
    def words(self) -> str:
        """Return what is awaited, in words."""
        raise NotImplementedError

    def holds(self, run: RunState) -> Callable[[], bool]:
        """Return a question whether it holds, which can be asked again and again."""
        raise NotImplementedError

    def comes_from_now(self, run: RunState) -> Callable[[], bool]:
        """Return a question whether it comes true from now on (for `nothing`)."""
        return self.holds(run)

    def instead(self, run: RunState) -> str:
        """Return what came instead, in words."""
        return NOTHING

    def require(self, run: RunState, deadline: float, within: float) -> None:
        """Wait until it holds. Raises StepFailed if that takes too long or cannot come any more."""
        if not run.wait(self.holds(run), deadline):
            raise StepFailed(f"awaited {self.words()} within {in_words(within)}, but came: {self.instead(run)}")

    def check(self, static: StaticState) -> None:
        """Check it against the steps before. Raises Refusal."""

    def check_wait(self, static: StaticState) -> None:
        """Refuse a wait that is over before it begins. Raises Refusal."""

    def check_absence(self, static: StaticState) -> None:
        """Check it under `nothing`. Raises Refusal."""

    def signals(self) -> set[str]:
        """Return the signals for which it waits."""
        return set()
