# SPDX-License-Identifier: MIT
"""As much of PC/SC as the tests need, straight from pcsc-lite's client library."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from ctypes import byref, c_char_p, c_long, c_ubyte, c_ulong, c_void_p
from pathlib import Path
from typing import Any, TypeVar

from cardtear.card.tables import PIV_AID

from ...shared.waiting import wait_for_success

Result = TypeVar("Result")

READER, SECOND_READER = "Virtual PCD 00 00", "Virtual PCD 00 01"
"""What pcscd calls vpcd's slots."""

DEADLINE = 10.0
"""Seconds that anything may take."""

SELECT = bytes((0, 0xA4, 4, 0, len(PIV_AID))) + PIV_AID + b"\0"
"""The PIV application."""

OK, TIMEOUT = 0, 0x8010000A
PRESENT, EMPTY, MUTE = 0x20, 0x10, 0x200
LEAVE, RESET, UNPOWER = 0, 1, 2
_EXCLUSIVE, _SHARED, _ANY_PROTOCOL = 1, 2, 3


def succeed_in_time(attempt: Callable[[], Result]) -> Result:
    """What a program gets that tries again until it works."""
    return wait_for_success(attempt, PcscError)


class ReaderState(ctypes.Structure):
    """SCARD_READERSTATE."""

    _fields_ = (
        ("reader", c_char_p),
        ("user_data", c_void_p),
        ("current", c_ulong),
        ("event", c_ulong),
        ("atr_length", c_ulong),
        ("atr", c_ubyte * 33),
    )


class PcscError(Exception):
    """A function that failed; `code` is its LONG as 32 bits."""

    def __init__(self, function: str, code: int) -> None:
        self.code = code
        super().__init__(f"{function}: 0x{code:08X}")


def apart(expression: str) -> Any:
    """What an expression in the names of this file comes to in another process.

    With libpcsclite 2.5 a process that has seen more readers than the next pcscd has cannot use that one.
    """
    program = f"import json\nfrom {__name__} import *\nprint(json.dumps({expression}))"
    command = (sys.executable, "-c", program)
    here = Path(__file__).parents[__name__.count(".")]
    return json.loads(subprocess.run(command, cwd=here, stdout=subprocess.PIPE, timeout=30, check=True).stdout)


class Context:
    """A connection to pcscd. Raises PcscError when there is none."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libpcsclite.so.1")
        self._handle = c_long()
        self.call("SCardEstablishContext", c_ulong(2), None, None, byref(self._handle))

    def call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name)
        function.restype = c_long
        code = function(*arguments) & 0xFFFFFFFF
        if code != OK:
            raise PcscError(name, code)

    def close(self) -> None:
        self.call("SCardReleaseContext", self._handle)

    def readers(self) -> list[str]:
        length = c_ulong()
        self.call("SCardListReaders", self._handle, None, None, byref(length))
        names = ctypes.create_string_buffer(length.value)
        self.call("SCardListReaders", self._handle, None, names, byref(length))
        return [name.decode() for name in names.raw[: length.value].split(b"\0") if name]

    def wait(self, reader: str, wanted: int, seconds: float) -> bytes:
        """Block until the reader is PRESENT, EMPTY or MUTE, and return the ATR."""
        state = ReaderState(reader=reader.encode())
        while not state.event & wanted:
            state.current = state.event
            self.call("SCardGetStatusChange", self._handle, c_ulong(int(seconds * 1000)), byref(state), c_ulong(1))
        return bytes(state.atr[: state.atr_length])

    def reopen(self) -> None:
        """A new connection, to a pcscd that has started anew."""
        self._handle = c_long()
        self.call("SCardEstablishContext", c_ulong(2), None, None, byref(self._handle))

    def connect(self, reader: str, exclusive: bool = False) -> Card:
        card, protocol = c_long(), c_ulong()
        self.call(
            "SCardConnect",
            self._handle,
            reader.encode(),
            c_ulong(_EXCLUSIVE if exclusive else _SHARED),
            c_ulong(_ANY_PROTOCOL),
            byref(card),
            byref(protocol),
        )
        return Card(self, card, protocol)


class Card:
    """A connection to the card in a reader."""

    def __init__(self, context: Context, handle: c_long, protocol: c_ulong) -> None:
        self._context = context
        self._handle = handle
        self._protocol = protocol

    def transmit(self, command: bytes) -> bytes:
        request = (c_ulong * 2)(self._protocol.value, 16)
        answer = (c_ubyte * 65538)()
        length = c_ulong(len(answer))
        self._context.call(
            "SCardTransmit", self._handle, request, command, c_ulong(len(command)), None, answer, byref(length)
        )
        return bytes(answer[: length.value])

    def reconnect(self, initialization: int) -> None:
        self._context.call(
            "SCardReconnect",
            self._handle,
            c_ulong(_SHARED),
            c_ulong(_ANY_PROTOCOL),
            c_ulong(initialization),
            byref(self._protocol),
        )

    def status(self) -> tuple[list[str], int, int, bytes]:
        """Readers' names, state, protocol and ATR."""
        names, length = ctypes.create_string_buffer(128), c_ulong(128)
        state, protocol = c_ulong(), c_ulong()
        atr, atr_length = (c_ubyte * 33)(), c_ulong(33)
        self._context.call(
            "SCardStatus",
            self._handle,
            names,
            byref(length),
            byref(state),
            byref(protocol),
            atr,
            byref(atr_length),
        )
        found = [name.decode() for name in names.raw[: length.value].split(b"\0") if name]
        return found, state.value, protocol.value, bytes(atr[: atr_length.value])

    def attribute(self, tag: int) -> bytes:
        """SCardGetAttrib."""
        value, length = (c_ubyte * 264)(), c_ulong(264)
        self._context.call("SCardGetAttrib", self._handle, c_ulong(tag), value, byref(length))
        return bytes(value[: length.value])

    def control(self, code: int) -> bytes:
        """SCardControl, without data."""
        value, length = (c_ubyte * 264)(), c_ulong()
        self._context.call(
            "SCardControl", self._handle, c_ulong(code), None, c_ulong(0), value, c_ulong(264), byref(length)
        )
        return bytes(value[: length.value])

    def begin(self) -> None:
        self._context.call("SCardBeginTransaction", self._handle)

    def end(self) -> None:
        self._context.call("SCardEndTransaction", self._handle, c_ulong(LEAVE))

    def disconnect(self, disposition: int) -> None:
        self._context.call("SCardDisconnect", self._handle, c_ulong(disposition))
