# SPDX-License-Identifier: MIT
"""The card's side of the vpicc protocol over one connection: messages in, replies out. No sockets.

Several adapters may lead to one card. Of transactions that programs of PC/SC declare, vpcd is not told; who comes
through another adapter stands in pcscd's queue for that (transactions.py). For a program that declares none the card is
kept while its commands follow each other closely: a chained command, a long response, a PIN and the signature that
needs it come through in one piece.
"""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING

from ..card_lock import PATIENCE
from ..errors import CardMute
from ..reader import Insertion
from . import vpcd_wire
from .vpcd_wire import VpcdControl

if TYPE_CHECKING:
    from .transactions import PcscdTransactions

SILENCE = 0.1
"""Seconds without a command after which others may use the card."""

LONGEST = PATIENCE
"""Seconds after which they may in any case."""

NO_ATR = bytes(64)
"""A card that is there and says nothing: vpcd takes a missing ATR for a missing card, but one that is longer than any
for a card that cannot be powered up."""


_LOOKS, _AT_ONCE = 2, 0.3
"""So many times, and seconds, pcscd looks at a card before it powers it up; else it looks every 0.4 s."""


class Dialogue:
    """The card of one insertion in vpcd's protocol. One thread uses and closes it.

    `is_powered_up`: pcscd has powered the card up before, in this insertion. If not, the first power-on need not reset
    it, and until then no command reaches it. `transactions`: where those who come through other adapters stand in
    pcscd's queue.
    """

    def __init__(
        self, insertion: Insertion, is_powered_up: bool = False, transactions: PcscdTransactions | None = None
    ) -> None:
        self.insertion = insertion
        self.told_atr = b""
        """What pcscd takes for the card's ATR."""
        self.is_powered_up = is_powered_up
        self._transactions = transactions
        self._powered = not is_powered_up
        self._first_look: float | None = None
        self._looks = 0
        self._atrs: int | None = None
        self._kept = ExitStack()
        self._kept_since: float | None = None

    def respond(self, body: bytes) -> bytes | None:
        """Return the reply to a message, None if it has none. Raises CardRemoved, CardMute.

        A card that has no power yet is mute for commands.
        """
        match vpcd_wire.control(body):
            case None if not self.is_powered_up:
                raise CardMute(self.insertion.reader.name)
            case None if self._transactions is not None and body == self._transactions.secret:
                return self._transactions.known
            case None:
                self._keep()
                return self.insertion.transmit(body)
            case VpcdControl.ATR:
                self._first_look = self._first_look or monotonic()
                self._looks += 1
                self._atrs = None if self._atrs is None else self._atrs + 1
                self.told_atr = NO_ATR if self.insertion.card.is_dead else self.insertion.atr
                return self.told_atr
            case VpcdControl.OFF:
                # Felt at the next power-on: pcscd saves power after seconds of rest, and that alone must not
                # end the logins of those who use the card through another adapter.
                self._powered = False
            case VpcdControl.ON | VpcdControl.RESET as wanted:
                if not self._is_ours(wanted) and (wanted is VpcdControl.RESET or not self._powered):
                    with self.insertion.inner_lock:
                        self.insertion.reset(is_warm=wanted is VpcdControl.RESET, is_known=True)
                self._powered = self.is_powered_up = True
                self._atrs = self._atrs or 0
        return None

    @property
    def is_powered(self) -> bool:
        """Return whether a program may use the card; pcscd cuts the power soon after the last one ends."""
        return self._powered and self._atrs is not None

    def overlooks(self, control: VpcdControl | None) -> bool:
        """Return whether pcscd, by this message, takes the card for an earlier one.

        When its own thread has seen a card come, it powers the card up at once, and has looked twice by then: once to
        see it, and once because each power-on begins with a look. A power-on after one look is a program's.
        """
        if self.is_powered_up:
            return False
        if control is VpcdControl.ATR:
            return self._first_look is not None and monotonic() > self._first_look + _AT_ONCE
        return control is not VpcdControl.ON or self._looks < _LOOKS

    @property
    def is_shown(self) -> bool:
        """Return whether every program finds the card in pcscd.

        It reads the ATR after power-on and then shows the card; that it has, we know when it looks again, by the ATR,
        for whether the card is still there.
        """
        return self._atrs is not None and self._atrs > 1

    @property
    def patience(self) -> float | None:
        """Return the seconds for which the card is kept for the next command before `let_go`; None if it is not."""
        if self._kept_since is None:
            return None
        return max(0.0, min(SILENCE, self._kept_since + LONGEST - monotonic()))

    def _is_ours(self, wanted: VpcdControl) -> bool:
        """Return whether this message was caused by ourselves, as one of pcscd's programs, and must not reach the card.

        A reset is told to the others in this way when it has happened; and pcscd may just have taken the power away
        when we come to stand in its queue.
        """
        if self._transactions is None:
            return False
        return self._transactions.is_resetting if wanted is VpcdControl.RESET else self._transactions.is_connecting

    def _keep(self) -> None:
        if self._kept_since is None:
            self._kept.enter_context(self.insertion.inner_lock)
            self._kept_since = monotonic()

    def let_go(self) -> None:
        """Release the card for others."""
        if self._kept_since is not None:
            self._kept_since = None
            self._kept.close()
