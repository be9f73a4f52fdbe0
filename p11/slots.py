# SPDX-License-Identifier: MIT
"""Slots as one application sees them: numbered once, never renumbered, never fewer."""

from __future__ import annotations

from ..reader.reader import Reader
from . import abi
from .constants import CKF
from .token import Token


class Slot:
    """A reader by name. It stays when the reader is unplugged, empty. Changes under the testbed's lock only.

    `event` is the flag that C_WaitForSlotEvent takes; `listed` tells whether C_GetSlotList shows the slot already.
    `place` is the slot's own in the SlotRecord.
    """

    place = 0

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
        """CK_SLOT_INFO as it is, whatever a module with quirks says."""
        return self._empty if self.token is None else self._occupied

    @property
    def info(self) -> bytes:
        """CK_SLOT_INFO as of now."""
        return self.true_info
