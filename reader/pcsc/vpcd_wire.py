# SPDX-License-Identifier: MIT
"""The vpicc protocol between a virtual card and vpcd: messages to bytes and back. No I/O.

A message is a big-endian length of two bytes and as many bytes of body. A body of one byte is a control byte, for no
APDU is that short; any other body is a command APDU, and its response goes back as a message of the same form. Of the
controls only ATR has a response, the card's ATR.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum, unique

PORT = 0x8C7B
"""Where Debian's vpcd waits for the card of its first slot; that of the second slot follows."""

BODY_LIMIT = 0xFFFF

BROKEN_OFF = b"\xff\xff"
"""The length of a response that never comes. Then a reset of the connection fails the APDU that vpcd waits for; without
it vpcd reports success and an empty response, as it does after an orderly end."""

_LENGTH = struct.Struct(">H")


@unique
class VpcdControl(IntEnum):
    """A control message of vpcd, in place of an APDU."""

    OFF = 0
    ON = 1
    RESET = 2
    ATR = 4


class Decoder:
    """Splits a stream of bytes into the bodies of its messages."""

    def __init__(self) -> None:
        self._pending = b""

    @property
    def is_unfinished(self) -> bool:
        """Return whether a message has begun and not ended."""
        return bool(self._pending)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take some bytes; return the bodies that they complete, each once."""
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._pending)[0]
            if len(self._pending) < end:
                return
            body, self._pending = self._pending[_LENGTH.size : end], self._pending[end:]
            yield body


def encode(body: bytes) -> bytes:
    """Encode one message. Raises ValueError for a body of more than 65535 bytes."""
    if len(body) > BODY_LIMIT:
        raise ValueError(f"a body of {len(body)} bytes; vpcd takes {BODY_LIMIT}")
    return _LENGTH.pack(len(body)) + body


def control(body: bytes) -> VpcdControl | None:
    """Return the control message in a body; None for an APDU, and for an unknown control byte."""
    return _CONTROLS.get(body)


_CONTROLS = {bytes([each]): each for each in VpcdControl}
