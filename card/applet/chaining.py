# SPDX-License-Identifier: MIT
"""The transport layer of a card: command chaining and GET RESPONSE (ISO/IEC 7816-4, 5.3; SP 800-73-5 part 2, 3.1.2).

The layer behind it gets complete commands and returns complete response data.
"""

from __future__ import annotations

from collections.abc import Callable

from ..apdu import EXTENDED_LIMIT, SHORT_LIMIT, Command, parse
from ..status import SW, CardError, more_data, wrong_le
from ..tables import INS

COMMAND_LIMIT = 64 * 1024
"""Bytes of command data in one chain; no more fits into an extended length either."""

_PLAIN, _CHAINED, _PROPRIETARY = 0x00, 0x10, 0x80
_GET_RESPONSE = INS.GET_RESPONSE
_OK = SW.OK.to_bytes(2, "big")


class Chaining:
    """The buffers of one activation: the links of an unfinished command, and the response data still to be fetched."""

    takes_extended_lengths = True

    def __init__(self, execute: Callable[[Command], bytes]) -> None:
        self._execute = execute
        self._header: tuple[int, int, int] | None = None
        self._links: list[bytes] = []
        self._size = 0
        self._rest = b""

    def transmit(self, raw: bytes) -> bytes:
        """Carry out one command APDU and return the response APDU. Raises CardTorn."""
        try:
            command = parse(raw)
            if command.extended and not self.takes_extended_lengths:
                raise CardError(SW.WRONG_LENGTH)
            if command.cla == _CHAINED:
                self._add(command)
                return _OK
            if command.cla != _PLAIN and not command.cla & _PROPRIETARY:
                raise CardError(_class_error(command.cla))
            if command.ins == _GET_RESPONSE and command.cla == _PLAIN:
                return self._get_response(command)
            self._rest = b""
            whole = command if self._header is None else self._whole(command)
            return self._respond(command, self._execute(whole))
        except CardError as error:
            self._forget_links()
            return error.status.to_bytes(2, "big")

    def _add(self, command: Command) -> None:
        """Add a link to the chain. A link of another command ends the chain that is under way."""
        header = command[1:4]
        if self._header is None:
            self._header = header
            self._rest = b""
        elif self._header != header:
            raise CardError(SW.CHAINING_NOT_FINISHED)
        self._size += len(command.data)
        if self._size > COMMAND_LIMIT:
            raise CardError(SW.NOT_ENOUGH_MEMORY)
        self._links.append(command.data)

    def _whole(self, command: Command) -> Command:
        """Join the last link with those before it. Another command discards the chain and is returned as it is."""
        belongs, links = self._header == command[1:4] and command.cla == _PLAIN, self._links
        self._forget_links()
        return Command(*command[:4], b"".join((*links, command.data)), *command[5:]) if belongs else command

    def _respond(self, command: Command, data: bytes) -> bytes:
        """Return as much of the response data as fits into Le, with 61xx if more is left."""
        limit = command.le or (EXTENDED_LIMIT if command.extended else SHORT_LIMIT)
        if len(data) <= limit:
            return data + _OK
        self._rest = data[limit:]
        return data[:limit] + more_data(len(self._rest)).to_bytes(2, "big")

    def _get_response(self, command: Command) -> bytes:
        """Return the rest of the response data; Le = 00 takes what there is, a greater Le is refused and loses nothing.

        Raises CardError: 6A86 for other P1 and P2, 6985 when nothing is there, 6Cxx.
        """
        if command.p1 or command.p2:
            raise CardError(SW.INCORRECT_P1P2)
        if not self._rest:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        self._check_length(command.le)
        rest, self._rest = self._rest, b""
        return self._respond(command, rest)

    def _check_length(self, le: int) -> None:
        """Raise CardError(6Cxx) if Le is greater than what is left."""
        if len(self._rest) < le < SHORT_LIMIT:
            raise CardError(wrong_le(len(self._rest)))

    def _forget_links(self) -> None:
        """Discard an unfinished chain."""
        self._header, self._links, self._size = None, [], 0


class ByteProtocol(Chaining):
    """The transport layer for T=0, which cannot carry data both ways in one exchange (ISO/IEC 7816-3, 12.2).

    A command with data gets 61xx when there are data to fetch. Without data the last byte of its header
    is Le, which has to be what is there: 6Cxx tells how much that is. Lengths are short.
    """

    takes_extended_lengths = False

    def _respond(self, command: Command, data: bytes) -> bytes:
        """Return 61xx after a command with data, and the data otherwise. Raises CardError(6Cxx) for another Le."""
        if not data:
            return _OK
        if command.data:
            self._rest = data
            return more_data(len(data)).to_bytes(2, "big")
        le = command.le or SHORT_LIMIT
        if len(data) < le:
            raise CardError(wrong_le(len(data)))
        return super()._respond(command, data)

    def _check_length(self, le: int) -> None:
        """Raise CardError(6Cxx) if Le is greater than what is left; on T=0 an Le of 00 means 256."""
        le = le or SHORT_LIMIT
        if len(self._rest) < le:
            raise CardError(wrong_le(len(self._rest)))


def _class_error(cla: int) -> SW:
    """Return why an interindustry class byte is refused (ISO/IEC 7816-4, 5.4.1): from 40 on are channels from 4 on."""
    if cla & 0x60 == 0x20:  # kept for the future
        return SW.CLA_NOT_SUPPORTED
    if cla & (0x20 if cla & 0x40 else 0x0C):
        return SW.SECURE_MESSAGING_NOT_SUPPORTED
    return SW.LOGICAL_CHANNEL_NOT_SUPPORTED if cla & 0x43 else SW.CLA_NOT_SUPPORTED
