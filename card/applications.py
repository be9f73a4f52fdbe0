# SPDX-License-Identifier: MIT
"""The applications of a card under power: SELECT chooses one, every other command goes to the one that is selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .apdu import Command
from .status import SW, CardError
from .tables import INS, RID_LENGTH

_SELECT = INS.SELECT
_BY_NAME, _FIRST = 0x04, 0x00


class Applet(Protocol):
    """An application in one activation; `aid` is its name with all its parts."""

    aid: bytes

    def select(self) -> bytes:
        """It is selected, perhaps again: the answer to SELECT."""
        ...

    def execute(self, command: Command) -> bytes:
        """A whole command to a whole answer. Raises CardError and CardTorn."""
        ...


class Applications:
    """Routes whole commands. Nothing is selected at first; an AID that nobody has leaves the selection as it is."""

    def __init__(self, applets: Sequence[Applet]) -> None:
        self._applets = applets
        self._selected: Applet | None = None

    def execute(self, command: Command) -> bytes:
        """Raises CardError and CardTorn."""
        if command.ins == _SELECT:
            return self._select(command)
        if self._selected is None:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED if self._applets else SW.INS_NOT_SUPPORTED)
        return self._selected.execute(command)

    def _select(self, command: Command) -> bytes:
        """By AID, which may be cut off on the right but for the provider's part (ISO/IEC 7816-4, 8.2.1.2)."""
        if command.p1 != _BY_NAME or command.p2 != _FIRST:
            raise CardError(SW.INCORRECT_P1P2)
        for applet in self._applets:
            if len(command.data) >= RID_LENGTH and applet.aid.startswith(command.data):
                self._selected = applet
                return applet.select()
        raise CardError(SW.NOT_FOUND)
