# SPDX-License-Identifier: MIT
"""Application selection: SELECT chooses an application, every other command goes to the selected one.

To add an application, write a class with the methods of Applet and pass it to the card when that is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..apdu import Command
from ..status import SW, CardError
from ..tables import INS, RID_LENGTH

_SELECT, _MANAGE_CHANNEL = INS.SELECT, INS.MANAGE_CHANNEL
_BY_NAME = 0x04
_FIRST, _NEXT = 0x00, 0x02


class Applet(Protocol):
    """Interface of a card application during one activation; `aid` is its full application identifier."""

    aid: bytes

    def select(self) -> bytes:
        """Select the application, which may be selected already, and return the data for the response to SELECT."""
        ...

    def deselect(self) -> None:
        """Reset what must not outlast the selection; called when another application is selected."""
        ...

    def execute(self, command: Command) -> bytes:
        """Execute one complete command of any class and return the response data. Raises CardError and CardTorn."""
        ...


class Applications:
    """Dispatcher of complete commands. The first application is selected after reset, and by a SELECT without a name.

    A SELECT by an unknown name leaves the selection as it is.
    """

    def __init__(self, applets: Sequence[Applet]) -> None:
        self._applets = applets
        self._selected = applets[0] if applets else None

    def execute(self, command: Command) -> bytes:
        """Execute a SELECT, or pass the command to the selected application. Raises CardError and CardTorn."""
        if command.cla == 0:
            if command.ins == _SELECT:
                return self._select(command)
            if command.ins == _MANAGE_CHANNEL:
                raise CardError(SW.LOGICAL_CHANNEL_NOT_SUPPORTED)
        if self._selected is None:
            raise CardError(SW.INS_NOT_SUPPORTED if command.cla == 0 else SW.CLA_NOT_SUPPORTED)
        return self._selected.execute(command)

    def _select(self, command: Command) -> bytes:
        """Select by name (ISO/IEC 7816-4, 8.2.1.2): the first match, or the next one after the selected application.

        Raises CardError: 6A82 for no match, 6A86 for other ways of selection, because there are no files.
        """
        if command.p1 != _BY_NAME or command.p2 not in (_FIRST, _NEXT):
            raise CardError(SW.INCORRECT_P1P2)
        candidates = [applet for applet in self._applets if self._fits(applet, command.data)]
        if command.p2 == _NEXT and self._selected in candidates:
            candidates = candidates[candidates.index(self._selected) + 1 :]
        if not candidates:
            raise CardError(SW.NOT_FOUND)
        chosen = candidates[0]
        if self._selected is not None and self._selected is not chosen:
            self._selected.deselect()
        self._selected = chosen
        return chosen.select()

    def _fits(self, applet: Applet, name: bytes) -> bool:
        """Return whether a name matches an AID; it may be truncated on the right, but not within the RID."""
        if not name:
            return applet is self._applets[0]
        return len(name) >= RID_LENGTH and applet.aid.startswith(name)
