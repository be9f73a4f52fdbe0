# SPDX-License-Identifier: MIT
"""What the adapters to a slot of vpcd share, whichever side connects."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ..card_lock import OtherQueue
from ..events import Change
from ..reader import Event, Insertion, Reader
from ..testbed import Testbed
from ..waiting import readable, waiter
from . import pcscd_call, tcp_peer, vpcd_wire
from .vpcd_dialogue import Dialogue

if TYPE_CHECKING:
    from .transactions import PcscdTransactions

LOG = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

UNFINISHED = 2.0
"""Seconds after which the rest of a message is not waited for any more."""

_GRACE = 5.0
"""Seconds for which `close` waits for a card that is at work."""


class Daemon(Protocol):
    """A pcscd of our own."""

    @property
    def is_running(self) -> bool:
        """Return whether it has been started and has not ended."""
        ...

    @property
    def is_there(self) -> bool:
        """Return whether it has answered since its start, and was not stopped."""
        ...

    def start(self) -> bool:
        """Start it and return True when it answers; False if it runs."""
        ...

    def stop(self) -> bool:
        """End it and return True when it is gone; False if it did not run."""
        ...


class SlotAdapter(ABC):
    """Shows a reader to pcscd until `close`, in one slot of vpcd.

    vpcd may come later, go, and come back; a word about it is logged. Other adapters of the same reader stay open: who
    shares a card shares its state, and a reset through PC/SC takes the login of everybody.
    """

    def __init__(self, testbed: Testbed, port: int, reader: Reader | None, hint: str) -> None:
        self.port = port
        self._hint = hint
        self.reader = reader
        self._testbed = testbed
        self._closing = False
        self._is_missed = False
        self._refused: str | None = None
        self._has_asked = False
        self._shown = threading.Condition(testbed.lock)
        self._dialogue: Dialogue | None = None
        """With the card that pcscd has in this slot now."""
        self._reserved: Dialogue | None = None
        """That which may keep its card between commands. Our thread's own."""
        self._transactions = _new_transactions()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._unsubscribe = testbed.add_part(self._hear)
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{port}", daemon=True)
        self._thread.start()
        self._share(reader)

    def show(self, reader: Reader | None) -> None:
        """Show this reader in the slot from now on."""
        with self._testbed.lock:
            self.reader = reader
            self._share(reader)
            self._cut()

    def close(self, wait: bool = True) -> None:
        """Take the card from pcscd, and end; with `wait` after the card's current command."""
        self._unsubscribe()
        with self._testbed.lock:
            if not self._closing:
                self._closing = True
                self._cut()
        if self._transactions is not None:
            self._transactions.close()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(_GRACE)

    @property
    def is_shown(self) -> bool:
        """Return whether pcscd has the card that is in the reader now, powered up."""
        with self._testbed.lock:
            return self._dialogue is not None and self._dialogue.is_shown

    def wait_until_shown(self, seconds: float) -> bool:
        """Wait until `is_shown`, or for so long."""
        with self._shown:
            return self._shown.wait_for(lambda: self.is_shown, seconds)

    def _share(self, reader: Reader | None) -> None:
        """Have users of other adapters wait in pcscd's queue for cards inserted from now on."""
        transactions = self._transactions
        if reader is not None and transactions is not None:
            reader.new_other_side = lambda insertion: _Programs(self, transactions, insertion)

    def dialogue_with(self, insertion: Insertion) -> Dialogue | None:
        """Return the dialogue of pcscd with the card of this insertion."""
        dialogue = self._dialogue
        return dialogue if dialogue is not None and dialogue.insertion is insertion else None

    def _hear(self, event: Event) -> None:
        if event.reader is self.reader and event.change in (Change.INSERT, Change.REMOVE):
            if self._transactions is not None:
                self._transactions.cut()
            self._cut()

    def _run(self) -> None:
        try:
            self._show_cards()
        finally:
            with self._testbed.lock:  # `close` writes to it, when we may have seen already that it is the end
                os.close(self._wake)

    @abstractmethod
    def _show_cards(self) -> None:
        """Act as the card of each insertion, in our thread, until `_closing`."""

    @abstractmethod
    def _cut(self) -> None:
        """End the current insertion's connection, with the testbed's lock held; wakes our thread."""

    def _sleep(self, seconds: float | None, *others: socket.socket) -> None:
        """Wait until the testbed changes or a message comes, or for so long."""
        waiting: list[int | socket.socket] = [self._wake, *others]
        if self._wake in readable(seconds, *waiting):
            os.eventfd_read(self._wake)

    @property
    def _patience(self) -> float | None:
        """Return the seconds until `_let_go`, if nothing comes."""
        return self._reserved.patience if self._reserved is not None else None

    def _let_go(self) -> None:
        """Release the card that was kept between the commands of a program."""
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            reserved.let_go()

    def _bodies(self, connection: socket.socket) -> Iterator[bytes]:
        """Yield the messages that vpcd sends, until it ends or this adapter closes.

        Raises OSError, also for a message that is begun and not ended.
        """
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        decoder, begun = vpcd_wire.Decoder(), 0.0
        ready_within, number = waiter(connection, self._wake), connection.fileno()
        while not self._closing:
            patience = max(begun + UNFINISHED - monotonic(), 0) if decoder.is_unfinished else self._patience
            ready = ready_within(patience)
            if self._wake in ready:
                os.eventfd_read(self._wake)
                if self._reserved is not self._dialogue:
                    self._let_go()
            elif not ready and not decoder.is_unfinished:
                self._let_go()
            if number not in ready:
                self._require_end(decoder, begun)
                continue
            # vpcd sends a length and its body apart; without this the body comes 40 ms later, by Nagle's rule.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data = connection.recv(1 << 16)
            if not data:
                return
            begun = begun if decoder.is_unfinished else monotonic()
            for body in decoder.feed(data):
                yield body
                begun = monotonic()
            self._require_end(decoder, begun)

    @staticmethod
    def _require_end(decoder: vpcd_wire.Decoder, begun: float) -> None:
        """Raise OSError if a message has not ended in time."""
        if decoder.is_unfinished and monotonic() >= begun + UNFINISHED:
            raise OSError(errno.EPROTO, "a message that does not end; is that vpcd?")

    def _miss(self, why: str) -> None:
        """Log once that there is no vpcd."""
        with self._testbed.lock:
            reader = self.reader
            if self._is_missed or self._closing or reader is None or reader.insertion is None:
                return
            self._is_missed = True
        LOG.warning("reader %s waits for vpcd, port %d (%s): %s", reader.name, self.port, why, self._hint)

    def _refuse(self, stranger: tcp_peer.Stranger) -> None:
        """Log that another user's process was at this port: once, until another one comes or pcscd has the card."""
        if str(stranger) != self._refused:
            LOG.warning(
                "refused a connection at vpcd's port %d: its other end belongs to %s, and only your own user and root "
                "may be there; end that program, or use another port (--pcsc-port)",
                self.port,
                stranger,
            )
        self._refused = str(stranger)

    def _greet(self) -> None:
        """Log that pcscd has the card."""
        self._refused = None
        with self._testbed.lock:
            was_missed, self._is_missed = self._is_missed, False
            self._shown.notify_all()
            name = self.reader.name if self.reader is not None else ""
        if was_missed:
            LOG.warning("reader %s is in pcscd now, port %d", name, self.port)
        if not self._has_asked:
            self._has_asked = True
            if (refusal := pcscd_call.refusal()) is not None:
                LOG.warning("reader %s is in pcscd, port %d, but %s", name, self.port, refusal)


class _Programs:
    """PC/SC's programs as the other side of one insertion's lock (card_lock.py)."""

    def __init__(self, adapter: SlotAdapter, transactions: PcscdTransactions, insertion: Insertion) -> None:
        self._adapter, self._transactions, self._insertion = adapter, transactions, insertion

    @property
    def is_in_use(self) -> bool:
        dialogue = self._adapter.dialogue_with(self._insertion)
        return dialogue is not None and dialogue.is_powered

    def begin(self) -> OtherQueue | None:
        dialogue = self._adapter.dialogue_with(self._insertion)
        return None if dialogue is None else self._transactions.begin(dialogue.told_atr, self._insertion.removed)

    def tell_of_reset(self) -> None:
        dialogue = self._adapter.dialogue_with(self._insertion)
        if dialogue is not None:
            self._transactions.tell_of_reset(dialogue.told_atr, self._insertion.removed)


def _new_transactions() -> PcscdTransactions | None:
    """Return the transactions at this slot's reader; None without pyscard."""
    try:
        from .transactions import PcscdTransactions  # nobody else needs pyscard
    except ModuleNotFoundError as error:
        if error.name != "smartcard":
            raise
        return None
    return PcscdTransactions()
