# SPDX-License-Identifier: MIT
"""Whether what a step awaits has come, within its deadline, and the sentence about what came instead."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from ...card.wording import counted
from ...p11.constants import CKR, CKS
from ...p11.number_names import name_of
from . import conditions as c
from .calling import Calling
from .context import Context, StepFailed
from .expressions import read_expression
from .fields import in_words
from .programs import Program, Stream, exit_in_words

if TYPE_CHECKING:
    from .steps import Ask, Run


DRAINING = 2.0
"""Seconds that output may take to arrive after the program's end."""


class Verdicts:
    """Judge conditions."""

    def __init__(self, context: Context, calling: Calling) -> None:
        self._context = context
        self._calling = calling
        self._history = context.history

    def require(self, condition: Any, deadline: float, within: float) -> None:
        """Wait until the condition is met. Raises StepFailed when it is not in time, or cannot be any more."""
        match condition:
            case c.BackgroundReturns():
                call, pending = self._context.background.pop(condition.background)
                self._history.wait(lambda: pending.is_over, deadline)
                self._calling.settle(call, pending, within)
                return
            case c.NothingHappens():
                self._require_nothing(condition)
                return
            case c.ProgramDoes():
                self._require_program(condition, deadline, within)
                return
            case c.ValueIs():  # saved values do not change while anybody waits
                if not self._calling.value(read_expression(condition.value)):
                    raise StepFailed(f"awaited {condition.value}, but came: {self._values_in(condition.value)}")
                return
        is_met = self._question(condition)
        if not self._history.wait(is_met, deadline):
            raise StepFailed(
                f"awaited {said(condition)} within {in_words(within)}, but came: {self._instead(condition)}"
            )

    def require_end(self, step: Run, program: Program, deadline: float, within: float) -> None:
        """Wait for a program in the foreground, and hold its end and output against what is expected."""
        condition = c.ProgramDoes(program=step.known_as, exits=step.exits, output=step.output, errors=step.errors)
        self._require_program(condition, deadline, within)

    def require_answer(self, step: Ask, before: int, deadline: float, within: float) -> dict[str, str | None]:
        """Wait until a program has printed a line after so many bytes, and hold it against what is expected.

        Returns the pattern's named groups.
        """
        program = self._context.programs[step.program]
        output = program.output
        self._history.wait(lambda: output.is_over or output.line_after(before) is not None, deadline)
        answer = output.line_after(before)
        if answer is not None and (match := step.answer.search(answer)) is not None:
            return match.groupdict()
        awaited = f"awaited the answer /{step.answer.pattern}/ of {step.program}"
        if answer is not None:
            raise StepFailed(f"{awaited}, but came: {answer}")
        if output.is_over:
            self.drain(program)
        instead = "it has ended" if output.is_over else "it says nothing"
        raise StepFailed(f"{awaited} within {in_words(within)}, but {instead}\n{program.errors.tail()}".rstrip())

    def _question(self, condition: Any) -> Callable[[], bool]:
        """Whether it is so now, to be asked again and again."""
        context = self._context
        match condition:
            case c.CountIs():
                since = self._since(condition)
                return lambda: condition.fits(self._history.count(condition, since))
            case c.Recorded():
                return self._history.search(condition, self._since(condition))
            case c.TriggerFires():
                return lambda: context.triggers[condition.trigger][1].done >= condition.fired
            case c.SessionIs():
                handle = self._calling.value(read_expression(condition.session))
                return lambda: self._state(handle) == condition.state
        raise TypeError(f"{condition!r} is no condition")

    def _since(self, condition: c.Recorded) -> Any:
        return self._context.done_since if condition.since is None else self._context.marks[condition.since]

    def _state(self, handle: int) -> int | None:
        for application in self._context.simulator.applications:
            session = application.sessions.get(handle)
            if session is not None:
                return int(session.state)
        return None

    def _instead(self, condition: Any) -> str:
        match condition:
            case c.CountIs():
                return str(self._history.count(condition, self._since(condition)))
            case c.Recorded():
                return self._history.instead(condition, self._since(condition))
            case c.TriggerFires():
                trigger = self._context.triggers[condition.trigger][1]
                return f"{counted(trigger.done, 'time')}; its moment came {counted(trigger.seen, 'time')}"
            case c.SessionIs():
                state = self._state(self._calling.value(read_expression(condition.session)))
                return "gone" if state is None else name_of(CKS, state)
        return "nothing of the kind"

    def _values_in(self, text: str) -> str:
        """A comparison with its values filled in."""
        tree = read_expression(text)
        if not isinstance(tree, ast.Compare):
            return repr(self._calling.value(tree))
        return ", ".join(
            f"{ast.unparse(each)} is {self._calling.value(each)!r}" for each in (tree.left, *tree.comparators)
        )

    # Programs

    def _require_program(self, condition: c.ProgramDoes, deadline: float, within: float) -> None:
        program = self._context.programs[condition.program]
        if condition.running and program.exit_code is not None:
            raise StepFailed(self._program_message(condition, within, f"it has ended with {_end(program)}"))
        if condition.is_to_end:
            if not self._history.wait(lambda: program.exit_code is not None, deadline):
                raise StepFailed(self._program_message(condition, within, "it runs on"))
            if condition.exits is not None and program.exit_code not in condition.exits:
                self.drain(program)
                raise StepFailed(self._program_message(condition, within, f"it has ended with {_end(program)}"))
            deadline = min(deadline, monotonic() + DRAINING)
        for pattern, stream in ((condition.output, program.output), (condition.errors, program.errors)):
            # An unfinished program may still print it, an ended one only as long as its output is read.
            if pattern is not None and not self._prints(pattern, stream, deadline):
                raise StepFailed(self._program_message(condition, within, _printed(program)))

    def _prints(self, pattern: re.Pattern[str], stream: Stream, deadline: float) -> bool:
        self._history.wait(lambda: stream.is_over or _matches(pattern, stream.text), deadline)
        return _matches(pattern, stream.text)

    def drain(self, program: Program) -> None:
        """Wait a moment for the rest of what an ended program has printed."""
        self._history.wait(lambda: program.output.is_over and program.errors.is_over, monotonic() + DRAINING)

    def _program_message(self, condition: c.ProgramDoes, within: float, instead: str) -> str:
        program = self._context.programs[condition.program]
        message = f"awaited {said(condition)} within {in_words(within)}, but {instead}"
        tail = "\n".join(filter(None, (program.output.tail(), program.errors.tail())))
        return f"{message}\n{tail}" if tail else message

    # Nothing

    def _require_nothing(self, condition: c.NothingHappens) -> None:
        happening = condition.nothing
        now = self._history.now
        end = monotonic() + condition.for_
        match happening:
            case c.BackgroundReturns():
                pending = self._context.background[happening.background][1]
                happens: Callable[[], bool] = lambda: pending.is_over  # noqa: E731
            case c.ProgramDoes():
                happens = self._program_question(happening)
            case c.TriggerFires():
                trigger = self._context.triggers[happening.trigger][1]
                before = trigger.done
                happens = lambda: trigger.done >= before + happening.fired  # noqa: E731
            case c.Recorded():
                since = now if happening.since is None else self._context.marks[happening.since]
                happens = self._history.search(happening, since)
        if self._history.wait(happens, min(end, self._context.deadline)):
            raise StepFailed(f"awaited {said(condition)}; but it came")
        if monotonic() < end:
            raise StepFailed(f"the scenario's time is over before {in_words(condition.for_)} have passed")

    def _program_question(self, condition: c.ProgramDoes) -> Callable[[], bool]:
        program = self._context.programs[condition.program]

        def is_so() -> bool:
            if condition.is_to_end:
                code = program.exit_code
                return code is not None and (condition.exits is None or code in condition.exits)
            return any(
                pattern is not None and _matches(pattern, stream.text)
                for pattern, stream in ((condition.output, program.output), (condition.errors, program.errors))
            )

        return is_so


def said(condition: Any) -> str:
    """A condition in words."""
    match condition:
        case c.EventHappens():
            return f"the event {condition.event!r}" + (f" of {condition.reader}" if condition.reader else "")
        case c.CallHappens():
            program = "" if condition.application == "*" else f" of {condition.application}"
            if not condition.is_answered:
                under_way = " to be under way" if condition.when in ("during", "under-way") else ""
                return f"a call of {condition.call}{program}{under_way}"
            return f"{condition.call}{program} -> {_values(condition.returns)}"
        case c.ApduHappens():
            status = "" if condition.status is None else f" -> {condition.status:04X}"
            return f"an APDU {'' if condition.apdu is None else f'{condition.apdu:02X}'}{status}"
        case c.SignalHappens():
            return f"the word {condition.signal!r}"
        case c.TriggerFires():
            times = "" if condition.fired == 1 else f" {counted(condition.fired, 'time')}"
            return f"the trigger {condition.trigger!r} to fire{times}"
        case c.BackgroundReturns():
            return f"return of {condition.background!r}"
        case c.ProgramDoes():
            return _said_of_program(condition)
        case c.SessionIs():
            state = "gone" if condition.state is None else name_of(CKS, condition.state)
            return f"session {condition.session} to be {state}"
        case c.CountIs():
            bounds = [("exactly", condition.exactly), ("at least", condition.at_least), ("at most", condition.at_most)]
            number = ", ".join(f"{word} {value}" for word, value in bounds if value is not None)
            return f"{number} {condition.count}" + (f" of {condition.of}" if condition.of != "*" else "")
        case c.ValueIs():
            return condition.value
        case c.NothingHappens():
            return f"nothing for {in_words(condition.for_)}: {said(condition.nothing)}"
    return repr(condition)


def _said_of_program(condition: c.ProgramDoes) -> str:
    parts = []
    if condition.running:
        parts.append("to run on")
    if condition.is_to_end:
        codes = "" if condition.exits is None else " with " + " or ".join(map(exit_in_words, sorted(condition.exits)))
        parts.append(f"to end{codes}")
    for pattern, name in ((condition.output, "print"), (condition.errors, "print as an error")):
        if pattern is not None:
            parts.append(f"to {name} /{pattern.pattern}/")
    return f"{condition.program} {' and '.join(parts)}"


def _values(values: frozenset[int] | None) -> str:
    return "any" if values is None else " | ".join(name_of(CKR, value) for value in sorted(values))


def _end(program: Program) -> str:
    assert program.exit_code is not None
    return exit_in_words(program.exit_code)


def _printed(program: Program) -> str:
    lost = program.output.lost + program.errors.lost
    return f"it has printed something else ({lost} bytes were too many to keep)" if lost else "it has printed:"


def _matches(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is not None
