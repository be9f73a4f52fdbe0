# SPDX-License-Identifier: MIT
"""The transaction lock of a card that two sides share: our own adapters, and pcscd's programs with their own queue.

Ours wait for each other, then stand in the other side's queue, and only then take the card: so neither side holds what
the other waits for. The adapter to the other side takes the card alone, for its programs have waited already.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Protocol

PATIENCE = 2.0
"""Seconds after which a program is interrupted that neither declares what belongs together nor pauses."""


class OtherQueue(Protocol):
    """A transaction in the other side's queue, held by us."""

    def end(self) -> None:
        """End the transaction."""
        ...

    def tell_of_reset(self) -> None:
        """Tell the other side's programs that the card was reset, and wait a short time for that."""
        ...


class OtherSide(Protocol):
    """The programs behind an adapter that wait for each other in their own queue."""

    @property
    def is_in_use(self) -> bool:
        """Return whether any of them may have the card in use."""
        ...

    def begin(self) -> OtherQueue | None:
        """Wait in their queue; return None if there is no queue or no card any more."""
        ...

    def tell_of_reset(self) -> None:
        """Tell them of a reset of the card when our transaction begins. Does not wait."""
        ...


class TransactionLock(ABC):
    """A lock for APDUs that belong together, held by `with`.

    Whoever has to wait for it calls `waits` before, and holds nothing of it then: a call that waits is under way.
    """

    def __init__(self, waits: Callable[[], object]) -> None:
        self.waits = waits

    @abstractmethod
    def acquire(self) -> bool:
        """Wait for the lock, and return True."""

    @abstractmethod
    def release(self) -> None:
        """Release the lock."""

    def tell_of_reset(self) -> None:  # noqa: B027 - most have no other side
        """Tell the other side's programs that the card was reset. Call it with the lock held."""

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class OwnLock(TransactionLock):
    """The lock of a card that only our adapters reach. Reentrant, as threading.RLock.

    A call takes a few of them, and most are free: it costs what an RLock costs and one step more.
    """

    def __init__(self, waits: Callable[[], object]) -> None:
        super().__init__(waits)
        lock = threading.RLock()
        self._acquire, self._release = lock.acquire, lock.release

    def acquire(self) -> bool:
        """Wait until no other thread uses the card."""
        return self._acquire(False) or self._wait()

    def release(self) -> None:
        """Release the lock, at the outermost level."""
        self._release()

    def __enter__(self) -> bool:
        return self._acquire(False) or self._wait()

    def __exit__(self, *_: object) -> None:
        self._release()

    def _wait(self) -> bool:
        """Announce the wait, and wait for the lock."""
        self.waits()
        return self._acquire()


class CardLock(TransactionLock):
    """Lock of a card that both sides reach. Reentrant, as threading.RLock."""

    def __init__(self, side: OtherSide, waits: Callable[[], object]) -> None:
        super().__init__(waits)
        self.inside = _Inside(self)
        """The same lock, for the adapter to the other side."""
        self._side = side
        self._ours = threading.Lock()
        self._card = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._is_ours = False
        self._queue: OtherQueue | None = None

    def acquire(self) -> bool:
        """Wait for both sides."""
        if self._owner != get_ident():
            queue = None
            if not self._take_at_once():
                self.waits()
                self._ours.acquire()
                queue = self._take_between_sequences()
            self._owner, self._is_ours, self._queue = get_ident(), True, queue
        self._depth += 1
        return True

    def _take_at_once(self) -> bool:
        """Return whether the lock was free, also for a thread that is the only one at work."""
        if not self._ours.acquire(blocking=False):
            return False
        if self._card.acquire(blocking=False):
            if not self._side.is_in_use:
                return True
            self._card.release()
        self._ours.release()
        return False

    def _take_between_sequences(self) -> OtherQueue | None:
        """Take the lock, and return the other side's queue to wait in, if any.

        A program that declares nothing has the card through its adapter while it sends commands. It is not interrupted
        by our turn either, but for `PATIENCE` only.
        """
        end = monotonic() + PATIENCE
        while True:
            is_quiet = self._card.acquire(timeout=max(0.0, end - monotonic()))
            if is_quiet:
                if not self._side.is_in_use:
                    return None
                self._card.release()
            queue = self._side.begin()
            if self._card.acquire(blocking=False):
                return queue
            if queue is None or monotonic() > end:
                self._card.acquire()
                return queue
            queue.end()

    def acquire_inside(self) -> bool:
        """Wait until no other thread of ours uses the card."""
        if self._owner != get_ident():
            self._card.acquire()
            self._owner = get_ident()
        self._depth += 1
        return True

    def release(self) -> None:
        """Release the lock, at the outermost level."""
        self._depth -= 1
        if self._depth:
            return
        is_ours, self._is_ours = self._is_ours, False
        queue, self._queue = self._queue, None
        self._owner = None
        self._card.release()
        if queue is not None:
            queue.end()
        if is_ours:
            self._ours.release()

    def tell_of_reset(self) -> None:
        """Tell them now if we hold their queue, else later: one of them may be using the card."""
        if self._queue is not None:
            self._queue.tell_of_reset()
        elif self._side.is_in_use:
            self._side.tell_of_reset()


class _Inside(TransactionLock):
    """The same lock for the other side's adapter, whose programs have waited in their queue already."""

    def __init__(self, lock: CardLock) -> None:
        super().__init__(lock.waits)
        self._lock = lock

    def acquire(self) -> bool:
        return self._lock.acquire_inside()

    def release(self) -> None:
        self._lock.release()
