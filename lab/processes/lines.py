# SPDX-License-Identifier: MIT
"""Read the lines that somebody sends over a socket, with bounds for their length and for the time each may take."""

from __future__ import annotations

import socket
from time import monotonic

from ...reader.waiting import readable

LINE_SECONDS = 10.0
"""Within which a line that has begun has to be whole; between two lines it may take for ever."""

_CHUNK = 1 << 16


class UnfinishedLine(Exception):
    """A line has begun and not ended in time."""


class Lines:
    """The lines of a connection. What is kept is what has come, and at most `limit` bytes and one more read."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self._connection, self._limit = connection, limit
        self._pending = bytearray()

    def read(self) -> bytes:
        """Return the next line with its end, or what there is of it when the connection has ended: at last nothing.

        Of a line with more than `limit` bytes these and one more come. Raises UnfinishedLine, OSError.
        """
        pending, looked, end = self._pending, 0, 0.0
        while (place := pending.find(b"\n", looked)) < 0 and len(pending) <= self._limit:
            looked = len(pending)
            if pending:
                end = end or monotonic() + LINE_SECONDS
                if not readable(max(end - monotonic(), 0), self._connection):
                    raise UnfinishedLine
            part = self._connection.recv(_CHUNK)
            if not part:
                place = looked
                break
            pending += part
        length = min(place if place >= 0 else self._limit, self._limit) + 1
        line = bytes(pending[:length])
        del pending[:length]
        return line
