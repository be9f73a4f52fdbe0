# SPDX-License-Identifier: MIT
"""A trigger in the words of the control channel's request `arm` (docs/control.md), and as `status` tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from .trigger import Trigger
from .value_types import TYPES
from .verbs import MOMENT, TABLE, Parameter, Request, Type

_COUNTS = {"nth": 1, "times": 1, "probability": 1.0, "seed": 0}


def as_request(trigger: Trigger) -> dict[str, Any]:
    """Return the arguments of `arm`."""
    return {"on": _moment(trigger), "then": _action(trigger.verb, trigger.arguments)}


def as_armed(trigger: Trigger) -> dict[str, Any]:
    """Return its moment, its action without what is secret in it, how many moments it has seen, how often it has fired.

    Also how often its action could not be carried out, and why not the last time, if that has happened.
    """
    then = _action(trigger.verb, trigger.arguments, with_secrets=False)
    failures = {"failed": trigger.failed, "problem": trigger.problem} if trigger.failed else {}
    return {"on": _moment(trigger), "then": then, "seen": trigger.seen, "fired": trigger.fired, **failures}


def action_words(trigger: Trigger) -> str:
    """Return the arguments of its action in a row, without what is secret."""
    return " ".join(str(value) for name, value in as_armed(trigger)["then"].items() if name != "do")


def _moment(trigger: Trigger) -> dict[str, Any]:
    """Return what is other than usual; of an APDU always `ins`, by which it is known."""
    usual = _COUNTS | {each.name: each.default for each in fields(trigger.on) if each.name != "ins"}
    values = {each.name: getattr(trigger.on, each.name) for each in fields(trigger.on)}
    values |= {name: getattr(trigger, name) for name in _COUNTS}
    unusual = {name: value for name, value in values.items() if name not in usual or value != usual[name]}
    return _written(MOMENT.values(), unusual)


def _action(verb: str, arguments: Mapping[str, Any], with_secrets: bool = True) -> dict[str, Any]:
    shown = [each for each in TABLE[verb].parameters if with_secrets or not TYPES[each.type].is_secret]
    return {"do": verb, **_written(shown, arguments, with_secrets)}


def _written(parameters: Iterable[Parameter], values: Mapping[str, Any], with_secrets: bool = True) -> dict[str, Any]:
    """Return values as JSON has them, in the order in which they were given."""
    known = {each.name: each for each in parameters}
    return {name: _value(known[name], value, with_secrets) for name, value in values.items() if name in known}


def _value(parameter: Parameter, value: Any, with_secrets: bool) -> Any:
    if value is None:
        return None
    if parameter.type is Type.REQUEST:
        return _action(*Request(*value), with_secrets)
    return TYPES[parameter.type].write(value)
