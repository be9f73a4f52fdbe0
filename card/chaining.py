# SPDX-License-Identifier: MIT
"""The transport layer of a card: command chaining and GET RESPONSE (ISO/IEC 7816-4, 5.3; SP 800-73-4 part 2, 3.1.2).

Wraps an applet's `execute`; the applet sees whole commands and gives whole answers.
"""

from __future__ import annotations

from collections.abc import Callable

from .apdu import SHORT_LIMIT, Command, parse
from .status import SW, CardError
from .tables import INS

CHAINING = 0x10
COMMAND_LIMIT = 16 * 1024
"""Bytes of command data in one chain."""

_OK = SW.OK.to_bytes(2, "big")


class Chaining:
    """One activation's buffers: the links of an unfinished command, and what GET RESPONSE has still to fetch."""

    def __init__(self, execute: Callable[[Command], tuple[bytes, int]]) -> None:
        self._execute = execute
        self._links: list[bytes] = []
        self._header: tuple[int, int, int] | None = None
        self._size = 0
        self._rest = b""
        self._rest_status: int = SW.OK

    def transmit(self, raw: bytes) -> bytes:
        """One APDU of the transport to one response."""
        try:
            command = parse(raw)
            if command.cla & CHAINING:
                self._add(command)
                return _OK
            if command.ins == INS.GET_RESPONSE and self._header is None:
                return self._next(command)
            self._rest = b""
            answer, status = self._execute(self._whole(command))
        except CardError as error:
            self._forget()
            return error.status.to_bytes(2, "big")
        limit = command.le or SHORT_LIMIT
        if len(answer) <= limit or command.extended:
            return answer + status.to_bytes(2, "big")
        self._rest, self._rest_status = answer[limit:], status
        return answer[:limit] + self._more()

    def _add(self, command: Command) -> None:
        header = (command.ins, command.p1, command.p2)
        if self._header not in (None, header):
            raise CardError(SW.CHAINING_NOT_FINISHED)
        if self._size + len(command.data) > COMMAND_LIMIT:
            raise CardError(SW.NOT_ENOUGH_MEMORY)
        self._header = header
        self._links.append(command.data)
        self._size += len(command.data)
        self._rest = b""

    def _whole(self, command: Command) -> Command:
        """The command with the links before it; any other command than the chain's ends the chain."""
        if self._header is None:
            return command
        header, links = self._header, self._links
        self._forget()
        if header != (command.ins, command.p1, command.p2):
            return command
        data = b"".join((*links, command.data))
        if len(data) > COMMAND_LIMIT:
            raise CardError(SW.NOT_ENOUGH_MEMORY)
        return command._replace(data=data)

    def _forget(self) -> None:
        self._links, self._header, self._size = [], None, 0

    def _next(self, command: Command) -> bytes:
        if not self._rest:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        limit = command.le or SHORT_LIMIT
        part, self._rest = self._rest[:limit], self._rest[limit:]
        return part + (self._more() if self._rest else self._rest_status.to_bytes(2, "big"))

    def _more(self) -> bytes:
        return bytes((0x61, min(len(self._rest), 255) if len(self._rest) < SHORT_LIMIT else 0))
