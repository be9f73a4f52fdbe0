# SPDX-License-Identifier: MIT
"""An armed trigger as `status` tells it: in the words of the request `arm` (docs/control.md), without secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ..p11.constants import CKR
from .records import name_of
from .requests import Request
from .trigger import Trigger

_COUNTS = {"nth": 1, "times": 1, "probability": 1.0, "seed": 0}


def as_armed(trigger: Trigger) -> dict[str, Any]:
    """Its moment, its action, how many moments it has seen and how often it has fired."""
    on = {each.name: getattr(trigger.on, each.name) for each in fields(trigger.on)}
    usual = {each.name: each.default for each in fields(trigger.on) if each.name != "ins"}
    counts = {name: getattr(trigger, name) for name in _COUNTS}
    return {
        "on": _told(
            {name: value for name, value in (on | counts).items() if value != (usual | _COUNTS).get(name, _NONE)}
        ),
        "then": {"do": trigger.verb, **_told(trigger.arguments)},
        "seen": trigger.seen,
        "fired": trigger.fired,
    }


_NONE = object()


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _WRITE.get(name, _same)(value) for name, value in values.items() if name not in _UNTOLD}


def _same(value: Any) -> Any:
    return value


def _byte(value: int | None) -> str | None:
    return None if value is None else f"{value:02X}"


def _request(value: Request) -> dict[str, Any]:
    return {"do": value.verb, **_told(value.arguments)}


_UNTOLD = frozenset({"pin", "card", "data"})
"""A card has a PIN among its parameters."""

_WRITE: dict[str, Callable[[Any], Any]] = {
    "ins": _byte,
    "slot": _byte,
    "status": lambda value: f"{value:04X}",
    "value": lambda value: name_of(CKR, value),
    "then": _request,
}
