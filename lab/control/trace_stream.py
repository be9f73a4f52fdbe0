# SPDX-License-Identifier: MIT
"""The trace as it goes on, handed from the threads that record it to one that writes it down a connection."""

from __future__ import annotations

import queue
import select
import socket
from collections.abc import Callable, Iterator

from ...reader.trace import Entry, Trace
from ..processes.closable import Closable

ROOM = 10_000
"""Entries that wait for a slow reader; what comes beyond them is lost to it, and counted."""

_BATCH = 4096


class TraceStream(Closable):
    """Entries of a trace that `is_wanted`, from construction to `close`; a context manager.

    Recording threads never wait for it.
    """

    def __init__(self, trace: Trace, is_wanted: Callable[[Entry], bool]) -> None:
        self.lost = 0
        self._is_wanted = is_wanted
        self._pending: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._unsubscribe = trace.add_part(self._add)

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
        self._waker.close()
        self._woken.close()

    def until_closed(self, connection: socket.socket) -> Iterator[list[Entry]]:
        """Yield the new entries as they come, until the other end of `connection` is closed."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while connection.fileno() not in dict(poll.poll()):
            self._woken.recv(_BATCH)
            yield self._take()

    def _take(self) -> list[Entry]:
        entries = []
        while not self._pending.empty():
            entries.append(self._pending.get_nowait())
        return entries

    def _add(self, entry: Entry) -> None:
        if not self._is_wanted(entry):
            return
        if self._pending.qsize() >= ROOM:
            self.lost += 1
            return
        self._pending.put(entry)
        try:
            self._waker.send(b"\0")
        except OSError:
            return  # full: the reader is awake anyway; closed: it is gone
