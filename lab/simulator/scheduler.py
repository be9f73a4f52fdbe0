# SPDX-License-Identifier: MIT
"""An agenda: what is to be done at a certain time, or as soon as possible but not in the thread that says so."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from time import monotonic

LOG = logging.getLogger(__name__)


class Scheduler:
    """Carries out in a thread of its own, one after the other, until `close`; what is left then is not done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entries: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def enter(self, do: Callable[[], object], seconds: float = 0) -> None:
        """Do something in so many seconds from now."""
        with self._changed:
            heapq.heappush(self._entries, (monotonic() + seconds, next(self._numbers), do))
            if self._thread is None and not self._is_over:
                self._thread = threading.Thread(target=self._run, name="agenda", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Stop, when what is being done is done."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while (do := self._next()) is not None:
            try:
                do()
            except Exception:
                LOG.exception("what was on the agenda failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._is_over:
                left = self._entries[0][0] - monotonic() if self._entries else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._entries)[2]
                self._changed.wait(left)
        return None
