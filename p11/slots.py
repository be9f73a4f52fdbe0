# SPDX-License-Identifier: MIT
"""Slots as one application sees them: numbered once, never renumbered, never removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..reader.reader import Reader
from . import abi
from .constants import CKF
from .token import Token


class Slot:
    """A reader by name, kept as an empty slot when the reader is unplugged. Changes under the testbed's lock only.

    `event` is the flag that C_WaitForSlotEvent clears; `listed` tells whether C_GetSlotList shows the slot yet.
    `record_position` counts the slots of the SlotRecord before it.
    """

    record_position = 0

    def __init__(self, number: int, name: str, listed: bool, flags: int = CKF.REMOVABLE_DEVICE | CKF.HW_SLOT) -> None:
        self.number = number
        self.name = name
        self.listed = listed
        self.event = False
        self.reader: Reader | None = None
        self.token: Token | None = None
        self._empty = abi.slot_info(name, flags)
        self._occupied = abi.slot_info(name, flags | CKF.TOKEN_PRESENT)

    @property
    def true_info(self) -> bytes:
        """Return CK_SLOT_INFO without quirks; sends no APDU."""
        return self._empty if self.token is None else self._occupied

    @property
    def info(self) -> bytes:
        """Return CK_SLOT_INFO as C_GetSlotInfo does; sends no APDU."""
        return self.true_info


def list_all(slots: dict[int, Slot], _all: Sequence[Slot]) -> bool:
    """Let C_GetSlotList show all slots; return whether any is new to it (5.5.1)."""
    new = [slot for slot in slots.values() if not slot.listed]
    for slot in new:
        slot.listed = True
    return bool(new)


def shown(slots: Iterable[Slot], _refresh: bool, token_present: bool) -> list[Slot]:
    """Return the listed slots, only those with a token if `token_present`."""
    return [slot for slot in slots if slot.listed and (slot.token is not None or not token_present)]
