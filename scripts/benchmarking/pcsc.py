# SPDX-License-Identifier: MIT
"""Measures SCardTransmit in a pcscd of the benchmark's own, beside a responder that acknowledges late.

No rows where there is no pcscd with vpcd, or where one may not be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_long, c_ubyte, c_ulong
from time import monotonic, perf_counter_ns, sleep

from cardtear.lab.simulator import own_pcscd
from cardtear.reader.pcsc import reader_conf

from .rows import BenchmarkRun, ResultRow, at_most

DEADLINE = 20.0
WITHOUT_HASTE = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def read(count):
    return connection.recv(count, socket.MSG_WAITALL)
while length := read(2):
    body = read(int.from_bytes(length, "big"))
    if body == b"\\4":
        connection.sendall(bytes.fromhex("00043B800101"))
    elif len(body) > 1:
        connection.sendall(bytes.fromhex("00029000"))
"""
"""A responder like most card emulators: it sends the response when the command is complete, and nothing before."""

_PIN_STATUS = bytes.fromhex("00200080")
_LIMIT = 250
"""Microseconds."""


def transmissions(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure SCardTransmit of a short command."""
    if own_pcscd.why_not() is not None:
        return
    daemon = own_pcscd.OwnPcscd(run.equipment.folder / "pcscd")
    responder = (sys.executable, "-c", WITHOUT_HASTE, str(daemon.place.port + 1))
    with contextlib.ExitStack() as undo:
        undo.enter_context(daemon)
        with daemon.place.inside():
            undo.enter_context(run.equipment.simulator("pcsc", "--pcsc-port", str(daemon.place.port)))
        with ConnectedCard(0) as card:
            card.transmit()  # selects nothing, wakes everything
            ours = [card.transmit() for _ in range(run.amount.windows)]
        with daemon.place.inside():
            undo.enter_context(_running(responder))
        with ConnectedCard(1) as card:
            theirs = [card.transmit() for _ in range(run.amount.pairs)]
    reference = {"without quick acknowledgement": sorted(theirs)[len(theirs) // 2] / 1000}
    yield at_most("SCardTransmit", ours, "", _LIMIT, reference)


class ConnectedCard:
    """A connection to the card in a slot of the benchmark's pcscd; a context manager."""

    def __init__(self, slot: int) -> None:
        self._library = ctypes.CDLL("libpcsclite.so.1")
        name = f"{reader_conf.READER} 00 {slot:02X}".encode()
        self._context, self._card, self._protocol = c_long(), c_long(), c_ulong()
        self._answer = (c_ubyte * 258)()
        deadline = monotonic() + DEADLINE
        while not self._connects(name):
            if monotonic() > deadline:
                raise SystemExit("pcscd does not show the benchmark's card")
            sleep(0.02)
        self._header = (c_ulong * 2)(self._protocol.value, 16)

    def __enter__(self) -> ConnectedCard:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.SCardDisconnect(self._card, c_ulong(0))
        self._library.SCardReleaseContext(self._context)

    def _connects(self, name: bytes) -> bool:
        established = self._library.SCardEstablishContext(c_ulong(2), None, None, byref(self._context)) == 0
        card, protocol = byref(self._card), byref(self._protocol)
        shared, any_protocol = c_ulong(2), c_ulong(3)
        connect = self._library.SCardConnect
        return bool(established and connect(self._context, c_char_p(name), shared, any_protocol, card, protocol) == 0)

    def transmit(self) -> int:
        """Transmit a command; return the nanoseconds until its response."""
        length, size = c_ulong(len(self._answer)), c_ulong(len(_PIN_STATUS))
        start = perf_counter_ns()
        value = self._library.SCardTransmit(
            self._card, self._header, _PIN_STATUS, size, None, self._answer, byref(length)
        )
        duration = perf_counter_ns() - start
        if value != 0 or length.value < 2:
            raise SystemExit(f"SCardTransmit fails: 0x{value & 0xFFFFFFFF:08X}")
        return duration


@contextlib.contextmanager
def _running(command: tuple[object, ...], **files: object) -> Iterator[None]:
    """Run a program until the block ends."""
    with subprocess.Popen([str(part) for part in command], **files) as process:  # type: ignore[call-overload]
        try:
            yield
        finally:
            process.terminate()
