# SPDX-License-Identifier: MIT
"""The door for PC/SC programs: a virtual reader of the bench attached to vpcd, the virtual reader driver of pcscd.

vpcd takes a connection for a card: we are connected exactly while a card is in the reader. A removal cuts the
connection at the instant at which it happens, so that an APDU that is under way fails, and pcscd (which looks every
400 ms) sees even a swap that is faster than it looks. Nothing here knows what the APDUs mean.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from time import monotonic

from . import tcp_peer, vpcd_wire
from .bench import Bench
from .errors import CardMute, CardRemoved
from .network_namespace import Inside
from .pcscd_call import call_pcscd
from .reader import Insertion, Reader
from .slot_door import LOOPBACK, SlotDoor, bodies
from .vpcd_dialogue import Dialogue

_HINT = "is pcscd running? `cardtear doctor` says what is missing"

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset."""

_LOOK = 0.5
"""Seconds within which pcscd looks once at least: it does so every 0.4 s."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.4
"""Seconds between attempts to reach a vpcd that is not there; doubled each time."""

_WORTH_IT = 1.0
"""Seconds for which a connection lasts if the other end means it."""


class VpcdDoor(SlotDoor):
    """The slot of a vpcd that listens on a port. `hint` is what to do when it does not, `inside` as in PcscPlace."""

    def __init__(
        self,
        bench: Bench,
        port: int = vpcd_wire.PORT,
        reader: Reader | None = None,
        hint: str = _HINT,
        inside: Inside = contextlib.nullcontext,
    ) -> None:
        self._inside = inside
        self._address = (LOOPBACK, port)
        self._connection: socket.socket | None = None
        self._last_shown: Insertion | None = None
        self._shown_again: Insertion | None = None
        self._call: socket.socket | None = None
        self._nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        super().__init__(bench, port, reader, hint)

    def _cut(self) -> None:
        """End the connection now, whatever our thread is doing, and make it look again."""
        self._dialogue = None
        if self._connection is not None:
            with contextlib.suppress(OSError):  # not connected yet, or not any more
                self._connection.shutdown(socket.SHUT_RD)
                self._connection.send(vpcd_wire.BROKEN_OFF, socket.MSG_DONTWAIT)
            # Closes it under a thread that is busy with the card; its descriptor stays taken until that comes back.
            os.dup2(self._nothing, self._connection.fileno(), inheritable=False)
        os.eventfd_write(self._wake, 1)

    def _show_cards(self) -> None:
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
        os.close(self._nothing)
        if self._call is not None:
            self._call.close()

    def _stay(self, reader: Reader, insertion: Insertion) -> bool:
        """Be the card of this stay for as long as both ends last. False: wait before the next attempt."""
        is_fresh = insertion is not self._last_shown
        dialogue = Dialogue(insertion, is_fresh, self._turn)
        with self._new_socket() as connection:
            with self._bench.lock:
                if self._closing or insertion.removed.is_set() or self.reader is not reader:
                    return True
                self._connection, self._dialogue = connection, dialogue
            if self._call is None and self._last_shown is None:
                self._call = call_pcscd()
            start = monotonic()
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                connection.connect(self._address)
                tcp_peer.admit(connection, self._sleep, self._inside)
                self._last_shown = insertion
                if not self._serve(connection, dialogue, is_fresh and insertion is not self._shown_again):
                    self._miss(reader, "nobody there who speaks to a card")
            except CardMute:  # the command fails, the card stays
                with contextlib.suppress(OSError):
                    connection.sendall(vpcd_wire.BROKEN_OFF)
                return True
            except CardRemoved:
                return True
            except tcp_peer.Stranger as stranger:
                self._refuse(stranger)
            except OSError as error:
                if not insertion.removed.is_set():
                    self._miss(reader, error.strerror or str(error))
            finally:
                dialogue.let_go()
                with self._bench.lock:
                    self._connection = self._dialogue = None
        if is_fresh and dialogue.is_overlooked and insertion is not self._shown_again:
            self._last_shown, self._shown_again = None, insertion
            self._sleep(_LOOK)
        return insertion.removed.is_set() or monotonic() - start > _WORTH_IT

    def _new_socket(self) -> socket.socket:
        with self._inside():
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def _serve(self, connection: socket.socket, dialogue: Dialogue, may_be_overlooked: bool) -> bool:
        """Answer vpcd until it goes. False if nothing was ever asked. Raises OSError, CardRemoved, CardMute.

        pcscd overlooks that a card has gone and another come between two looks when in the meantime a program has
        failed to reset the first one. It has to see the slot empty then, or would say so for ever.
        """
        asked = False
        for body in bodies(connection, dialogue):
            was_shown = dialogue.is_shown
            answer = dialogue.answer(body)
            if answer is not None:
                connection.sendall(vpcd_wire.encode(answer))
            asked = True
            if may_be_overlooked and dialogue.is_overlooked:
                break
            if dialogue.is_shown and not was_shown:
                self._greet()
        return asked
