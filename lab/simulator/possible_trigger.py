# SPDX-License-Identifier: MIT
"""Checks of a trigger that is about to be armed: one that can never fire or act is refused or reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ...card.wording import meant
from ...p11.calls import BY_NAME
from ...reader.errors import TestbedError
from .moments import OnApdu, OnCall, OnEvent
from .trigger import Trigger
from .verbs import TABLE, Type

_AT_ONCE = frozenset(
    {
        "C_GetSlotList",
        "C_GetSlotInfo",
        "C_GetSessionInfo",
        "C_FindObjects",
        "C_FindObjectsFinal",
        "C_DigestInit",
        "C_Digest",
        "C_DigestUpdate",
        "C_DigestFinal",
        "C_SeedRandom",
        "C_GenerateRandom",
        "C_SessionCancel",
    }
)
"""Calls that send no APDU and wait for nothing: they have no moment `during`."""

_FROM_MEMORY = frozenset(
    {"C_OpenSession", "C_GetAttributeValue", "C_GetObjectSize"}
    | {name for name in BY_NAME if name.endswith("Init") and name not in ("C_FindObjectsInit", "C_DigestInit")}
)
"""Calls that are answered from what was read of the card before, unless the card has changed meanwhile."""


class UnknownReader(TestbedError):
    """A trigger for a reader that never was."""

    code = "no-such-reader"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        there = ", ".join(known)
        question = meant(name, there.split(", "))
        super().__init__(
            f"there never was a reader {name!r}{question or ';'} "
            + (f"there are: {there}" if there else "plug it in, or arm a `plug` of it, first")
        )


def check(trigger: Trigger, armed: Iterable[Trigger], readers: Callable[[], list[str]], has_quirks: bool) -> None:
    """Refuse a trigger that can never fire or act; `readers` are all that ever were plugged in.

    Raises UnknownReader, and ValueError for a moment that its call does not have.
    """
    others = list(armed)
    named = set(_readers(trigger.verb, trigger.arguments))
    if isinstance(trigger.on, OnApdu | OnEvent) and trigger.on.reader is not None:
        named.add(trigger.on.reader)
    if named:
        known = readers()
        coming = {name for each in (*others, trigger) for name in _readers(each.verb, each.arguments, Type.NEW_READER)}
        for name in sorted(named - coming - set(known)):
            raise UnknownReader(name, known)
    if isinstance(trigger.on, OnApdu) and _matching(trigger.on.call) <= _AT_ONCE:
        raise ValueError(
            f"{trigger.on.call} sends no APDU; leave out the APDU's --ins or 'ins' to choose the call itself"
        )
    if (
        _calls(trigger)
        and _calls(trigger) <= _AT_ONCE
        and not has_quirks
        and not any(TABLE[each.verb].waits for each in others)
    ):
        raise ValueError(
            f"{_pattern(trigger)} sends no APDU and waits for nothing, so nothing happens 'during' it: "
            "choose 'before' or 'after'"
        )


def doubt(trigger: Trigger) -> str | None:
    """Return why a trigger may never fire though it could, None if nothing speaks against it."""
    if _calls(trigger) and _calls(trigger) <= _FROM_MEMORY | _AT_ONCE:
        return (
            f"{_pattern(trigger)} is mostly answered without an APDU, and 'during' is the moment of the first one: "
            "this may never fire; 'before' and 'after' always come"
        )
    return None


def _calls(trigger: Trigger) -> set[str]:
    """Return the calls of a trigger that fires during them; none for another one."""
    if not isinstance(trigger.on, OnCall) or trigger.on.when != "during":
        return set()
    return _matching(trigger.on.call)


def _matching(pattern: str) -> set[str]:
    return {name for name in BY_NAME if fnmatchcase(name, pattern)}


def _pattern(trigger: Trigger) -> str:
    assert isinstance(trigger.on, OnCall)
    return trigger.on.call


def _readers(verb: str, arguments: Mapping[str, Any], kind: Type = Type.READER) -> Iterator[str]:
    """Yield the readers that an action needs, or with NEW_READER those that it plugs in."""
    for parameter in TABLE[verb].parameters:
        if parameter.type is Type.REQUEST:
            then, more = arguments[parameter.name]
            yield from _readers(then, more, kind)
        elif parameter.type is kind:
            yield arguments[parameter.name]
