# SPDX-License-Identifier: MIT
"""What a scenario can wait for or expect. Values only; history.py and stage.py know whether they have come true."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from ...card.wording import meant
from ...p11.calls import BY_NAME
from ...reader import events
from ..simulator.moments import check_call
from .expressions import read_expression
from .fields import Count, Digits, Duration, ExitCodes, HexByte, Model, Name, Pattern, ReturnValues, State, StatusWord

START = "start"
"""The mark at the beginning of every scenario."""

EVENTS = tuple(map(str, events.Change))
"""The changes of the testbed."""

if TYPE_CHECKING:
    Change = str
else:
    Change = Literal[EVENTS]


def check_call_pattern(pattern: str) -> str:
    """Raises ValueError for a name with * and ? that no function has."""
    check_call(pattern, (*BY_NAME, "C_Initialize"))
    return pattern


class Recorded(Model):
    """Something that the trace shows; looked for from the mark `since`, else from the last step that did something."""

    since: Name | None = None


class EventHappens(Recorded):
    """A change of the testbed."""

    event: Change
    reader: Name | None = None


class CallHappens(Recorded):
    """A call of any program: that it was made, `when: during` that it began to work or wait, `after` that it is over.

    `when: under-way` asks for the present: it works or waits, and has not returned. With `returns` it is over and has
    returned one of these values.
    """

    call: Annotated[str, BeforeValidator(check_call_pattern)]
    application: str = "*"
    when: Literal["before", "during", "under-way", "after"] = "before"
    returns: ReturnValues | None = Field(default=None)

    @property
    def is_answered(self) -> bool:
        """Whether it has to have returned."""
        return self.when == "after" or "returns" in self.model_fields_set

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "returns" in self.model_fields_set and self.model_fields_set & {"when"} and self.when != "after":
            raise ValueError(f"what has returned is over: 'returns' does not go with 'when: {self.when}'")
        return self


class ApduHappens(Recorded):
    """An APDU to a card, with its status word."""

    apdu: HexByte | None
    status: StatusWord | None = None
    reader: Name | None = None


class SignalHappens(Recorded):
    """Somebody says a word: `cardtear signal WORD` in a program, or the verb of the control channel."""

    signal: Name


class TriggerFires(Model):
    """A trigger has done its work so many times."""

    trigger: Name
    fired: Annotated[int, Field(ge=1, strict=True)] = 1


class BackgroundReturns(Model):
    """A call that was made in the background comes back; with what it was expected to, otherwise the scenario fails."""

    background: Name


class ProgramDoes(Model):
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


class SessionIs(Model):
    """The state of a session, as the simulator knows it, without a call: a state, or `gone`."""

    session: str
    state: State

    @field_validator("session")
    @classmethod
    def _readable(cls, text: str) -> str:
        read_expression(text)
        return text


_KINDS = {"events": list(EVENTS), "apdus": [f"{each:02X}" for each in range(0x100)]}
_OF = {"events": f"one of {', '.join(EVENTS)}", "apdus": "an instruction byte, as 87"}


class CountIs(Recorded):
    """How many calls, APDUs or events there were: of a kind (a call's name with * and ?, an instruction, a change)."""

    count: Literal["calls", "apdus", "events"]
    of: Digits = "*"
    application: str = "*"
    exactly: Count | None = None
    at_least: Count | None = None
    at_most: Count | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.exactly is None and self.at_least is None and self.at_most is None:
            raise ValueError("a count is 'exactly', 'at-least' or 'at-most' a number")
        if self.exactly is not None and (self.at_least, self.at_most) != (None, None):
            raise ValueError("'exactly' says it all; leave out 'at-least' and 'at-most'")
        if None not in (self.at_least, self.at_most) and self.at_least > self.at_most:  # type: ignore[operator]
            raise ValueError(f"nothing is at least {self.at_least} and at most {self.at_most}")
        return self

    @model_validator(mode="after")
    def _of_a_kind(self) -> Self:
        if self.count == "calls":
            check_call_pattern(self.of)
        elif not any(fnmatchcase(each, self.of) for each in _KINDS[self.count]):
            raise ValueError(f"no {self.count} are of the kind {self.of!r}; it is {_OF[self.count]}")
        return self

    def fits(self, number: int) -> bool:
        """Whether it is that many."""
        least = self.at_least if self.exactly is None else self.exactly
        most = self.at_most if self.exactly is None else self.exactly
        return (least is None or number >= least) and (most is None or number <= most)


class ValueIs(Model):
    """A comparison of saved values, as `info.state == CKS_RO_USER_FUNCTIONS`; in YAML only the text."""

    value: str

    @field_validator("value")
    @classmethod
    def _readable(cls, text: str) -> str:
        read_expression(text)
        return text


class NothingHappens(Model):
    """For so long, from now on, something does not happen."""

    nothing: Happening
    for_: Duration


_HAPPENINGS: dict[str, type[Model]] = {
    "event": EventHappens,
    "call": CallHappens,
    "apdu": ApduHappens,
    "signal": SignalHappens,
    "trigger": TriggerFires,
    "background": BackgroundReturns,
    "program": ProgramDoes,
}
_STATES: dict[str, type[Model]] = {"session": SessionIs, "count": CountIs, "value": ValueIs, "nothing": NothingHappens}
CONDITIONS: dict[str, type[Model]] = _HAPPENINGS | _STATES
"""Conditions by the key by which they are known."""


def kind_of(value: Any, kinds: dict[str, type[Model]], what: str) -> str:
    """The key that says which of several models a mapping or a value is. Raises ValueError."""
    for key, model in kinds.items():
        if isinstance(value, model):
            return key
    found = [str(key) for key in value if key in kinds] if isinstance(value, dict) else []
    if len(found) != 1:
        got = f"not {' and '.join(found)} at once" if found else f"not {_shown(value)}{_meant(value, kinds)}"
        raise ValueError(f"{what} has one of: {', '.join(kinds)}; {got}")
    return found[0]


def _meant(value: Any, kinds: Iterable[str]) -> str:
    """A question for who may have written a key wrongly."""
    keys = map(str, value) if isinstance(value, dict) else [value] if isinstance(value, str) else ()
    return next(filter(None, (meant(key, kinds) for key in keys)), "")


def _shown(value: Any) -> str:
    text = repr(list(value)) if isinstance(value, dict) else repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def one_of(kinds: dict[str, type[Model]], what: str, *first: BeforeValidator) -> Any:
    """The type of a value that is one of several models, known by a key; `first` is done to it before that is asked.

    The tags begin with =, so that in the place of an error they are not taken for the key.
    """

    def check(value: Any) -> Any:
        kind_of(value, kinds, what)
        return value

    which = Discriminator(lambda value: f"={kind_of(value, kinds, what)}")
    models = (Annotated[model, Tag(f"={key}")] for key, model in kinds.items())
    return Annotated[(reduce(or_, models), which, BeforeValidator(check), *first)]


def _text(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    Happening = Model
    Condition = Model
else:
    Happening = one_of(_HAPPENINGS, "what happens")
    Condition = one_of(CONDITIONS, "an expectation", BeforeValidator(_text))
NothingHappens.model_rebuild()
