# SPDX-License-Identifier: MIT
"""Our transactions in pcscd's queue, for a card that programs of PC/SC use behind vpcd.

vpcd is not told of the transactions that programs declare (SCardBeginTransaction): pcscd keeps them to itself. But
pcscd lets a program wait for the end of another's, and so whoever wants the card through another adapter declares one
as well. Which of pcscd's readers is ours, a secret tells: it is sent to readers with our card's ATR, and known at one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from concurrent.futures import Future, InvalidStateError
from enum import Enum, auto
from time import sleep
from typing import Any

from smartcard import scard

from .pcsc_channel import PcscError, call, wait_for_change

_AGAIN = 0.05
"""Seconds between attempts to reach a card that a program has for itself."""

_ANY_PROTOCOL = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1


LOG = logging.getLogger(__name__)


_TOLD = 2.0
"""Seconds for which a reset waits until pcscd's programs are told of it."""


class _Order(Enum):
    """What the thread is to do."""

    BEGIN = auto()
    RESET = auto()
    END = auto()
    CLOSE = auto()


class Transaction:
    """One of our transactions at pcscd: requested, begun or over."""

    def __init__(self, transactions: PcscdTransactions, atr: bytes) -> None:
        self.atr = atr
        self.begun: Future[bool] = Future()
        """Whether it has begun; False: it is not to be had, or no longer wanted."""
        self.told = threading.Event()
        """Set when the others have been told of a reset, or cannot be."""
        self._transactions = transactions

    def end(self) -> None:
        """End it; the card is left as it is. Does not wait."""
        self._transactions.end(self)

    def tell_of_reset(self) -> None:
        """Tell the other programs that the card was reset; waits for `_TOLD` seconds at most."""
        self._transactions.reset(self)
        self.told.wait(_TOLD)

    def cut(self) -> None:
        """Cancel it, because the card has gone."""
        with contextlib.suppress(InvalidStateError):
            self.begun.set_result(False)


class PcscdTransactions:
    """Transactions at the pcscd reader of one slot of vpcd. Any thread may begin one."""

    def __init__(self) -> None:
        self.secret = b"\xff\xff\xff\xff\x10" + os.urandom(16)
        """A command APDU of a class that no card has (ISO/IEC 7816-4, 5.4.1)."""
        self.known = os.urandom(16) + b"\x90\x00"
        """The response to `secret` from our own card."""
        self.is_connecting = False
        """Whether a power-on may be our own doing."""
        self.is_resetting = False
        """Whether a reset is our own doing: of a card that was reset already, so that other programs hear of it."""
        self._reader: str | None = None
        self._context: Any = None
        self._card: Any = None
        self._wanted: set[Transaction] = set()
        self._current: Transaction | None = None
        self._is_closed = False
        self._jobs: queue.SimpleQueue[tuple[_Order, Transaction | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._mutex = threading.Lock()

    def begin(self, atr: bytes, gone: threading.Event) -> Transaction | None:
        """Begin a transaction after those of others. Returns None if that is not possible.

        `atr` is that of the card which pcscd has. When `gone` is set, `cut` ends the wait.
        """
        transaction = self._ask(_Order.BEGIN, atr, gone)
        if transaction is None:
            return None
        try:
            return transaction if transaction.begun.result() else None
        finally:
            self._discard(transaction)

    def tell_of_reset(self, atr: bytes, gone: threading.Event) -> None:
        """Tell pcscd's programs of a reset after the end of others' transactions. Does not wait."""
        self._ask(_Order.RESET, atr, gone)

    def reset(self, transaction: Transaction) -> None:
        """Tell pcscd's programs of a reset in a transaction that has begun. Sets `told`."""
        self._jobs.put((_Order.RESET, transaction))

    def _ask(self, order: _Order, atr: bytes, gone: threading.Event) -> Transaction | None:
        """Queue an order; return its transaction, None after `close`."""
        transaction = Transaction(self, atr)
        with self._mutex:
            if self._is_closed:
                return None
            self._wanted.add(transaction)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="PC/SC turn", daemon=True)
                self._thread.start()
        if gone.is_set():
            transaction.cut()
        self._jobs.put((order, transaction))
        return transaction

    def _discard(self, transaction: Transaction) -> None:
        """Drop a transaction for which nobody waits any more."""
        with self._mutex:
            self._wanted.discard(transaction)

    def end(self, transaction: Transaction) -> None:
        """End a transaction, unless it is over. Does not wait."""
        self._jobs.put((_Order.END, transaction))

    def cut(self) -> None:
        """Cancel all waits for the card, because it has gone."""
        with self._mutex:
            for transaction in self._wanted:
                transaction.cut()

    def close(self) -> None:
        """End the thread, its transaction and its wait. Does not wait."""
        with self._mutex:
            self._is_closed = True
        self.cut()
        self._jobs.put((_Order.CLOSE, None))

    # The thread that speaks to pcscd; all below runs there

    def _work(self) -> None:
        """Carry out orders until CLOSE."""
        while True:
            order, transaction = self._jobs.get()
            if order is _Order.BEGIN and transaction is not None:
                self._begin(transaction)
            elif order is _Order.RESET and transaction is not None:
                self._reset(transaction)
            elif order is _Order.CLOSE or transaction is self._current:
                self._let_go()
            if order is _Order.CLOSE:
                self._leave()
                return

    def _begin(self, transaction: Transaction) -> None:
        """Begin a transaction, and set the result of `begun`."""
        self._let_go()  # of that of a card that has gone
        has_begun = False
        try:
            has_begun = self._wait(transaction)
        except Exception:  # whoever waits must not wait for ever
            LOG.exception("no turn at pcscd")
        try:
            transaction.begun.set_result(has_begun)
        except InvalidStateError:  # cut meanwhile: nobody will end it
            has_begun = False
        if has_begun:
            self._current = transaction
        else:
            self._let_go()

    def _reset(self, transaction: Transaction) -> None:
        """Have pcscd reset the card, so that it tells its other programs (SCARD_W_RESET_CARD)."""
        is_in_one = self._current is not None
        if not is_in_one:
            self._begin(transaction)
        if self._current is not None:
            self.is_resetting = True
            try:
                call("SCardReconnect", self._card, scard.SCARD_SHARE_SHARED, _ANY_PROTOCOL, scard.SCARD_RESET_CARD)
            except PcscError as error:  # the card may have gone meanwhile
                LOG.debug("pcscd does not tell of a reset: %s", error)
            finally:
                self.is_resetting = False
        if not is_in_one:
            self._let_go()
        self._discard(transaction)
        transaction.told.set()

    def _wait(self, transaction: Transaction) -> bool:
        """Wait; return whether our transaction has begun."""
        while not transaction.begun.done():
            try:
                if self._context is None:
                    (self._context,) = call("SCardEstablishContext", scard.SCARD_SCOPE_SYSTEM)
                self._reader = self._reader or self._find(transaction.atr)
                if self._reader is None:
                    return False
                self._connect(self._reader)
                call("SCardBeginTransaction", self._card)
                return True
            except PcscError as error:
                self._let_go()
                if error.code != scard.SCARD_E_SHARING_VIOLATION:
                    self._forget(error)
                    return False
                sleep(_AGAIN)  # pcscd does not tell when it is free
        return False

    def _find(self, atr: bytes) -> str | None:
        """Return the reader whose card answers `secret`. Raises PcscError, also when one cannot be asked now."""
        (names,) = call("SCardListReaders", self._context, [])
        unknown = [(name, scard.SCARD_STATE_UNAWARE) for name in names]
        states = wait_for_change(self._context, 0, unknown)
        trouble: PcscError | None = None
        for name in (name for name, _, seen in states if seen == atr):
            try:
                protocol = self._connect(name)
                (response,) = call("SCardTransmit", self._card, protocol, list(self.secret))
                if bytes(each & 0xFF for each in response) == self.known:
                    return str(name)
            except PcscError as error:
                trouble = error
            finally:
                self._let_go()
        if trouble is not None:
            raise trouble
        return None

    def _connect(self, reader: str) -> int:
        """Connect; return the protocol's header for SCardTransmit."""
        self.is_connecting = True
        try:
            shared = scard.SCARD_SHARE_SHARED
            self._card, protocol = call("SCardConnect", self._context, reader, shared, _ANY_PROTOCOL)
        finally:
            self.is_connecting = False
        return int(scard.SCARD_PCI_T0 if protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1)

    def _let_go(self) -> None:
        """Disconnect, which also ends a transaction."""
        card, self._card, self._current = self._card, None, None
        if card is not None:
            scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)

    def _forget(self, error: PcscError) -> None:
        """Discard what is known of pcscd and its reader, which may be others from now on."""
        if error.is_gone:
            self._reader = None
            self._leave()

    def _leave(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            scard.SCardReleaseContext(context)
