# SPDX-License-Identifier: MIT
"""Adapter for PC/SC programs in vpcd's other mode: listen on the loopback interface, and vpcd connects.

Debian's vpcd (3.3) connects once, when pcscd starts, and takes the whole of pcscd down when that connection ends. So it
never ends before we do, and a slot without a card cannot be shown as empty: vpcd believes in a card for as long as it
is connected. What it gets is a card that does not respond: its commands fail with 6F00, and it cannot be powered up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from ..errors import CardMute, CardRemoved
from ..private_socket import SocketError
from ..reader import Reader
from ..testbed import Testbed
from ..waiting import readable
from . import tcp_peer, vpcd_wire
from .network_namespace import Inside
from .slot_adapter import LOG, LOOPBACK, SlotAdapter
from .vpcd_dialogue import NO_ATR, Dialogue
from .vpcd_wire import VpcdControl

_HINT = "start pcscd now, and stop it before this simulator (docs/pcsc.md)"

_RESPITE = 0.1
"""Seconds before the next connection is accepted after one that has failed."""

_GONE = b"\x6f\x00"
"""The response to a command without a card: an error must not be a broken connection here."""


class ReversedVpcdAdapter(SlotAdapter):
    """A slot of a vpcd that connects to our port. `inside` as in PcscSlots. Raises SocketError."""

    def __init__(
        self,
        testbed: Testbed,
        port: int = vpcd_wire.PORT,
        reader: Reader | None = None,
        inside: Inside = contextlib.nullcontext,
    ) -> None:
        self._inside = inside
        try:
            with inside():
                self._listener = socket.create_server((LOOPBACK, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise SocketError(f"port {port} is taken; is vpcd itself listening there? See docs/pcsc.md") from None
        self._connection: socket.socket | None = None
        self._owes_a_response = False
        super().__init__(testbed, port, reader, _HINT)

    def _cut(self) -> None:
        """Send the reply that is due; the connection stays unless we end."""
        self._dialogue = None
        if self._connection is not None:
            with contextlib.suppress(OSError):
                if self._owes_a_response:
                    self._owes_a_response = False
                    self._connection.send(vpcd_wire.encode(_GONE), socket.MSG_DONTWAIT)
                if self._closing:
                    self._connection.shutdown(socket.SHUT_RDWR)
        os.eventfd_write(self._wake, 1)

    def _show_cards(self) -> None:
        with self._listener:
            while not self._closing:
                self._miss("it has not connected")
                self._sleep(None, self._listener)
                if not self._closing and readable(0, self._listener):
                    self._accept()

    def _accept(self) -> None:
        """Serve the next vpcd that connects, if it is this user's or root's."""
        try:
            connection, _ = self._listener.accept()
            with connection:
                tcp_peer.admit(connection, self._sleep, self._inside)
                self._talk(connection)
        except tcp_peer.Stranger as stranger:
            self._refuse(stranger)
        except OSError as error:
            LOG.debug("vpcd at port %d: %s", self.port, error)
            self._sleep(_RESPITE)

    def _talk(self, connection: socket.socket) -> None:
        """Serve one vpcd until it disconnects."""
        with self._testbed.lock:
            if self._closing:
                return
            self._connection = connection
        try:
            for body in self._bodies(connection):
                self._respond(connection, body)
        finally:
            self._let_go()
            if self._closing:
                LOG.warning("vpcd was connected to port %d until now: see whether pcscd still runs", self.port)
            with self._testbed.lock:
                self._connection = self._dialogue = None
                self._owes_a_response = False

    def _respond(self, connection: socket.socket, body: bytes) -> None:
        dialogue = self._turn_to_the_card()
        control = vpcd_wire.control(body)
        was_shown = dialogue is not None and dialogue.is_shown
        with self._testbed.lock:
            self._owes_a_response = control is None
        try:
            response = dialogue.respond(body) if dialogue is not None else None
        except (CardMute, CardRemoved):
            response = None
        if response is None and control in (None, VpcdControl.ATR):
            response = NO_ATR if control is VpcdControl.ATR else _GONE
        with self._testbed.lock:
            is_due = self._owes_a_response or control is VpcdControl.ATR
            self._owes_a_response = False
        if is_due and response is not None:
            connection.sendall(vpcd_wire.encode(response))
        if dialogue is not None and dialogue.is_shown and not was_shown:
            self._greet()

    def _turn_to_the_card(self) -> Dialogue | None:
        """Return the dialogue with the card in the reader, a new one for a new insertion."""
        with self._testbed.lock:
            insertion = self.reader.insertion if self.reader is not None else None
            dialogue = self._dialogue
            if insertion is None:
                dialogue = self._dialogue = None
            elif dialogue is None or dialogue.insertion is not insertion:
                dialogue = self._dialogue = Dialogue(insertion, transactions=self._transactions)
        if dialogue is not self._reserved:
            self._let_go()
            self._reserved = dialogue
        return dialogue
