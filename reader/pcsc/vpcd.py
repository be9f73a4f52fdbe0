# SPDX-License-Identifier: MIT
"""Adapter for PC/SC programs: show a virtual reader in one slot of vpcd, the virtual reader driver of pcscd.

vpcd takes a connection for a card. It accepts one only when pcscd looks whether a card is there, and then asks for the
ATR; a connection that ends instead of answering is an empty slot. So we know when pcscd has seen the slot empty, and no
card is shown to a pcscd that may still believe in another one: else its programs would go on with the new card over
their connections to the old one, and never hear of the swap. That pcscd has looked for a program, not for itself, shows
in that it does not power the new card up; then that one gets nothing, and the slot is empty once more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from time import monotonic

from ..errors import CardMute, CardRemoved
from ..reader import Insertion, Reader
from ..testbed import Testbed
from . import tcp_peer, vpcd_wire
from .network_namespace import Inside
from .pcscd_call import call_pcscd, may_listen
from .slot_adapter import LOOPBACK, Daemon, SlotAdapter
from .vpcd_dialogue import Dialogue
from .vpcd_wire import VpcdControl

_HINT = "is pcscd running? `cardtear doctor` says what is missing"

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.4
"""Seconds between attempts to reach a vpcd that is not there; doubled each time."""

_WORTH_IT = 1.0
"""Seconds for which a connection lasts if the other end means it."""

_SOMETHING = object()
"""A card that pcscd reports, and that no insertion of ours has put there."""


class VpcdAdapter(SlotAdapter):
    """The slot of a vpcd that listens on a port. `hint` says what to do if it does not; the rest as in PcscSlots."""

    def __init__(
        self,
        testbed: Testbed,
        port: int = vpcd_wire.PORT,
        reader: Reader | None = None,
        hint: str = _HINT,
        inside: Inside = contextlib.nullcontext,
        daemon: Daemon | None = None,
    ) -> None:
        self._inside = inside
        self._daemon = daemon
        self._may_listen = may_listen if daemon is None else tcp_peer.is_ours  # ours runs as we do
        self._address = (LOOPBACK, port)
        self._connection: socket.socket | None = None
        self._is_answering = False
        self._believed: object | None = None
        """The insertion that pcscd may take for the one in the slot; None when it has seen the slot empty."""
        self._powered: Insertion | None = None
        """The insertion that pcscd has powered up last."""
        self._was_reached = False
        self._call: socket.socket | None = None
        self._nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        super().__init__(testbed, port, reader, hint)

    def _cut(self) -> None:
        """Fail the command that is under way, and wake our thread.

        Without one the connection stays: pcscd's next look is to find the slot empty, and we are to know that it has.
        """
        self._dialogue = None
        if self._connection is not None and (self._closing or self._is_answering):
            with contextlib.suppress(OSError):  # not connected yet, or not any more
                self._connection.shutdown(socket.SHUT_RD)
                self._connection.send(vpcd_wire.BROKEN_OFF, socket.MSG_DONTWAIT)
            # Closes it under a thread that is busy with the card; its descriptor stays taken until that comes back.
            os.dup2(self._nothing, self._connection.fileno(), inheritable=False)
        os.eventfd_write(self._wake, 1)

    def _show_cards(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing:
            if not self._has_something_to_show():
                self._sleep(None)
            elif self._connect():
                pause = _FIRST_PAUSE
            else:
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        os.close(self._nothing)
        if self._call is not None:
            self._call.close()

    def _has_something_to_show(self) -> bool:
        """Return whether there is a card, or an empty slot that pcscd has not seen yet."""
        with self._testbed.lock:
            return self._insertion() is not None or self._believed is not None

    def _insertion(self) -> Insertion | None:
        return self.reader.insertion if self.reader is not None else None

    def _connect(self) -> bool:
        """Hold one connection until it ends. Return False to wait before the next attempt."""
        try:
            connection = self._new_socket()
        except OSError as error:  # no more descriptors
            self._miss(error.strerror or str(error))
            return False
        with connection:
            with self._testbed.lock:
                if self._closing:
                    return True
                self._connection = connection
            if self._call is None and not self._was_reached:
                self._call = call_pcscd()
            start = monotonic()
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                connection.connect(self._address)
                tcp_peer.admit(connection, self._sleep, self._inside, self._may_listen)
                self._was_reached = True
                if self._talk(connection):
                    return True
            except tcp_peer.Stranger as stranger:
                self._refuse(stranger)
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:
                    self._believed = None  # no pcscd: the next one has seen no card of ours
                self._miss(error.strerror or str(error))
            finally:
                self._let_go()
                with self._testbed.lock:
                    self._connection = self._dialogue = None
                    self._is_answering = False
        return monotonic() - start > _WORTH_IT

    def _miss(self, why: str) -> None:
        """Log that there is no vpcd, unless a pcscd of ours is stopped on purpose."""
        if self._daemon is None or self._daemon.is_there:
            super()._miss(why)

    def _new_socket(self) -> socket.socket:
        with self._inside():
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def _talk(self, connection: socket.socket) -> bool:
        """Act as the content of the slot while both ends are connected. Raises OSError.

        Return whether to connect again at once: after a break-off of ours, not when vpcd has gone.
        """
        control: VpcdControl | None = None
        is_first = True
        for body in self._bodies(connection):
            was_power_on, control = control in (VpcdControl.ON, VpcdControl.RESET), vpcd_wire.control(body)
            dialogue = self._take_up(is_first)
            is_first = False
            if dialogue is None or dialogue.overlooks(control):
                # The ATR after a power-on is for the program that wants it; any other one is pcscd's look.
                if dialogue is None and control is VpcdControl.ATR and not was_power_on:
                    self._believed = None
                elif dialogue is not None:
                    self._believed = _SOMETHING
                self._break_off(connection)
                return True
            if not self._respond(connection, dialogue, body):
                return True
        if is_first and not self._closing:
            self._miss("nobody there who speaks to a card")
        return self._closing

    def _take_up(self, is_first: bool) -> Dialogue | None:
        """Return the dialogue with the card in the slot, or None for an empty slot.

        `is_first`: the connection has only just been accepted. From the return until `_respond` has ended, a removal
        fails what is under way.
        """
        with self._testbed.lock:
            insertion = self._insertion()
            if is_first and insertion is not None and self._believed in (None, insertion):
                self._dialogue = Dialogue(insertion, insertion is self._powered, self._transactions)
                self._believed = insertion
            dialogue = self._dialogue
            self._is_answering = dialogue is not None
        if dialogue is not None:
            self._reserved = dialogue
        return dialogue

    def _respond(self, connection: socket.socket, dialogue: Dialogue, body: bytes) -> bool:
        """Send the card's response. Returns False if the connection is over: the card has gone, or is mute."""
        was_shown = dialogue.is_shown
        try:
            response = dialogue.respond(body)
        except (CardMute, CardRemoved):
            self._break_off(connection)
            return False
        with self._testbed.lock:
            if self._dialogue is not dialogue:
                return False
            self._is_answering = False
            if dialogue.is_powered_up:
                self._powered = dialogue.insertion
        if response is not None:
            connection.sendall(vpcd_wire.encode(response))
        if dialogue.is_shown and not was_shown:
            self._greet()
        return True

    def _break_off(self, connection: socket.socket) -> None:
        """Fail what vpcd waits for, and leave the slot empty."""
        with contextlib.suppress(OSError):
            connection.sendall(vpcd_wire.BROKEN_OFF)
