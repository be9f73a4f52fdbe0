# SPDX-License-Identifier: MIT
"""Adapter for Python programs with yubikit (PyPI: yubikey-manager): its SmartCardConnection over a virtual reader."""

from __future__ import annotations

from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SmartCardConnection

from ..reader import Reader
from .pyscard_connection import PyscardConnection


class YubikitConnection(SmartCardConnection):
    """A connection for `yubikit.piv.PivSession` and the like, from construction to `close`.

    `connection` is pyscard's, as in ykman's class: its `disconnect` and `connect` are a reset. Exceptions are those of
    pyscard, as with yubikit over PC/SC. Over NFC (`transport`) yubikit sends short APDUs only.
    """

    def __init__(self, reader: Reader, transport: TRANSPORT = TRANSPORT.USB) -> None:
        self._transport = transport
        self.connection = PyscardConnection(reader)
        self.connection.connect()

    @property
    def transport(self) -> TRANSPORT:
        """Return USB or NFC."""
        return self._transport

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """Transmit one command APDU; return data and status word."""
        data, sw1, sw2 = self.connection.transmit(list(apdu))
        return bytes(data), sw1 << 8 | sw2

    def close(self) -> None:
        """Disconnect, which resets the card."""
        self.connection.disconnect()
