# SPDX-License-Identifier: MIT
"""Conditions on the present: triggers, calls in the background, programs, sessions and saved values."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cached_property
from time import monotonic
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ...card.wording import counted
from ...p11.constants import CKS
from ...p11.number_names import name_of
from .condition import Condition, Refusal, RunState, StaticState
from .expressions import compared_in, names_in, read_expression
from .failure import StepFailed
from .fields import ExitCodes, Name, Pattern, State, in_words
from .programs import DRAINING, Program, Stream, exit_in_words


class TriggerFires(Condition):
    """A trigger has done its work so many times."""

    trigger: Name
    fired: Annotated[int, Field(ge=1, strict=True)] = 1

    def words(self) -> str:
        times = "" if self.fired == 1 else f" {counted(self.fired, 'time')}"
        return f"the trigger {self.trigger!r} to fire{times}"

    def holds(self, run: RunState) -> Callable[[], bool]:
        # A repetition may arm another trigger of that name meanwhile.
        return lambda: run.trigger(self.trigger).done >= self.fired

    def comes_from_now(self, run: RunState) -> Callable[[], bool]:
        trigger = run.trigger(self.trigger)
        before = trigger.done
        return lambda: trigger.done >= before + self.fired

    def instead(self, run: RunState) -> str:
        trigger = run.trigger(self.trigger)
        return f"{counted(trigger.done, 'time')}; its moment came {counted(trigger.seen, 'time')}"

    def check(self, static: StaticState) -> None:
        most = static.require_trigger(self.trigger)
        if most is not None and self.fired > most:
            raise Refusal(f"{self.trigger!r} fires {counted(most, 'time')} at most")
        static.await_trigger(self.trigger, self.fired)

    def check_wait(self, static: StaticState) -> None:
        if self.fired <= static.was_awaited(self.trigger):
            raise Refusal("this wait is over before it begins: it has been waited for already")

    def check_absence(self, static: StaticState) -> None:
        static.require_trigger(self.trigger)


class BackgroundReturns(Condition):
    """A call that was made in the background comes back; with what it was expected to, otherwise the scenario fails."""

    background: Name

    def words(self) -> str:
        return f"return of {self.background!r}"

    def holds(self, run: RunState) -> Callable[[], bool]:
        return lambda: run.is_returned(self.background)

    def require(self, run: RunState, deadline: float, within: float) -> None:
        run.settle(self.background, deadline, within)

    def check(self, static: StaticState) -> None:
        static.return_background(self.background)

    def check_absence(self, static: StaticState) -> None:
        static.require_background(self.background)


class ProgramDoes(Condition):
    """A program ends, prints something, or runs on."""

    program: Name
    exits: ExitCodes | None = None
    output: Pattern | None = None
    errors: Pattern | None = None
    running: Literal[True] | None = None

    @property
    def is_to_end(self) -> bool:
        """Whether it has to end; what nothing else is asked of has."""
        return "exits" in self.model_fields_set or not (self.output or self.errors or self.running)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.running and "exits" in self.model_fields_set:
            raise ValueError("a program that has ended does not run")
        return self

    def words(self) -> str:
        parts = []
        if self.running:
            parts.append("to run on")
        if self.is_to_end:
            codes = "" if self.exits is None else " with " + " or ".join(map(exit_in_words, sorted(self.exits)))
            parts.append(f"to end{codes}")
        for pattern, name in ((self.output, "print"), (self.errors, "print as an error")):
            if pattern is not None:
                parts.append(f"to {name} /{pattern.pattern}/")
        return f"{self.program} {' and '.join(parts)}"

    def holds(self, run: RunState) -> Callable[[], bool]:
        program = run.program(self.program)

        def holds() -> bool:
            if self.is_to_end:
                return program.exit_code is not None and self._allows(program.exit_code)
            return any(pattern is not None and _matches(pattern, stream) for pattern, stream in self._printed(program))

        return holds

    def require(self, run: RunState, deadline: float, within: float) -> None:
        program = run.program(self.program)
        if self.running and program.exit_code is not None:
            raise self._failure(program, within, f"it has ended with {program.end_in_words()}")
        if self.is_to_end:
            if not run.wait(lambda: program.exit_code is not None, deadline):
                raise self._failure(program, within, "it runs on")
            if program.exit_code is None or not self._allows(program.exit_code):
                run.drain(program)
                raise self._failure(program, within, f"it has ended with {program.end_in_words()}")
            deadline = min(deadline, monotonic() + DRAINING)
        for pattern, stream in self._printed(program):
            # An unfinished program may still print it, an ended one only as long as its output is read.
            if pattern is not None and not _prints(run, pattern, stream, deadline):
                raise self._failure(program, within, program.printed_in_words())

    def _allows(self, exit_code: int) -> bool:
        return self.exits is None or exit_code in self.exits

    def _printed(self, program: Program) -> tuple[tuple[re.Pattern[str] | None, Stream], ...]:
        return (self.output, program.output), (self.errors, program.errors)

    def _failure(self, program: Program, within: float, instead: str) -> StepFailed:
        message = f"awaited {self.words()} within {in_words(within)}, but {instead}"
        tail = program.tail()
        return StepFailed(f"{message}\n{tail}" if tail else message)

    def check(self, static: StaticState) -> None:
        static.require_started(self.program)
        if self.running:
            static.require_running(self.program)
        if self.is_to_end:
            static.end_program(self.program)

    def check_wait(self, static: StaticState) -> None:
        if self.is_to_end and static.has_ended(self.program):
            raise Refusal(f"this wait is over before it begins: {self.program!r} has ended")

    def check_absence(self, static: StaticState) -> None:
        static.require_running(self.program)


def _prints(run: RunState, pattern: re.Pattern[str], stream: Stream, deadline: float) -> bool:
    """Wait until a stream has the pattern, or is over; return whether it has it."""
    run.wait(lambda: stream.is_over or _matches(pattern, stream), deadline)
    return _matches(pattern, stream)


def _matches(pattern: re.Pattern[str], stream: Stream) -> bool:
    return pattern.search(stream.text) is not None


def _readable(text: str) -> str:
    """Return an expression that can be read. Raises ValueError."""
    read_expression(text)
    return text


Expression = Annotated[str, AfterValidator(_readable)]


class SessionIs(Condition):
    """The state of a session, as the simulator knows it, without a call: a state, or `gone`."""

    session: Expression
    state: State

    @cached_property
    def _tree(self) -> ast.expr:
        return read_expression(self.session)

    def words(self) -> str:
        return f"session {self.session} to be {_state(self.state)}"

    def holds(self, run: RunState) -> Callable[[], bool]:
        handle = run.evaluate(self._tree)
        return lambda: run.session_state(handle) == self.state

    def instead(self, run: RunState) -> str:
        return _state(run.session_state(run.evaluate(self._tree)))

    def check(self, static: StaticState) -> None:
        static.require_saved(names_in(self._tree))


def _state(state: int | None) -> str:
    return "gone" if state is None else name_of(CKS, state)


class ValueIs(Condition):
    """A comparison of saved values, as `info.state == CKS_RO_USER_FUNCTIONS`; in YAML only the text."""

    value: Expression

    @cached_property
    def _tree(self) -> ast.expr:
        return read_expression(self.value)

    def words(self) -> str:
        return self.value

    def require(self, run: RunState, deadline: float, within: float) -> None:
        if not run.evaluate(self._tree):  # saved values do not change during a step: nothing to wait for
            raise StepFailed(f"awaited {self.value}, but came: {self.instead(run)}")

    def instead(self, run: RunState) -> str:
        if not isinstance(self._tree, ast.Compare):
            return repr(run.evaluate(self._tree))
        return ", ".join(f"{ast.unparse(each)} is {run.evaluate(each)!r}" for each in compared_in(self._tree))

    def check(self, static: StaticState) -> None:
        static.require_saved(names_in(self._tree))
