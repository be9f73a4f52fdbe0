# SPDX-License-Identifier: MIT
"""Requests of the control channel: from a line of JSON to a verb with checked arguments (docs/control.md). No I/O."""

from __future__ import annotations

from typing import Any

from ...card.files import json_text
from ...card.issuing.profiles import ProfileError
from ...card.wording import meant
from .trigger import Trigger
from .value_types import TYPES, check, named
from .verbs import MOMENT, TABLE, Parameter, Request, Type


class RequestError(ValueError):
    """A request that cannot be understood; nothing was done. `code` is for programs."""

    code = "bad-request"


def parse(line: bytes) -> dict[str, Any]:
    """Return the object of one line. Raises RequestError."""
    try:
        asked = json_text.loads(line.decode())
    except ValueError as error:
        raise RequestError(f"not a line of JSON: {error}") from None
    if not isinstance(asked, dict):
        raise RequestError("a request is a JSON object with the verb in 'do'")
    return asked


def decode(asked: object) -> Request:
    """Return the verb and the arguments of a request without its id. Raises RequestError, ProfileError."""
    if not isinstance(asked, dict) or not isinstance(asked.get("do"), str):
        raise RequestError("a request is a JSON object with the verb in 'do'")
    verb = asked["do"]
    row = TABLE.get(verb)
    if row is None:
        question = meant(verb, TABLE) or f"; there are: {', '.join(TABLE)}"
        raise RequestError(f"there is no verb {verb!r}{question}")
    given = {name: value for name, value in asked.items() if name != "do"}
    known = {each.name: each for each in row.parameters}
    try:
        arguments = {name: _read(known[name], value) if name in known else value for name, value in given.items()}
        check(verb, arguments)
    except ProfileError:
        raise
    except ValueError as error:
        raise RequestError(str(error)) from None
    return Request(verb, arguments)


def _read(parameter: Parameter, value: object) -> Any:
    """Make of JSON what the verb takes. Raises ValueError, ProfileError."""
    match parameter.type:
        case Type.REQUEST | Type.ACTION:
            return named(parameter.name, decode, value)
        case Type.MOMENT:
            return _moment(value)
    return named(parameter.name, TYPES[parameter.type].read, value)


def _moment(value: object) -> dict[str, Any]:
    known = ", ".join(map(repr, MOMENT))
    if not isinstance(value, dict):
        raise RequestError(f"'on' is an object with some of {known}")
    for name in value:
        if name not in MOMENT:
            question = meant(name, MOMENT)
            raise RequestError(f"'on' does not take {name!r}{question or ';'} it takes {known}")
    return {name: _field(MOMENT[name], each) for name, each in value.items()}


def _field(parameter: Parameter, value: object) -> Any:
    if value is None and not parameter.needed:
        return None
    kind = TYPES[parameter.type]
    read = named(parameter.name, kind.read, value)
    if not kind.fits(read):
        raise RequestError(f"{parameter.name!r} is {kind.words}, not {value!r}")
    return read


def trigger(on: dict[str, Any], then: Request) -> Trigger:
    """Return the trigger of an `arm` request. Raises RequestError if it can never fire."""
    try:
        return Trigger(then.verb, then.arguments, **on)
    except ValueError as error:
        raise RequestError(str(error)) from None
