# SPDX-License-Identifier: MIT
"""Observers of what happens: parts, called in the thread itself, and watchers, called in a thread of their own.

A part makes up the world or its record: tokens, applications, adapters to PC/SC, triggers, a scenario's history. It is
told inside the change, in the thread that makes it, before that goes on; it must be quick, and what it does counts.
A watcher only looks: it has a queue and a thread of its own, and nobody waits for it. Whatever either does, the change
goes on, and the others are told.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

LOG = logging.getLogger(__name__)

ROOM = 50_000
"""Values that wait for a slow watcher; it is dropped when there are more."""

PATIENCE = 10.0
"""Seconds that a watcher may take for one value; it is dropped when it takes longer and another comes."""

LAST_WORDS = 2.0
"""Seconds for which the end of a watcher waits until it has taken what it was told."""


def tell(parts: Iterable[Callable[[T], object]], value: T) -> None:
    """Call each part with a value; exceptions are logged only."""
    for part in parts:
        try:
            part(value)
        except Exception:
            LOG.exception("%r failed at %r", part, value)


def ends_the_program(error: BaseException) -> bool:
    """Return whether an exception, such as Ctrl-C's, is meant for the program and may come anywhere."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and isinstance(error, KeyboardInterrupt | SystemExit)


class Watcher(Generic[T]):
    """Calls `function` with each value, in order, in a thread of its own.

    One that raises, takes too long or falls too far behind is logged and dropped: `forget` is called, and it is
    told nothing more. `name` is for the log.
    """

    def __init__(self, function: Callable[[T], object], name: str, forget: Callable[[], object] = lambda: None) -> None:
        self._function, self._name, self._forget = function, name, forget
        self._pending: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        self._begun: float | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def tell(self, value: T) -> None:
        """Queue a value. Never waits, never raises."""
        if self._is_over:
            return
        begun = self._begun
        if self._pending.qsize() >= ROOM:
            self._drop(f"is {ROOM} entries behind")
        elif begun is not None and monotonic() - begun > PATIENCE:
            self._drop(f"has not come back for {PATIENCE:g} s")
        else:
            self._pending.put((value,))

    def close(self) -> None:
        """Wait a short time until all queued values are handled; further ones are dropped."""
        self._pending.put(None)
        if threading.current_thread() is self._thread:
            self._is_over = True
            return
        self._thread.join(LAST_WORDS)
        if self._thread.is_alive() and not self._is_over:
            self._drop(f"has not ended within {LAST_WORDS:g} s")

    def _run(self) -> None:
        """Call the function with queued values until `close` or a failure."""
        while (pending := self._pending.get()) is not None and not self._is_over:
            self._begun = monotonic()
            try:
                self._function(*pending)
            except OSError as error:  # what it writes to is full, or nobody reads it any more
                self._drop(f"cannot write: {error.strerror or error}")
            except BaseException:
                LOG.exception("%s failed", self._name)
                self._drop("failed")
            self._begun = None

    def _drop(self, why: str) -> None:
        """Discard the queue, call the function no more, and log why."""
        self._is_over = True
        self._forget()
        with contextlib.suppress(queue.Empty):
            while True:
                self._pending.get_nowait()
        self._pending.put(None)
        LOG.warning("%s %s; it is told nothing more", self._name, why)
