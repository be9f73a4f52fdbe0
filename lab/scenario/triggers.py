# SPDX-License-Identifier: MIT
"""Triggers as scenarios have them: a moment (lab/simulator/trigger.py), and what is done then (verbs.py)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..simulator.moments import On, moment_of
from ..simulator.trigger import Trigger
from ..simulator.value_types import CardSource
from ..simulator.verbs import TABLE, Request, Type, Verb
from .fields import Change, Duration, HexByte, Model, Name
from .verbs import PCSC, Action, Insert, Later, PinPad, Step, Swap, verb_of

Cards = Mapping[str, CardSource]


class Moment(Model):
    """When: at a `call` (before, during, after), an APDU (`ins`), an `event`, a `signal`, or a `time` after arming."""

    call: str | None = None
    ins: HexByte | None = None
    event: Change | None = None
    signal: Name | None = None
    time: Duration | None = None
    when: Literal["before", "during", "after"] | None = None
    slot: HexByte | None = None
    link: Annotated[int, Field(ge=1, strict=True)] | None = None
    reader: Name | None = None
    application: str | None = None
    thread: Annotated[int, Field(ge=1, strict=True)] | None = None

    @property
    def on(self) -> On:
        """Return the moment. Raises ValueError if the fields do not go together."""
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        if "time" in fields:
            fields["seconds"] = fields.pop("time")
        return moment_of(fields)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        _ = self.on
        return self


class TriggerModel(Model):
    """At the `nth` moment that fits, and `times` times in all (null: always), `do` something."""

    on: Moment
    do: Action
    nth: Annotated[int, Field(ge=1, strict=True)] = 1
    times: Annotated[int, Field(ge=1, strict=True)] | None = 1
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.trigger(_AnyCard())
        return self

    @property
    def reader(self) -> str | None:
        """Return the reader to which its moment is limited."""
        return self.on.reader

    @property
    def time(self) -> float | None:
        """Return the seconds from arming to its moment, if that is a time."""
        return self.on.time

    def trigger(self, cards: Cards) -> Trigger:
        """Return the trigger for a simulator. Raises ValueError for one that can never fire."""
        verb, arguments = arguments_of(self.do, cards)
        return Trigger(
            verb,
            arguments,
            self.on.on,
            nth=self.nth,
            times=self.times,
            probability=self.probability,
            seed=self.seed,
        )


def named(value: Any) -> Any:
    """Refuse triggers without names, as {on: ..., do: ...}. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("triggers are written by their names: {NAME: {on: ..., do: ...}}")
    parts = {"on", "do"} & set(value)
    if parts and not all(isinstance(value[part], dict) and {"on", "do"} & set(value[part]) for part in parts):
        name = value.get("name")
        name = name if isinstance(name, str) else "NAME"
        raise ValueError(f"a trigger stands under its name: {{{name}: {{on: ..., do: ...}}}}")
    return value


def arguments_of(action: Step, cards: Cards) -> tuple[str, dict[str, Any]]:
    """Return verb and arguments of an action, as the table of verbs has them."""
    verb = verb_of(action)
    match action:
        case Insert() | Swap():
            atr = {} if action.atr is None else {"atr": bytes.fromhex(action.atr)}
            is_usual = action.card is None or is_of_pcsc(action, cards)
            card = {} if is_usual else {"card": cards[str(action.card)]}
            return verb, {"reader": action.reader, **card, **atr}
        case PinPad():
            return verb, {"reader": action.reader, **({} if action.pin is None else {"pin": action.pin})}
        case Later():
            return verb, {"seconds": action.later, "then": Request(*arguments_of(action.do, cards))}
    return verb, _plain_arguments(TABLE[verb], action)


def _plain_arguments(row: Verb, action: Step) -> dict[str, Any]:
    """Return the arguments of a step whose first one is under the verb's own name, the others under theirs."""
    arguments = {}
    for number, each in enumerate(row.parameters):
        value = getattr(action, each.name if number else row.method)
        value = each.default if value is None else value
        arguments[each.name] = bytes.fromhex(value) if each.type is Type.DATA and isinstance(value, str) else value
    return arguments


def is_of_pcsc(action: Insert | Swap, cards: Container[str]) -> bool:
    """Return whether the card is PC/SC's, and no card of the scenario by that name."""
    return isinstance(action, Insert) and action.card == PCSC and PCSC not in cards


class _AnyCard(dict[str, CardSource]):
    """Stands for the cards of a scenario while a trigger is checked by itself."""

    def __missing__(self, name: str) -> CardSource:
        from ...card.issuing.profiles import CardRequest

        return CardRequest()
