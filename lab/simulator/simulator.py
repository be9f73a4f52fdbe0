# SPDX-License-Identifier: MIT
"""The simulator without its control channel: a testbed with cards, triggers and the socket for PKCS #11 modules."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...card.applet.piv_card import PivCard
from ...card.card import Card, CardTorn
from ...card.image.store import ImageError
from ...card.issuing.profiles import CardRequest
from ...card.tables import PIN, PUK
from ...card.wording import reason
from ...csrc import module_path
from ...p11.application import Application
from ...p11.functions import HANDLERS
from ...p11.server import ModuleServer
from ...reader.errors import CardMute, CardRemoved, NoRetryCounter, PcscdFailed, PcscdNotOurs, ReaderEmpty, TestbedError
from ...reader.pcsc.slot_adapter import Daemon
from ...reader.pcsc.vpcd_slots import PcscSlots, VpcdSlots
from ...reader.pin_pad import Entry
from ...reader.reader import Reader
from ...reader.testbed import Testbed
from ..processes import paths
from ..processes.closable import Closable
from ..processes.kept_process import ProcessError
from ..processes.temp_dir import TempDir, for_sockets
from . import possible_trigger
from .armed_triggers import Heard, Triggers
from .barriers import Barriers
from .card_shelf import CardShelf
from .from_pcsc import FromPcsc
from .moments import OnTime
from .scheduler import Scheduler
from .status import of_reader
from .trigger import Trigger
from .trigger_encoding import as_armed
from .value_types import CardSource, check
from .verbs import TABLE, Request, Type

if TYPE_CHECKING:
    from ...p11.quirks import Quirks

LOG = logging.getLogger(__name__)


class SimulatorCore(Closable):
    """Carry out every verb on a testbed that PKCS #11 modules reach; control/simulator.py adds the control channel."""

    def __init__(self, folder: Path | None = None, quirks: Quirks | None = None, pcsc: PcscSlots | None = None) -> None:
        self.quirks = quirks if quirks is not None and quirks.given else None
        self._is_gone = False
        scratch = TempDir()
        self._scratch = scratch.path
        self.testbed = Testbed()
        self._barriers = Barriers(self.testbed)
        self._scheduler = Scheduler()
        self._from_pcsc = FromPcsc(self.testbed)
        self._triggers = Triggers(
            self.testbed, self._scheduler, self._barriers, self._carry_out, lambda trigger: self.acted(trigger)
        )
        self._shelf = CardShelf(self.testbed, self._scratch)
        self._undo = contextlib.ExitStack()
        self._undo.callback(scratch.close)
        self.folder = folder if folder is not None else self._own_folder()
        try:
            self._server = self._new_server()
            self._undo.callback(self._shelf.close)
            self._undo.callback(lambda: self._server.close())
            self._pcsc_place = pcsc
            self.pcsc = self._new_pcsc()
            self._undo.callback(self._close_pcsc)
            self._undo.callback(self._scheduler.close)
            self._undo.callback(self._barriers.close)
            self._undo.callback(self._from_pcsc.close)
        except BaseException:
            self._undo.close()
            raise

    def close(self) -> None:
        """Remove all cards, close images, and remove sockets and temporary files."""
        self._undo.close()

    @property
    def bench(self) -> Testbed:
        """Return the testbed: the name that fixtures use."""
        return self.testbed

    @property
    def module_socket(self) -> Path:
        """Return the socket of the PKCS #11 module (CARDTEAR_SOCKET)."""
        return self._server.path

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables for programs: the path of the module, and this simulator's socket."""
        return {"CARDTEAR_MODULE": str(module_path()), "CARDTEAR_SOCKET": str(self.module_socket)}

    # The verbs

    def plug(self, reader: str, contactless: bool = False) -> Reader:
        """Plug a reader in, for cards with contacts or for contactless ones."""
        return self.testbed.plug(reader, contactless)

    def unplug(self, reader: str) -> None:
        """Unplug a reader, with the card in it."""
        self.testbed.unplug(reader)

    def insert(self, reader: str, card: CardSource | Card | None = None, atr: bytes | None = None) -> Card:
        """Insert a card into a reader, and return it: by default the card that was last in it, as it was left.

        The default is the standard card in a reader that has had none, and the card of PC/SC in one that is attached
        to PC/SC. `atr` (1 to 33 bytes) replaces the card's own ATR, as over a bad contact.
        Raises TestbedError, ImageError, ProfileError, with nothing changed.
        """
        check("insert", {"reader": reader, "card": card, "atr": atr})
        place = self.testbed.reader(reader)
        wanted = card or self._from_pcsc.card(reader) or self._shelf.last(reader) or CardRequest()
        with self._shelf.taken(wanted) as chosen:
            place.insert(chosen, atr)
        return chosen

    def remove(self, reader: str) -> Card:
        """Remove the card; when this returns, all sessions on it are closed, for every application."""
        return self.testbed.reader(reader).remove()

    def swap(self, reader: str, card: CardSource | Card, atr: bytes | None = None) -> Card:
        """Remove the card and insert another in one step; return the new one. Raises as `insert`."""
        check("swap", {"reader": reader, "card": card, "atr": atr})
        place = self.testbed.reader(reader)
        with self._shelf.taken(card) as chosen:
            place.swap(chosen, atr)
        return chosen

    def attach_pcsc(self, reader: str, name: str = "", exclusive: bool = False) -> str | None:
        """Mirror the card of the first PC/SC reader that has `name` in its name in this reader.

        It is inserted and removed as it is there; `remove` removes it for our applications, `insert` inserts it again.
        With `exclusive` other PC/SC programs cannot use it. Returns the card's name, None without a card. Raises
        TestbedError.
        """
        self.testbed.reader(reader)
        self.testbed.trace.verb("attach-pcsc", reader, name or "any")
        return self._from_pcsc.attach(reader, name, exclusive)

    def detach_pcsc(self, reader: str) -> bool:
        """Undo attach_pcsc; the mirrored card is removed. Returns False if the reader was not attached."""
        self.testbed.reader(reader)
        self.testbed.trace.verb("detach-pcsc", reader)
        return self._from_pcsc.detach(reader)

    def reset(self, reader: str) -> None:
        """Reset the card, as another program could: logins are lost, sessions stay."""
        self.testbed.reader(reader).reset()

    def pin_pad(self, reader: str, pin: str | None = None) -> bool:
        """Enter a PIN at the reader's PIN pad, or cancel; the entry is kept until a program asks for a PIN there.

        Returns False if the card in the reader uses no PIN pad. Raises ReaderEmpty.
        """
        place = self.testbed.reader(reader)
        check("pin-pad", {"reader": reader, "pin": pin})
        with self.testbed.lock:
            card = place.occupied().card
            place.pin_pad.enter(Entry(b"", cancelled=True) if pin is None else Entry(pin.encode()))
            self.testbed.trace.verb("pin-pad", reader, "the red key" if pin is None else "a PIN")
        return card.asks_at_the_pin_pad and not card.is_dead

    def touch(self, reader: str) -> bool:
        """Touch the card: one key that requires a touch, now or later, gets it.

        Returns False if no key on the card requires one, or the card is mute. Raises ReaderEmpty.
        """
        insertion = self.testbed.reader(reader).touch()
        self.testbed.trace.verb("touch", reader)
        return insertion.card.asks_for_touches and not insertion.is_mute

    def logout(self, reader: str) -> None:
        """Log out of the card, as another program could: logins are lost, sessions stay."""
        self.testbed.reader(reader).log_out()

    def close_sessions(self, reader: str) -> None:
        """Close all sessions on the card with their logins, as a module's idle time-out does; the card stays."""
        self._server.close_sessions(self.testbed.reader(reader))

    def apdu(self, reader: str, command: bytes) -> bytes:
        """Send a command APDU as another program would; returns the response, status word included.

        Raises TestbedError, CardRemoved when the card goes before it has answered, CardMute when it does not answer.
        """
        insertion = self.testbed.reader(reader).occupied()
        check("apdu", {"reader": reader, "command": command})
        return insertion.transmit(command)

    def block_pin(self, reader: str, left: int = 0, puk: bool = False) -> None:
        """Use up tries of the PIN (or PUK) until `left` remain, as wrong PINs would. Logins are lost.

        Raises TestbedError, ImageError, ValueError for more tries than it has.
        """
        place = self.testbed.reader(reader)
        insertion = place.occupied()
        card = insertion.card
        if not isinstance(card, PivCard):
            raise NoRetryCounter(card.name, reader)
        with insertion.lock:
            try:
                card.set_retry_counter(PUK if puk else PIN, left)
            except CardTorn:  # pulled out, or put into another reader, meanwhile
                raise ReaderEmpty(reader) from None
            self.testbed.trace.verb("block-pin", reader, f"{'PUK' if puk else 'PIN'}, {left} left")
            place.log_out()

    def mute(self, reader: str) -> None:
        """Make the card stop answering until it is reset or removed."""
        self.testbed.reader(reader).mute()
        self.testbed.trace.verb("mute", reader)

    def kill(self, reader: str) -> None:
        """Make the card stop answering for good, in any reader of this simulator."""
        self.testbed.reader(reader).mute(for_life=True)
        self.testbed.trace.verb("kill", reader)

    def release(self, gate: str = "") -> int:
        """Resume what the fault `hang` has stopped at a gate; return how many calls and APDUs that are."""
        self.testbed.trace.verb("release", None, gate)
        return self._barriers.open(gate)

    def crash(self) -> bool:
        """Break all connections, as a simulator that died: applications cannot reach it, also in the middle of calls.

        Returns False if that was so already.
        """
        self.testbed.trace.verb("crash")
        was_there, self._is_gone = not self._is_gone, True
        self._server.close()
        self._close_pcsc(wait=False)
        return was_there

    def restart(self) -> bool:
        """Accept connections again after `crash`, with the testbed as it is. Returns False without a crash before."""
        if not self._is_gone:
            self.testbed.trace.verb("restart")
            return False
        self._server.close()
        self._close_pcsc()
        self.testbed.trace.verb("restart")
        self._server = self._new_server()
        self.pcsc = self._new_pcsc()
        self._is_gone = False
        return True

    def pcscd(self, action: str) -> bool:
        """Stop or start this simulator's own pcscd: `stop`, `start`.

        Returns when it has ended, or answers; False if that was so already. Raises TestbedError.
        """
        daemon = self._own_pcscd()
        self.testbed.trace.verb("pcscd", None, action)
        try:
            return {"stop": daemon.stop, "start": daemon.start}[action]()
        except ProcessError as error:
            raise PcscdFailed(str(error)) from None

    @property
    def is_pcscd_stopped(self) -> bool:
        """Return whether this simulator has a pcscd of its own that does not run."""
        place = self._pcsc_place
        return place is not None and place.daemon is not None and not place.daemon.is_running

    def _own_pcscd(self) -> Daemon:
        if self._pcsc_place is None or self._pcsc_place.daemon is None:
            raise PcscdNotOurs
        return self._pcsc_place.daemon

    def signal(self, signal: str) -> Heard:
        """Fire the triggers that wait for a signal; return how many these are, and whose action failed."""
        self.testbed.trace.verb("signal", None, signal)
        return self._triggers.say(signal)

    def later(self, seconds: float, then: Request) -> None:
        """Carry out another verb in so many seconds.

        Raises TestbedError, ImageError, ProfileError, ValueError for what cannot be done then.
        """
        self.check(Trigger("later", {"seconds": seconds, "then": then}, OnTime(seconds)))
        self._prepare_for(then.verb, then.arguments)
        self._scheduler.enter(lambda: self._carry_out(then.verb, then.arguments), seconds)

    def put_away(self) -> None:
        """Close the images that were given by path and are in no reader now, so that others can open them."""
        self._shelf.put_away(self.testbed.readers)

    def prepare(self, card: CardSource) -> None:
        """Make or open a card now, so that inserting it later takes no time. Raises ImageError, ProfileError."""
        self._prepare_for("insert", {"card": card})

    # Triggers

    def acted(self, trigger: Trigger) -> None:
        """Note, in subclasses, that a trigger has carried out its verb, or begins its fault."""

    @property
    def triggers(self) -> dict[int, Trigger]:
        """Return the armed triggers that can fire again, by number."""
        return self._triggers.armed

    def arm(self, trigger: Trigger) -> int:
        """Arm a trigger, and return its number for `disarm`.

        Raises ImageError, ProfileError, TestbedError (a reader that never was), ValueError (a moment that never comes).
        """
        self.check(trigger)
        self._prepare_for(trigger.verb, trigger.arguments)
        return self._triggers.arm(trigger)

    def check(self, trigger: Trigger) -> None:
        """Refuse a trigger that can never fire or act. Raises TestbedError, ValueError."""
        possible_trigger.check(trigger, self.triggers.values(), lambda: self.testbed.known, self.quirks is not None)

    def disarm(self, trigger: int) -> bool:
        """Cancel a trigger; return whether it could still fire. Raises ValueError for an unknown number."""
        return self._triggers.disarm(trigger)

    def _prepare_for(self, verb: str, arguments: Mapping[str, Any]) -> None:
        """Make keys, and find that an image is missing, now and not at the moment itself."""
        for parameter in TABLE[verb].parameters:
            value = arguments.get(parameter.name)
            if parameter.type is Type.REQUEST:
                self._prepare_for(*arguments[parameter.name])
            elif parameter.type is Type.PCSCD_ACTION:
                self._own_pcscd()
            elif parameter.type is Type.CARD and (value is not None or self._shelf.last(arguments["reader"]) is None):
                with self._shelf.taken(value or CardRequest()):  # the standard one, unless another is put in before
                    pass

    def _carry_out(self, verb: str, arguments: Mapping[str, Any]) -> str | None:
        """Carry out an armed verb; return why it failed or changed nothing, or None."""
        try:
            if getattr(self, TABLE[verb].method)(**arguments) is False:
                return TABLE[verb].useless or None
        except (TestbedError, CardRemoved, CardMute, ImageError, OSError, ValueError) as error:
            # What it should act on, or the file of a passphrase, may be gone by then.
            LOG.warning("armed action %s failed: %s", verb, reason(error))
            return reason(error)
        return None

    @property
    def applications(self) -> list[Application]:
        """Return the applications that have the module initialised."""
        return self._server.applications

    def status(self) -> dict[str, Any]:
        """Return readers with their cards, applications and armed triggers, as `status` shows them."""
        with self.testbed.lock:
            readers = [of_reader(reader, self.pcsc, self._from_pcsc) for reader in self.testbed.readers]
        applications = [
            {"name": each.name, "sessions": len(each.sessions), "logged_in": each.is_logged_in}
            for each in self.applications
        ]
        triggers = [{"trigger": number, **as_armed(each)} for number, each in sorted(self.triggers.items())]
        return {
            "readers": readers,
            "applications": applications,
            "triggers": triggers,
            "module": str(module_path()),
            "quirks": str(self.quirks or ""),
        }

    # Parts

    def _own_folder(self) -> Path:
        """Return a folder for the sockets: beside the cards, unless that path is too long for a socket."""
        return for_sockets(self._scratch / "run", paths.CONTROL_SOCKET, self._undo)

    def _new_server(self) -> ModuleServer:
        path = self.folder / paths.MODULE_SOCKET
        if self.quirks is None:
            return ModuleServer(self.testbed, path, HANDLERS)
        from ...p11.quirks.behaviour import new_server  # nobody else needs to load it

        return new_server(self.testbed, path, HANDLERS, self.quirks)

    def _new_pcsc(self) -> VpcdSlots | None:
        return VpcdSlots(self.testbed, self._pcsc_place) if self._pcsc_place is not None else None

    def _close_pcsc(self, wait: bool = True) -> None:
        if self.pcsc is not None:
            self.pcsc.close(wait)
