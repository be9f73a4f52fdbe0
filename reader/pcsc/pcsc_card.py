# SPDX-License-Identifier: MIT
"""A card in a reader of PC/SC as a card of the testbed, which a script inserts and removes.

All that is said to it goes through one thread, so that nobody who pulls it waits for it, not even while it works or
another program holds it. Pulled out of a virtual reader the card loses its power, but goes on with the command that it
has got: only a hand can tear it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from ...card.card import CardTorn
from ...card.tables import INS
from ...card.touch import NO_TOUCH_INPUT, TouchInput
from ..card_lock import TransactionLock
from ..errors import CardMute
from .pcsc_channel import Channel, PcscError

if TYPE_CHECKING:
    from ..reader import Insertion

TELLING = 1.0
"""Seconds within which PC/SC tells that a card has left, after a command to it has failed."""

_READING = frozenset(
    {INS.SELECT, INS.GET_DATA, INS.GET_RESPONSE, INS.VERIFY, INS.GENERAL_AUTHENTICATE, INS.GET_METADATA}
)
"""Commands that leave keys and data as they are; of any other it is assumed that it does not."""


class PcscCard:
    """The card in the PC/SC reader `name`, from its insertion there until `lost`.

    `channel` is a first connection to it, None for a card that does not respond. Thread-safe.
    """

    asks_for_touches = False
    """A key of it that requires a touch is touched at the card itself."""
    asks_at_the_pin_pad = True
    """It may be one that says so; only an APDU would tell."""

    def __init__(self, name: str, channel: Channel | None, exclusive: bool = False) -> None:
        self.name = name
        self.is_dead = channel is None
        self.revision = 0
        self._exclusive = exclusive
        self._atr = channel.atr if channel is not None else b""
        self._channel = channel
        self._is_fresh = True
        self._activation: PcscActivation | None = None
        self._insertion: Insertion | None = None
        self._gone = threading.Event()
        self._mutex = threading.Lock()
        self._waiting: set[Future[Any]] = set()
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"card in {name}", daemon=True)
        self._thread.start()

    # What a reader needs of a card

    def activate(
        self, sensor: TouchInput = NO_TOUCH_INPUT, is_contactless: bool = False, is_warm: bool = False
    ) -> PcscActivation:
        """Reset the card, or connect to it again. Returns at once; the first command waits."""
        activation = self._activation = PcscActivation(self, self._atr)
        if not self._is_fresh:
            self._do(lambda: self._power_up(activation))
        self._is_fresh = False
        return activation

    def deactivate(self) -> None:
        """Cut the power; threads that wait for the card get CardTorn. Does not wait."""
        self._activation = None
        with self._mutex:
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(CardTorn())
        self._do(lambda: self._disconnect(power_off=True))

    def lock_for(self, insertion: Insertion) -> PcscLock:
        """Return the lock for an insertion that begins, which also keeps other programs from the card."""
        self._insertion = insertion
        return PcscLock(self, insertion.reader.testbed.call_under_way)

    # What happens to it in PC/SC

    @property
    def is_lost(self) -> bool:
        """Return whether the card has left PC/SC; it is then in no reader and does not respond."""
        return self._gone.is_set()

    def lost(self) -> None:
        """Remove the card from the virtual reader for good: it has left its PC/SC reader, or PC/SC has ended."""
        self._gone.set()
        self.is_dead = True
        insertion = self._insertion
        if insertion is not None:
            testbed = insertion.reader.testbed
            with testbed.lock:
                if not insertion.removed.is_set():
                    insertion.reader.end_insertion(insertion)
        self._do(lambda: self._disconnect(power_off=False))
        self._jobs.put(None)

    def wait_until_released(self, seconds: float) -> None:
        """Wait, after `lost`, until other programs have the card to themselves, or for so long."""
        self._thread.join(seconds)

    # Commands

    def transmit(self, activation: PcscActivation, command: bytes) -> bytes:
        """Transmit one APDU of an activation. Raises CardTorn, CardMute."""
        if activation is not self._activation:
            raise CardTorn
        try:
            response: bytes = self._wait_for(lambda: self._channel_of(activation).transmit(command))
        except PcscError as error:
            if error.is_gone or self._gone.wait(TELLING):
                self.lost()
                raise CardTorn from None
            raise CardMute(self.name) from None
        if activation is not self._activation:
            raise CardTorn
        if len(command) > 1 and command[1] not in _READING:
            self.revision += 1
        return response

    def begin(self) -> None:
        """Keep other programs from the card. If one of them has reset it, our sessions are told now."""
        activation = self._activation
        if activation is None:
            return
        with contextlib.suppress(PcscError, CardTorn):  # the command that follows finds out
            if not self._wait_for(lambda: self._channel_of(activation).begin()):
                self._was_reset(activation)

    def end(self) -> None:
        """Let other programs use the card again."""
        self._do(lambda: self._channel.end() if self._channel is not None else None)

    def _was_reset(self, activation: PcscActivation) -> None:
        """Record that another program has reset the card: begin a new activation."""
        self.revision += 1
        insertion = self._insertion
        if insertion is not None:
            with insertion.reader.testbed.lock:
                if activation is self._activation:
                    self._activation = PcscActivation(self, self._atr)
                    insertion.was_reset(self._activation)

    # The thread that speaks to it; all below runs there but what gives it something to do

    def _do(self, work: Callable[[], Any]) -> Future[Any]:
        """Queue work for the card's thread."""
        future: Future[Any] = Future()
        self._jobs.put((future, work))
        return future

    def _wait_for(self, work: Callable[[], Any]) -> Any:
        """Return the result of the work. Raises what it raises, and CardTorn once the card is removed."""
        with self._mutex:
            if self._activation is None or self.is_lost:
                raise CardTorn
            future = self._do(work)
            self._waiting.add(future)
        try:
            return future.result()
        finally:
            with self._mutex:
                self._waiting.discard(future)

    def _work(self) -> None:
        """Carry out queued work, in order."""
        while (job := self._jobs.get()) is not None:
            future, work = job
            with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                try:
                    future.set_result(work())
                except (PcscError, CardTorn) as error:
                    future.set_exception(error)

    def _power_up(self, activation: PcscActivation) -> None:
        """Connect to the card, or reset it if connected, unless the activation is over."""
        if activation is not self._activation or self.is_lost:
            return
        if self._channel is None:
            self._channel = Channel(self.name, self._exclusive)
        else:
            self._channel.reset()
        activation.atr = self._atr = self._channel.atr

    def _channel_of(self, activation: PcscActivation) -> Channel:
        """Return the channel of an activation. Raises CardTorn if the power was cut since."""
        if activation is not self._activation or self.is_lost:
            raise CardTorn
        if self._channel is None:  # the first attempt to power it up has failed
            self._power_up(activation)
        assert self._channel is not None
        return self._channel

    def _disconnect(self, power_off: bool) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close(power_off)


class PcscActivation:
    """One activation of a PcscCard."""

    def __init__(self, card: PcscCard, atr: bytes) -> None:
        self.atr = atr
        self._card = card

    def transmit(self, command: bytes) -> bytes:
        """Transmit one APDU. Raises CardTorn if the card has gone, CardMute if it is there and does not respond."""
        return self._card.transmit(self, command)


class PcscLock(TransactionLock):
    """A lock among our threads that is also a transaction of PC/SC. Reentrant."""

    def __init__(self, card: PcscCard, waits: Callable[[], object]) -> None:
        super().__init__(waits)
        self._card = card
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self) -> bool:
        """Wait for our other threads, then for other programs."""
        if self._owner != threading.get_ident():
            self.waits()  # PC/SC does not say beforehand whether it will be long
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._owner = threading.get_ident()
            self._card.begin()
        return True

    def release(self) -> None:
        """Release the lock, at the outermost level."""
        if self._depth == 1:
            self._card.end()
            self._owner = None
        self._depth -= 1
        self._lock.release()
