# SPDX-License-Identifier: MIT
"""The door for PC/SC programs: one virtual reader of the bench attached to vpcd, the virtual reader driver of pcscd.

vpcd takes a connection for a card: we are connected exactly while a card is in the reader. A removal cuts the
connection at the instant at which it happens, so that an APDU that is under way fails, and pcscd (which looks every
400 ms) sees even a swap that is faster than it looks. Nothing here knows what the APDUs mean.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import threading

from . import vpcd_wire
from .bench import Bench
from .errors import CardMute, CardRemoved
from .events import Change, Event
from .reader import Insertion, Reader
from .vpcd_wire import Control

LOG = logging.getLogger(__name__)

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset."""

_NO_ATR = bytes(64)
"""A card that is there and says nothing: vpcd takes a missing ATR for a missing card, but one that is longer than any
for a card that cannot be powered up."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to reach a vpcd that is not there; doubled each time."""


class VpcdDoor:
    """Shows `reader` to pcscd from construction to `close`, through the vpcd slot that listens on a port.

    vpcd may come later, go, and come back. Other doors of the same reader stay open: who shares a card shares its
    state, and a reset through PC/SC takes the login of everybody.
    """

    def __init__(self, reader: Reader, port: int = vpcd_wire.PORT, host: str = "127.0.0.1") -> None:
        self._bench: Bench = reader.bench
        self._reader = reader
        self._address = (host, port)
        self._closing = False
        self._connection: socket.socket | None = None
        self._last_shown: Insertion | None = None
        self._nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._unsubscribe = self._bench.subscribe(self._hear)
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the card away from pcscd, and end."""
        self._unsubscribe()
        with self._bench.lock:
            self._closing = True
            self._cut()
        self._thread.join()
        os.close(self._wake)
        os.close(self._nothing)

    def _hear(self, event: Event) -> None:
        if event.reader is self._reader and event.change in (Change.INSERT, Change.REMOVE):
            self._cut()

    def _cut(self) -> None:
        """End the connection now, whatever our thread is doing, and make it look again. Needs the bench's lock."""
        if self._connection is not None:
            with contextlib.suppress(OSError):  # not connected yet, or not any more
                self._connection.shutdown(socket.SHUT_RD)
                self._connection.send(vpcd_wire.BROKEN_OFF, socket.MSG_DONTWAIT)
            # Closes it under a thread that is busy with the card; its descriptor stays taken until that comes back.
            os.dup2(self._nothing, self._connection.fileno(), inheritable=False)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing:
            insertion = self._reader.insertion
            if insertion is None:
                self._sleep(None)
            elif self._stay(insertion):
                pause = _FIRST_PAUSE
            else:
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _sleep(self, seconds: float | None) -> None:
        """Until the bench changes, or for so long."""
        if select.select([self._wake], [], [], seconds)[0]:
            os.eventfd_read(self._wake)

    def _stay(self, insertion: Insertion) -> bool:
        """Be the card of this stay for as long as both ends last. False: nobody who speaks vpicc was there."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            with self._bench.lock:
                if self._closing or insertion.removed.is_set():
                    return True
                self._connection = connection
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                connection.connect(self._address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                fresh, self._last_shown = insertion is not self._last_shown, insertion
                return _serve(connection, insertion, fresh)
            except OSError as error:
                LOG.debug("no vpcd at %s:%d: %s", *self._address, error)
                return False
            finally:
                with self._bench.lock:
                    self._connection = None


def _serve(connection: socket.socket, insertion: Insertion, powered: bool) -> bool:
    """Answer vpcd until it goes or the card does. False if nothing was ever asked.

    `powered`: the card is fresh from its insertion, so that the first power-on need not reset it.
    """
    decoder = vpcd_wire.Decoder()
    asked = False
    try:
        while True:
            # vpcd sends a length and its body apart; without this the body comes 40 ms later, by Nagle's rule.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data = connection.recv(1 << 16)
            if not data:
                return asked
            for body in decoder.feed(data):
                asked = True
                match vpcd_wire.control(body):
                    case None:
                        connection.sendall(vpcd_wire.encode(insertion.transmit(body)))
                    case Control.ATR:
                        connection.sendall(vpcd_wire.encode(_NO_ATR if insertion.card.is_dead else insertion.atr))
                    case Control.OFF:
                        # Felt at the next power-on: pcscd saves power after seconds of rest, and that alone must not
                        # end the logins of those who use the card through another door.
                        powered = False
                    case Control.ON | Control.RESET as wanted:
                        if wanted is Control.RESET or not powered:
                            insertion.reset()
                        powered = True
    except CardMute:  # the command fails, the card stays
        with contextlib.suppress(OSError):
            connection.sendall(vpcd_wire.BROKEN_OFF)
        return asked
    except (CardRemoved, ConnectionError):
        return asked
