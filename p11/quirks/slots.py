# SPDX-License-Identifier: MIT
"""The slots of a module with quirks, and its C_GetSlotList (the quirks slotlist_policy and slotlist_present).

A policy gets the slots by number, which it may change, and all slots that have ever been there, in their order. The
caller holds the testbed's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..constants import CKF
from ..slots import Slot
from .outcomes import OutcomeReached
from .table import Quirks


class QuirkySlot(Slot):
    """A slot of a module with quirks."""

    def __init__(self, quirks: Quirks, number: int, name: str, listed: bool) -> None:
        flags = (CKF.REMOVABLE_DEVICE if quirks.removable else 0) | (CKF.HW_SLOT if quirks.hw_slot else 0)
        super().__init__(number, name, listed, flags)
        self._quirks = quirks
        self.inserted_at = 0.0
        self.failures_left = 0
        self.was_emptied = False
        self.is_seen = False
        self.has_token = self.had_token = False
        self.has_delayed_event = False
        self.is_stuck = False
        self.is_repeated = False
        self.is_hidden = False
        """The token is there and not seen (wfse_mode=ticking)."""
        self.may_be_new = False
        """Listed from the next C_GetSlotList on (slotlist_policy=late)."""

    @property
    def is_plugged(self) -> bool:
        """Return whether the reader is plugged in."""
        return self.reader is not None and self.reader.plugged

    @property
    def info(self) -> bytes:
        """Return CK_SLOT_INFO, or the outcome in its place. Raises OutcomeReached."""
        quirks = self._quirks
        if self.token is None:
            outcome = quirks.slotinfo_rv if self.is_plugged else quirks.unplugged_rv or quirks.slotinfo_rv
            if outcome is not None:
                raise OutcomeReached(outcome)
        if quirks.presence_flaps:
            self.is_hidden = not self.is_hidden
        return self._empty if self.is_hidden else super().info


def quirky(slot: Slot) -> QuirkySlot:
    """Return the slot as a QuirkySlot, which every slot of a module with quirks is."""
    assert isinstance(slot, QuirkySlot)
    return slot


def keep(slots: dict[int, Slot], _all: Sequence[Slot]) -> None:
    """List new slots at the end; remove and renumber none, as the standard wants (5.5.1)."""
    for slot in slots.values():
        slot.listed = True


def shrink(slots: dict[int, Slot], all_slots: Sequence[Slot]) -> None:
    """Drop the slots of unplugged readers; a reader that comes back gets its old number."""
    _replace(slots, [(slot.number, slot) for slot in all_slots if quirky(slot).is_plugged])


def renumber(slots: dict[int, Slot], all_slots: Sequence[Slot]) -> None:
    """Number the slots by their positions in the list of plugged readers."""
    _replace(slots, enumerate(slot for slot in all_slots if quirky(slot).is_plugged))


def restless(slots: dict[int, Slot], all_slots: Sequence[Slot]) -> None:
    """Give each empty slot a number that no slot has had yet."""
    following = max((slot.number for slot in all_slots), default=-1) + 1
    numbers = []
    for slot in all_slots:
        if slot.token is None and slot.listed:
            number, following = following, following + 1
        else:
            number = slot.number
        numbers.append((number, slot))
    _replace(slots, numbers)


def late(slots: dict[int, Slot], _all: Sequence[Slot]) -> None:
    """List new slots one call later than the standard wants."""
    for slot in map(quirky, slots.values()):
        slot.listed = slot.listed or slot.may_be_new
        slot.may_be_new = True


def fixed(_slots: dict[int, Slot], _all: Sequence[Slot]) -> None:
    """List the slots that were there at C_Initialize, and no others."""


def _replace(slots: dict[int, Slot], numbered: Iterable[tuple[int, Slot]]) -> None:
    new = dict(numbered)
    slots.clear()
    slots.update(new)
    for number, slot in new.items():
        slot.number, slot.listed = number, True


POLICIES: dict[str, Callable[[dict[int, Slot], Sequence[Slot]], None]] = {
    each.__name__: each for each in (keep, shrink, renumber, restless, late, fixed)
}


PRESENT: dict[str, Callable[[QuirkySlot], bool]] = {
    "right": lambda slot: slot.token is not None,
    "seen": lambda slot: slot.token is not None or slot.is_seen,
    "blind": lambda _slot: False,
    "late": lambda slot: slot.had_token,
}
"""Which slots C_GetSlotList(TRUE) shows (the quirk slotlist_present)."""
