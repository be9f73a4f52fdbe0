# SPDX-License-Identifier: MIT
"""Lines read from a socket, with a limit on their length and on the time from their first byte to their end."""

from __future__ import annotations

import socket
from time import monotonic

from ...reader.waiting import readable

LINE_SECONDS = 10.0
"""Seconds from the first byte of a line to its end; there is no limit on the time between two lines."""

_CHUNK = 1 << 16


class UnfinishedLine(Exception):
    """A line was not complete in time."""


class Lines:
    """The lines of a connection. The buffer holds at most `limit` bytes and what one read returns."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self._connection, self._limit = connection, limit
        self._pending = bytearray()

    def read(self) -> bytes:
        """Return the next line with its line feed; at the end of the connection what there is of it, then nothing.

        A line longer than `limit` is returned in parts of `limit` + 1 bytes. Raises UnfinishedLine, OSError.
        """
        pending, looked, end = self._pending, 0, 0.0
        while (position := pending.find(b"\n", looked)) < 0 and len(pending) <= self._limit:
            looked = len(pending)
            if pending:
                end = end or monotonic() + LINE_SECONDS
                if not readable(max(end - monotonic(), 0), self._connection):
                    raise UnfinishedLine
            part = self._connection.recv(_CHUNK)
            if not part:
                position = looked
                break
            pending += part
        length = min(position if position >= 0 else self._limit, self._limit) + 1
        line = bytes(pending[:length])
        del pending[:length]
        return line
