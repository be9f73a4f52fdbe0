# SPDX-License-Identifier: MIT
"""What a card says to vpcd over one connection: the vpicc protocol's messages in, answers out. No sockets.

Several doors may lead to one card. Of transactions that programs of PC/SC declare, vpcd is not told; who comes through
another door stands in pcscd's queue for that (pcsc_turn.py). For a program that declares none the card is kept while
its commands follow each other closely: a chained command, a long answer, a PIN and the signature that needs it come
through in one piece.
"""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING

from . import vpcd_wire
from .card_lock import PATIENCE
from .reader import Insertion
from .vpcd_wire import Control

if TYPE_CHECKING:
    from .pcsc_turn import PcscTurn

SILENCE = 0.1
"""Seconds without a command after which others may use the card."""

LONGEST = PATIENCE
"""Seconds after which they may in any case."""

NO_ATR = bytes(64)
"""A card that is there and says nothing: vpcd takes a missing ATR for a missing card, but one that is longer than any
for a card that cannot be powered up."""


_AT_ONCE = 0.3
"""Seconds within which pcscd powers a card up that it sees for the first time; it looks again after 0.4 s."""


class Dialogue:
    """The card of one stay, as vpcd speaks to it. To be used by one thread, and closed by it.

    `fresh`: the card comes straight from its insertion, so that the first power-on need not reset it. `turn`: where
    those who come through other doors stand in pcscd's queue.
    """

    def __init__(self, insertion: Insertion, fresh: bool, turn: PcscTurn | None = None) -> None:
        self.insertion = insertion
        self.told_atr = b""
        """What pcscd takes for the card's ATR."""
        self._turn = turn
        self._powered = fresh
        self._first_look: float | None = None
        self._atrs: int | None = None
        self._kept = ExitStack()
        self._kept_since: float | None = None

    def answer(self, body: bytes) -> bytes | None:
        """The answer's body to a message's, or None if there is none. Raises CardRemoved, CardMute."""
        match vpcd_wire.control(body):
            case None if self._turn is not None and body == self._turn.secret:
                return self._turn.known
            case None:
                self._keep()
                return self.insertion.transmit(body)
            case Control.ATR:
                self._first_look = self._first_look or monotonic()
                self._atrs = None if self._atrs is None else self._atrs + 1
                self.told_atr = NO_ATR if self.insertion.card.is_dead else self.insertion.atr
                return self.told_atr
            case Control.OFF:
                # Felt at the next power-on: pcscd saves power after seconds of rest, and that alone must not
                # end the logins of those who use the card through another door.
                self._powered = False
                self._first_look = None
            case Control.ON | Control.RESET as wanted:
                # One of ours that only stands in pcscd's queue may have come when it had just taken the power away.
                is_ours = self._turn is not None and self._turn.is_connecting
                if wanted is Control.RESET or not (self._powered or is_ours):
                    with self.insertion.inner_lock:
                        self.insertion.reset(is_warm=wanted is Control.RESET)
                self._powered = True
                self._atrs = self._atrs or 0
        return None

    @property
    def is_powered(self) -> bool:
        """Whether a program may have the card in use: soon after the last one has ended, pcscd takes the power away."""
        return self._powered and self._atrs is not None

    @property
    def is_overlooked(self) -> bool:
        """Whether pcscd has looked, and has not powered the card up: it takes it for one that was there before.

        One that it has powered off it knows to have gone.
        """
        return self._atrs is None and self._first_look is not None and monotonic() > self._first_look + _AT_ONCE

    @property
    def is_shown(self) -> bool:
        """Whether every program finds the card in pcscd.

        It reads the ATR after power-on and then shows the card; that it has, we know when it looks again, by the ATR,
        for whether the card is still there.
        """
        return self._atrs is not None and self._atrs > 1

    @property
    def patience(self) -> float | None:
        """Seconds for which the card waits for the next command before `let_go`; None if it is not kept."""
        if self._kept_since is None:
            return None
        return max(0.0, min(SILENCE, self._kept_since + LONGEST - monotonic()))

    def _keep(self) -> None:
        if self._kept_since is None:
            self._kept.enter_context(self.insertion.inner_lock)
            self._kept_since = monotonic()

    def let_go(self) -> None:
        """Others may use the card."""
        if self._kept_since is not None:
            self._kept_since = None
            self._kept.close()
