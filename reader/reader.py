# SPDX-License-Identifier: MIT
"""One reader and the insertions of cards into it.

A removal never waits for a card that is at work: it ends the insertion, and whoever still speaks to the card through it
gets CardRemoved as soon as the card's thread comes back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..card.card import Activation, Card, CardTorn
from .card_lock import CardLock, OtherSide, OwnLock, TransactionLock
from .errors import CardElsewhere, CardMute, CardRemoved, NoSuchReader, ReaderEmpty, ReaderOccupied
from .events import CallMoment, Change, When
from .pin_pad import PinPad
from .touch_sensor import TouchSensor
from .trace import Trace

_GIVE_UP_PIN = b"\x00\x20\xff\x80"


@runtime_checkable
class SharedCard(Protocol):
    """A card that programs outside the testbed reach, with a lock that keeps them away."""

    def lock_for(self, insertion: Insertion) -> TransactionLock:
        """Return the transaction lock for an insertion that begins."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """One change, given to the testbed's listeners synchronously with the testbed's lock held.

    `insertion` is the one that began, ended, was reset, was logged out or lost its sessions; None for plug
    and unplug.
    """

    change: Change
    reader: Reader
    insertion: Insertion | None = None


@dataclass(frozen=True, slots=True)
class ApduMoment:
    """An APDU is about to be sent (BEFORE) or its response has come (AFTER). `call` is the call it is sent for.

    Watchers are called in the thread that sends the APDU, without the testbed's lock: they may remove the card. A
    watcher may return a response: BEFORE, it is the response and the card never gets the command; AFTER, it takes the
    place of the card's response.
    """

    when: When
    insertion: Insertion
    command: bytes
    response: bytes = b""
    call: CallMoment | None = None


Moment = ApduMoment | CallMoment


class ReaderTestbed(Protocol):
    """What a reader needs of the testbed that it is plugged into (testbed.py)."""

    lock: threading.RLock
    trace: Trace

    @property
    def watchers(self) -> Sequence[object]:
        """Return who is told of every moment; empty means nothing to notify."""
        ...

    @property
    def readers(self) -> list[Reader]:
        """Return the readers that are plugged in."""
        ...

    def notify(self, moment: Moment) -> bytes | int | None:
        """Tell every watcher of a moment; return what replaces the real response, or None."""
        ...

    def call_under_way(self) -> CallMoment | None:
        """Return the PKCS #11 call that this thread carries out."""
        ...

    def announce(self, event: Event) -> None:
        """Record a change, and tell all listeners. The caller holds the lock."""
        ...


class Insertion:
    """One insertion of a card into a reader, until its removal.

    `lock` is the transaction lock: hold it over APDUs that belong together. The adapter to programs that wait for each
    other in a queue of their own takes `inner_lock` instead (card_lock.py). `removed` is set for good when the
    insertion ends; a thread that has to wait on the card's behalf waits on it, others look at `is_over`, which says the
    same.
    """

    def __init__(self, reader: Reader, card: Card, atr: bytes | None = None) -> None:
        self.reader = reader
        self.card = card
        self.lock, self.inner_lock = self._new_locks()
        self.removed = threading.Event()
        self.is_over = False
        self.is_reader_gone = False
        """Whether the insertion has ended because the reader was unplugged."""
        self.is_mute = card.is_dead
        self.sensor = TouchSensor()
        self._atr = atr
        self.activation: Activation = card.activate(self.sensor, reader.is_contactless)

    def _new_locks(self) -> tuple[TransactionLock, TransactionLock]:
        lock: TransactionLock
        if isinstance(self.card, SharedCard):
            lock = self.card.lock_for(self)
        elif self.reader.new_other_side is not None:
            shared = CardLock(self.reader.new_other_side(self), self.reader.testbed.call_under_way)
            return shared, shared.inside
        else:
            lock = OwnLock(self.reader.testbed.call_under_way)
        return lock, lock

    @property
    def atr(self) -> bytes:
        """Return the ATR of the last reset, or the one that replaces it."""
        return self.activation.atr if self._atr is None else self._atr

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return the whole response APDU, status word included.

        Raises CardRemoved if the card is gone before, during or right after the command, CardMute if it is mute.
        """
        testbed = self.reader.testbed
        with self.lock:
            watched = bool(testbed.watchers)
            response = self._before(command) if watched else None
            if self.is_over or self.is_mute:
                self._require_answering()
            if response is None:
                try:
                    response = self.activation.transmit(command)
                except CardTorn:
                    testbed.trace.apdu(self, command, None)
                    raise CardRemoved(self.reader.name) from None
            testbed.trace.apdu(self, command, response)
            if watched:
                response = self._after(command, response)
            if self.is_over or self.is_mute:
                self._require_answering()
            return response

    def _before(self, command: bytes) -> bytes | None:
        """Return the response that watchers give in place of the card's, or None."""
        testbed = self.reader.testbed
        replacement = testbed.notify(ApduMoment(When.BEFORE, self, command, call=testbed.call_under_way()))
        return replacement if isinstance(replacement, bytes) else None

    def _after(self, command: bytes, response: bytes) -> bytes:
        """Return the response, or what watchers replace it with."""
        testbed = self.reader.testbed
        replacement = testbed.notify(ApduMoment(When.AFTER, self, command, response, testbed.call_under_way()))
        return replacement if isinstance(replacement, bytes) else response

    def _require_answering(self) -> None:
        if self.is_over:
            raise CardRemoved(self.reader.name)
        if self.is_mute:
            raise CardMute(self.reader.name)

    def reset(self, is_warm: bool = True, is_known: bool = False) -> bytes:
        """Reset the card: volatile state is lost, the insertion goes on. Returns the ATR. Raises CardRemoved.

        A reset that is not warm has taken the power away for a moment. One that is `is_known` was the wish of the other
        side's programs (card_lock.py), which else are told.
        """
        testbed = self.reader.testbed
        self.sensor.cancel()
        with self.lock:
            with testbed.lock:
                if self.removed.is_set():
                    raise CardRemoved(self.reader.name)
                self.activation = self.card.activate(self.sensor, self.reader.is_contactless, is_warm)
                self.is_mute = self.card.is_dead
                testbed.announce(Event(Change.RESET, self.reader, self))
                atr = self.atr
            if not is_known:
                self.lock.tell_of_reset()
            return atr

    def was_reset(self, activation: Activation) -> None:
        """Record that a program outside the testbed has reset the card. The caller holds the testbed's lock."""
        if not self.removed.is_set():
            self.activation = activation
            self.reader.testbed.announce(Event(Change.RESET, self.reader, self))

    def log_out(self) -> None:
        """Set the PIN to not verified (SP 800-73-5 part 2, 3.2.1). Raises CardRemoved."""
        testbed = self.reader.testbed
        with self.lock:
            if self.removed.is_set():
                raise CardRemoved(self.reader.name)
            try:
                response = self.activation.transmit(_GIVE_UP_PIN)
            except CardTorn:
                raise CardRemoved(self.reader.name) from None
            testbed.trace.apdu(self, _GIVE_UP_PIN, response)
            with testbed.lock:
                testbed.announce(Event(Change.LOGOUT, self.reader, self))


class Reader:
    """A virtual reader of a testbed. `insertion` is that of the card in it, or None."""

    def __init__(self, testbed: ReaderTestbed, name: str) -> None:
        self.testbed = testbed
        self.name = name
        self.plugged = False
        self.is_contactless = False
        self.insertion: Insertion | None = None
        self.new_other_side: Callable[[Insertion], OtherSide] | None = None
        """For each insertion from now on: an adapter for programs that have a queue of their own."""
        self.pin_pad = PinPad()

    def insert(self, card: Card, atr: bytes | None = None) -> Insertion:
        """Insert a card; with `atr` applications see that ATR instead of the card's own.

        Raises ReaderOccupied, CardElsewhere, or NoSuchReader if the reader itself is unplugged.
        """
        with self.testbed.lock:
            self._require_plugged()
            if self.insertion is not None:
                raise ReaderOccupied(self.name, self.insertion.card.name)
            for other in self.testbed.readers:
                if other.insertion is not None and other.insertion.card is card:
                    raise CardElsewhere(card.name, other.name)
            insertion = self.insertion = Insertion(self, card, atr)
            self.testbed.announce(Event(Change.INSERT, self, insertion))
            return insertion

    def remove(self) -> Card:
        """Pull the card out, whatever it is doing, and return it. Raises ReaderEmpty.

        When this returns, every listener knows: no session, login or object handle of that card is left.
        """
        with self.testbed.lock:
            self._require_plugged()
            return self.end_insertion(self.occupied())

    def end_insertion(self, insertion: Insertion) -> Card:
        """End the insertion, by removal of the card or of the reader (then not `plugged`).

        The caller holds the testbed's lock.
        """
        self.insertion = None
        insertion.is_over, insertion.is_reader_gone = True, not self.plugged
        insertion.removed.set()
        insertion.card.deactivate()
        insertion.sensor.cancel()
        self.testbed.announce(Event(Change.REMOVE, self, insertion))
        return insertion.card

    def swap(self, card: Card, atr: bytes | None = None) -> Card:
        """Exchange the card for another at one instant, as seen by every application. Returns the old card."""
        with self.testbed.lock:
            if self.insertion is not None and self.insertion.card is card:
                raise CardElsewhere(card.name, self.name, " already; swap it for another")
            for other in self.testbed.readers:
                if other is not self and other.insertion is not None and other.insertion.card is card:
                    raise CardElsewhere(card.name, other.name)
            old = self.remove()
            self.insert(card, atr)
            return old

    def reset(self) -> None:
        """Reset the card in the reader, as another program could. Raises ReaderEmpty."""
        self.occupied().reset()

    def mute(self, for_life: bool = False) -> None:
        """Make the card stop answering until it is reset or removed, or for good. Raises ReaderEmpty."""
        insertion = self.occupied()
        insertion.card.is_dead |= for_life
        insertion.is_mute = True
        insertion.sensor.cancel()

    def touch(self) -> Insertion:
        """Touch the card, and return its insertion; counts for the next key that waits. Raises ReaderEmpty."""
        insertion = self.occupied()
        insertion.sensor.touch()
        return insertion

    def log_out(self) -> None:
        """Set the PIN to not verified, as another program could. Raises ReaderEmpty."""
        self.occupied().log_out()

    def close_sessions(self) -> None:
        """Close all applications' sessions on the card, which stays. Raises ReaderEmpty."""
        with self.testbed.lock:
            self.testbed.announce(Event(Change.CLOSE_SESSIONS, self, self.occupied()))

    def occupied(self) -> Insertion:
        """Return the insertion of the card in the reader. Raises ReaderEmpty."""
        insertion = self.insertion
        if insertion is None:
            raise ReaderEmpty(self.name)
        return insertion

    def _require_plugged(self) -> None:
        if not self.plugged:
            raise NoSuchReader(self.name, [each.name for each in self.testbed.readers])
