# SPDX-License-Identifier: MIT
"""Adapter in the other direction: mirror the card in a PC/SC reader into a virtual reader.

So the module drives it, ours behind vpcd or a real one in a real reader, and triggers, faults and removals can be
played on it. Insertions and removals there are waited for (SCardGetStatusChange), not looked for.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from time import monotonic
from typing import Any

from smartcard import scard

from ..errors import TestbedError
from ..reader import Reader
from .pcsc_card import PcscCard
from .pcsc_channel import Channel, PcscError, call, wait_for_change
from .pcscd_call import refusal

LOG = logging.getLogger(__name__)

_NEW_READERS = "\\\\?PnP?\\Notification"
"""By this name PC/SC tells of readers that come and go."""

_FOREVER, _AGAIN = scard.INFINITE, 1000
"""Milliseconds to wait for a change. The second is for what PC/SC does not tell reliably: that a reader has come just
now, or that a program that had the card for itself has let go of it."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to reach a service that is not there; doubled each time."""

_RELEASE = 2.0
"""Seconds that PC/SC and the card have to come to an end with what they do."""

_COUNTER = 0xFFFF0000
"""The part of a state that counts insertions and removals."""


class PcscReader:
    """Mirrors into `reader` the card of the first PC/SC reader whose name contains `name`, until `close`.

    The service may come later, go, and come back, and so may the reader. `card` is the card that is there now; pulled
    out of the virtual reader it can be inserted again. A card of the testbed that is in the virtual reader stays there.
    """

    def __init__(self, reader: Reader, name: str = "", exclusive: bool = False) -> None:
        self.card: PcscCard | None = None
        self.ready = threading.Event()
        """Set when it has been looked for the first time."""
        self._reader = reader
        self.wanted = name
        self._exclusive = exclusive
        self._counter: int | None = None
        self._context: Any = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"PC/SC for {reader.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Remove the card from the virtual reader, release it for other programs, and end."""
        card = self.card
        self._closing.set()
        deadline = monotonic() + _RELEASE
        while self._thread.is_alive() and monotonic() < deadline:
            context = self._context
            if context is not None:  # it is heard only by one who waits already
                scard.SCardCancel(context)
            self._thread.join(0.02)
        if card is not None and card.is_lost:
            card.wait_until_released(_RELEASE)

    def _run(self) -> None:
        pause, complained = _FIRST_PAUSE, False
        while not self._closing.is_set():
            try:
                (self._context,) = call("SCardEstablishContext", scard.SCARD_SCOPE_SYSTEM)
                pause, complained = _FIRST_PAUSE, False
                self._watch()
            except PcscError as error:
                if not complained:
                    LOG.warning("no PC/SC for the reader %s, waiting for it: %s", self._reader.name, refusal() or error)
                complained = True
            context, self._context = self._context, None
            if context is not None:
                scard.SCardReleaseContext(context)
            self._lose()
            self.ready.set()
            self._closing.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _watch(self) -> None:
        """Follow the PC/SC reader until `close`. Raises PcscError if the service ends."""
        name, state, atr, readers_state = None, scard.SCARD_STATE_UNAWARE, b"", scard.SCARD_STATE_UNAWARE
        while not self._closing.is_set():
            if name is None:
                name, state = self._find(), scard.SCARD_STATE_UNAWARE
            is_settled = True
            states = [(_NEW_READERS, readers_state)]
            if name is not None:
                (_, state, atr), *_ = self._wait([(name, state)], 0) or [(name, state, atr)]
                is_settled = self._see(name, state, bool(atr))
                if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
                    name = None
                    continue
                states.append((name, state & ~scard.SCARD_STATE_CHANGED))
            self.ready.set()
            seen = self._wait(states, _FOREVER if name is not None and is_settled else _AGAIN)
            if seen:
                readers_state = seen[0][1] & ~scard.SCARD_STATE_CHANGED

    def _find(self) -> str | None:
        try:
            (names,) = call("SCardListReaders", self._context, [])
        except PcscError as error:
            if error.code != scard.SCARD_E_NO_READERS_AVAILABLE:
                raise
            return None
        return next((name for name in names if self.wanted in name), None)

    def _wait(self, states: list[tuple[str, int]], milliseconds: int) -> list[tuple[str, int, bytes]]:
        """Return the states after a change; none if there was no change within the time."""
        try:
            return wait_for_change(self._context, milliseconds, states)
        except PcscError as error:
            if error.code in (scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED):
                return []
            raise

    def _see(self, name: str, state: int, is_powered_up: bool) -> bool:
        """Take over a new state of the reader. Returns False for a card that cannot be used yet.

        pcscd tells of a card before it has powered it up, read its ATR and counted it. Who connects in between has the
        card counted as another one, and the power taken away under a connection that is of no use from then on.
        """
        if not state & scard.SCARD_STATE_PRESENT:
            self._lose()
            return True
        is_mute = bool(state & scard.SCARD_STATE_MUTE)
        if not is_mute and not is_powered_up:
            return False
        card = self.card
        if (
            card is not None
            and state & _COUNTER == self._counter
            and not card.is_lost
            and (is_mute or not card.is_dead)
        ):
            return True
        self._lose()
        channel = None
        if not is_mute:
            try:
                channel = Channel(name, self._exclusive)
            except PcscError as error:
                LOG.info("the card in %s cannot be had yet: %s", name, error)
                return False
        self._counter = state & _COUNTER
        self.card = PcscCard(name, channel, self._exclusive)
        with contextlib.suppress(TestbedError):  # unplugged, or occupied by another card: a script's wish
            self._reader.insert(self.card)
        return True

    def _lose(self) -> None:
        card, self.card = self.card, None
        if card is not None:
            card.lost()
