# SPDX-License-Identifier: MIT
"""Our place in pcscd's own queue, for a card that programs of PC/SC have in use behind vpcd.

vpcd is not told of the transactions that programs declare (SCardBeginTransaction): pcscd keeps them to itself. But
pcscd lets a program wait for the end of another's, and so whoever wants the card through another door declares one as
well. Which of pcscd's readers is ours, a secret tells: it is sent to readers with our card's ATR, and known at one.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from concurrent.futures import Future, InvalidStateError
from enum import Enum, auto
from time import sleep
from typing import Any

from smartcard import scard

from .pcsc_channel import PcscError, call

_AGAIN = 0.05
"""Seconds between attempts to reach a card that a program has for itself."""

_ANY_PROTOCOL = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1


class _Order(Enum):
    LET_GO = auto()
    CLOSE = auto()


class PcscTurn:
    """Transactions at the reader of pcscd in which one slot of vpcd is. One at a time; any thread may ask for it."""

    def __init__(self) -> None:
        self.secret = b"\xff\xff\xff\xff\x10" + os.urandom(16)
        """A command APDU of a class that no card has (ISO/IEC 7816-4, 5.4.1)."""
        self.known = os.urandom(16) + b"\x90\x00"
        """What is answered to it by who knows it."""
        self._reader: str | None = None
        self._context: Any = None
        self._card: Any = None
        self._waiting: Future[bool] | None = None
        self._is_closed = False
        self._jobs: queue.SimpleQueue[tuple[Future[bool], bytes] | _Order] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, atr: bytes, gone: threading.Event) -> bool:
        """Wait for the end of others' transactions, and begin one, until `end`. False: it is not to be had.

        `atr` is that of the card which pcscd has. When `gone` is set, `cut` ends the wait.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="PC/SC turn", daemon=True)
            self._thread.start()
        future = self._waiting = Future[bool]()
        if gone.is_set() or self._is_closed:
            return False
        self._jobs.put((future, atr))
        return future.result()

    def end(self) -> None:
        """Let other programs have the card again, as it is. Does not wait."""
        self._jobs.put(_Order.LET_GO)

    def close(self) -> None:
        """The end, also of a transaction and of a wait. Does not wait."""
        self._is_closed = True
        self.cut()
        self._jobs.put(_Order.CLOSE)

    def cut(self) -> None:
        """The card has gone: nobody waits for it any more."""
        future = self._waiting
        if future is not None:
            with contextlib.suppress(InvalidStateError):
                future.set_result(False)

    # The thread that speaks to pcscd; all below runs there

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            has_begun = False
            if job is _Order.CLOSE:
                break
            if not isinstance(job, _Order):
                future, atr = job
                try:
                    has_begun = self._wait(future, atr)
                    future.set_result(has_begun)
                except InvalidStateError:  # cut meanwhile: nobody will end it
                    has_begun = False
            if not has_begun:
                self._let_go()
        self._let_go()
        self._leave()

    def _wait(self, future: Future[bool], atr: bytes) -> bool:
        """Whether a transaction of ours has begun."""
        while not future.done():
            try:
                if self._context is None:
                    (self._context,) = call("SCardEstablishContext", scard.SCARD_SCOPE_SYSTEM)
                self._reader = self._reader or self._find(atr)
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
        """The reader that knows our secret. Raises PcscError, also when one cannot be asked now."""
        (names,) = call("SCardListReaders", self._context, [])
        unknown = [(name, scard.SCARD_STATE_UNAWARE) for name in names]
        (states,) = call("SCardGetStatusChange", self._context, 0, unknown)
        trouble: PcscError | None = None
        for name in (name for name, _, seen in states if bytes(seen) == atr):
            try:
                protocol = self._connect(name)
                (answer,) = call("SCardTransmit", self._card, protocol, list(self.secret))
                if bytes(each & 0xFF for each in answer) == self.known:
                    return str(name)
            except PcscError as error:
                trouble = error
            finally:
                self._let_go()
        if trouble is not None:
            raise trouble
        return None

    def _connect(self, reader: str) -> int:
        """The protocol's header for SCardTransmit."""
        self._card, protocol = call("SCardConnect", self._context, reader, scard.SCARD_SHARE_SHARED, _ANY_PROTOCOL)
        return int(scard.SCARD_PCI_T0 if protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1)

    def _let_go(self) -> None:
        """The end of a transaction, too."""
        card, self._card = self._card, None
        if card is not None:
            scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)

    def _forget(self, error: PcscError) -> None:
        """pcscd, or its reader, may be another one from now on."""
        if error.is_gone:
            self._reader = None
            self._leave()

    def _leave(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            scard.SCardReleaseContext(context)
