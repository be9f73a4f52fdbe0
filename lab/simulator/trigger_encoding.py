# SPDX-License-Identifier: MIT
"""A trigger in the words of the control channel's request `arm` (docs/control.md), and as `status` tells it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...card.issuing.profiles import CardRequest
from ...p11.constants import CKR
from ...p11.number_names import name_of
from .requests import CardSource, EncryptedImage, Request
from .trigger import Trigger

_COUNTS = {"nth": 1, "times": 1, "probability": 1.0, "seed": 0}


def as_request(trigger: Trigger) -> dict[str, Any]:
    """The arguments of `arm`."""
    return {"on": _moment(trigger), "then": {"do": trigger.verb, **_written(trigger.arguments)}}


def as_armed(trigger: Trigger) -> dict[str, Any]:
    """Its moment, its action without what is secret in it, how many moments it has seen and how often it has fired.

    Also how often its action could not be carried out, and why not the last time, if that has happened.
    """
    request = as_request(trigger)
    failures = {"failed": trigger.failed, "problem": trigger.problem} if trigger.failed else {}
    counts = {"seen": trigger.seen, "fired": trigger.fired, **failures}
    return {"on": request["on"], "then": _open(request["then"]), **counts}


def action_words(trigger: Trigger) -> str:
    """Return the arguments of its action in a row, without what is secret."""
    return " ".join(str(value) for name, value in as_armed(trigger)["then"].items() if name != "do")


def _moment(trigger: Trigger) -> dict[str, Any]:
    """What is other than usual; of an APDU always `ins`, by which it is known."""
    usual = _COUNTS | {each.name: each.default for each in fields(trigger.on) if each.name != "ins"}
    values = {each.name: getattr(trigger.on, each.name) for each in fields(trigger.on)}
    values |= {name: getattr(trigger, name) for name in _COUNTS}
    return _written({name: value for name, value in values.items() if name not in usual or value != usual[name]})


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _WRITE.get(name, _same)(value) for name, value in values.items()}


def _open(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _open(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if name not in _SECRET
    }


def _same(value: Any) -> Any:
    return value


def _byte(value: int | None) -> str | None:
    return None if value is None else f"{value:02X}"


def _request(value: Request) -> dict[str, Any]:
    return {"do": value.verb, **_written(value.arguments)}


def as_card(card: CardSource | object) -> str | dict[str, Any]:
    """A card, by path or by its parameters. Raises ValueError for one that is neither."""
    if isinstance(card, Path):
        return os.path.realpath(card)
    if isinstance(card, EncryptedImage):
        return {name: os.path.realpath(path) for name, path in card._asdict().items()}
    if not isinstance(card, CardRequest):
        raise ValueError(f"a card is a path or a CardRequest here, not {card!r}")
    return card.parameters


_SECRET = frozenset({"pin", "card", "data", "command"})
"""A card has a PIN among its parameters, and a command may be VERIFY."""

_WRITE: dict[str, Callable[[Any], Any]] = {
    "ins": _byte,
    "slot": _byte,
    "status": lambda value: f"{value:04X}",
    "value": lambda value: name_of(CKR, value) if value in set(CKR) else value,
    "data": bytes.hex,
    "command": bytes.hex,
    "atr": bytes.hex,
    "card": lambda card: as_card(card) if isinstance(card, Path | EncryptedImage | CardRequest) else None,
    "then": _request,
}
