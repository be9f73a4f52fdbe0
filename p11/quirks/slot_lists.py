# SPDX-License-Identifier: MIT
"""What C_GetSlotList(NULL) does to the slots: policies by name (the quirk slotlist_policy).

A policy gets the slots by number, which it may change, and all slots that have ever been there, in their order. The
caller holds the testbed's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def keep(slots: dict[int, Any], _all: Sequence[Any]) -> None:
    """The right one: never fewer, never renumbered, new ones at the end."""
    for slot in slots.values():
        slot.listed = True


def shrink(slots: dict[int, Any], all_slots: Sequence[Any]) -> None:
    """The slots of unplugged readers are dropped; a reader that comes back has its old number."""
    _replace(slots, [(slot.number, slot) for slot in all_slots if _is_plugged(slot)])


def renumber(slots: dict[int, Any], all_slots: Sequence[Any]) -> None:
    """The numbers are places in the list of readers."""
    _replace(slots, enumerate(slot for slot in all_slots if _is_plugged(slot)))


def restless(slots: dict[int, Any], all_slots: Sequence[Any]) -> None:
    """An empty slot gets a number that no slot has had yet."""
    following = max((slot.number for slot in all_slots), default=-1) + 1
    numbers = []
    for slot in all_slots:
        if slot.token is None and slot.listed:
            number, following = following, following + 1
        else:
            number = slot.number
        numbers.append((number, slot))
    _replace(slots, numbers)


def late(slots: dict[int, Any], _all: Sequence[Any]) -> None:
    """New slots come one call later than they should."""
    for slot in slots.values():
        slot.listed = slot.listed or slot.may_be_new
        slot.may_be_new = True


def fixed(_slots: dict[int, Any], _all: Sequence[Any]) -> None:
    """What was there at C_Initialize is all that there ever is."""


def _is_plugged(slot: Any) -> bool:
    return slot.reader is not None and slot.reader.plugged


def _replace(slots: dict[int, Any], numbered: Iterable[tuple[int, Any]]) -> None:
    new = dict(numbered)
    slots.clear()
    slots.update(new)
    for number, slot in new.items():
        slot.number, slot.listed = number, True


POLICIES: dict[str, Callable[[dict[int, Any], Sequence[Any]], None]] = {
    each.__name__: each for each in (keep, shrink, renumber, restless, late, fixed)
}


PRESENT: dict[str, Callable[[Any], bool]] = {
    "right": lambda slot: slot.token is not None,
    "seen": lambda slot: slot.token is not None or slot.is_seen,
    "blind": lambda _slot: False,
    "late": lambda slot: slot.had_token,
}
"""Which slots C_GetSlotList(TRUE) shows (the quirk slotlist_present)."""
