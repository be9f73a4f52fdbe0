# SPDX-License-Identifier: MIT
"""The door for PC/SC programs: a virtual reader of the bench attached to vpcd, the virtual reader driver of pcscd.

vpcd takes a connection for a card: we are connected exactly while a card is in the reader. A removal cuts the
connection at the instant at which it happens, so that an APDU that is under way fails, and pcscd (which looks every
400 ms) sees even a swap that is faster than it looks. Nothing here knows what the APDUs mean.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from time import monotonic

from . import vpcd_wire
from .bench import Bench
from .errors import CardMute, CardRemoved
from .events import Change, Event
from .reader import Insertion, Reader
from .vpcd_dialogue import Dialogue

LOG = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

HINT = "start pcscd; `cardtear doctor` says what is missing"

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.4
"""Seconds between attempts to reach a vpcd that is not there; doubled each time."""

_WORTH_IT = 1.0
"""Seconds for which a connection lasts if the other end means it."""

UNFINISHED = 2.0
"""Seconds after which the rest of a message is not waited for any more."""


class VpcdDoor:
    """Shows a reader to pcscd until `close`, through the vpcd slot that listens on a port.

    vpcd may come later, go, and come back; a word about it is logged. Other doors of the same reader stay open: who
    shares a card shares its state, and a reset through PC/SC takes the login of everybody.
    """

    def __init__(
        self, bench: Bench, port: int = vpcd_wire.PORT, reader: Reader | None = None, host: str = LOOPBACK
    ) -> None:
        self.port = port
        self.reader = reader
        self._bench = bench
        self._address = (host, port)
        self._closing = False
        self._is_missed = False
        self._shown = threading.Condition(bench.lock)
        self._connection: socket.socket | None = None
        self._dialogue: Dialogue | None = None
        self._last_shown: Insertion | None = None
        self._nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._unsubscribe = bench.subscribe(self._hear)
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{port}", daemon=True)
        self._thread.start()

    def show(self, reader: Reader | None) -> None:
        """From now on this slot is that reader."""
        with self._bench.lock:
            self.reader = reader
            self._cut()

    def close(self) -> None:
        """Take the card away from pcscd, and end."""
        self._unsubscribe()
        with self._bench.lock:
            self._closing = True
            self._cut()
        self._thread.join()
        os.close(self._wake)
        os.close(self._nothing)

    @property
    def is_shown(self) -> bool:
        """Whether pcscd has the card that is in the reader now, powered up."""
        with self._bench.lock:
            return self._dialogue is not None and self._dialogue.is_shown

    def wait_until_shown(self, seconds: float) -> bool:
        """Until `is_shown`, or for so long."""
        with self._shown:
            return self._shown.wait_for(lambda: self.is_shown, seconds)

    def _hear(self, event: Event) -> None:
        if event.reader is self.reader and event.change in (Change.INSERT, Change.REMOVE):
            self._cut()

    def _cut(self) -> None:
        """End the connection now, whatever our thread is doing, and make it look again. Needs the bench's lock."""
        self._dialogue = None
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
            reader = self.reader
            insertion = reader.insertion if reader is not None else None
            if reader is None or insertion is None:
                self._sleep(None)
            elif self._stay(reader, insertion):
                pause = _FIRST_PAUSE
            else:
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _sleep(self, seconds: float | None) -> None:
        """Until the bench changes, or for so long."""
        if select.select([self._wake], [], [], seconds)[0]:
            os.eventfd_read(self._wake)

    def _stay(self, reader: Reader, insertion: Insertion) -> bool:
        """Be the card of this stay for as long as both ends last. False: wait before the next attempt."""
        dialogue = Dialogue(insertion, insertion is not self._last_shown)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            with self._bench.lock:
                if self._closing or insertion.removed.is_set() or self.reader is not reader:
                    return True
                self._connection, self._dialogue = connection, dialogue
            start = monotonic()
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                connection.connect(self._address)
                self._last_shown = insertion
                if not self._serve(connection, dialogue):
                    self._miss(reader, "nobody there who speaks to a card")
            except CardMute:  # the command fails, the card stays
                with contextlib.suppress(OSError):
                    connection.sendall(vpcd_wire.BROKEN_OFF)
                return True
            except CardRemoved:
                return True
            except OSError as error:
                self._miss(reader, error.strerror or str(error))
            finally:
                dialogue.let_go()
                with self._bench.lock:
                    self._connection = self._dialogue = None
        return insertion.removed.is_set() or monotonic() - start > _WORTH_IT

    def _serve(self, connection: socket.socket, dialogue: Dialogue) -> bool:
        """Answer vpcd until it goes. False if nothing was ever asked. Raises OSError, CardRemoved, CardMute."""
        asked = False
        for body in bodies(connection, dialogue):
            was_shown = dialogue.is_shown
            answer = dialogue.answer(body)
            if answer is not None:
                connection.sendall(vpcd_wire.encode(answer))
            asked = True
            if dialogue.is_shown and not was_shown:
                self._greet()
        return asked

    def _miss(self, reader: Reader, why: str) -> None:
        """A word about a vpcd that does not answer: one, until it has."""
        with self._bench.lock:
            if self._is_missed or self._closing or self.reader is not reader or reader.insertion is None:
                return
            self._is_missed = True
        LOG.warning("reader %s waits for vpcd at %s:%d (%s): %s", reader.name, *self._address, why, HINT)

    def _greet(self) -> None:
        """pcscd has the card."""
        with self._bench.lock:
            was_missed, self._is_missed = self._is_missed, False
            self._shown.notify_all()
            name = self.reader.name if self.reader is not None else ""
        if was_missed:
            LOG.warning("reader %s is in pcscd now, by vpcd at %s:%d", name, *self._address)


def bodies(connection: socket.socket, dialogue: Dialogue) -> Iterator[bytes]:
    """The messages that vpcd sends until it goes. Raises OSError, also for one that is begun and not ended."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    decoder = vpcd_wire.Decoder()
    while True:
        patience = UNFINISHED if decoder.is_unfinished else dialogue.patience
        if patience is not None and not select.select([connection], [], [], patience)[0]:
            if decoder.is_unfinished:
                raise OSError(errno.EPROTO, "a message that does not end; is that vpcd?")
            dialogue.let_go()
            continue
        # vpcd sends a length and its body apart; without this the body comes 40 ms later, by Nagle's rule.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = connection.recv(1 << 16)
        if not data:
            return
        yield from decoder.feed(data)
