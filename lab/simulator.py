# SPDX-License-Identifier: MIT
"""The simulator: a bench, the socket for PKCS #11 modules and the socket for scripts, in one process."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..card import profiles
from ..card.card import Card
from ..card.piv_card import ForeignCard, PivCard
from ..card.store import ImageError
from ..csrc import module_path
from ..p11.functions import HANDLERS
from ..p11.server import Server
from ..reader.bench import Bench
from ..reader.errors import BenchError
from ..reader.events import Moment
from ..reader.pin_pad import Entry
from ..reader.reader import Reader
from . import places
from .control_server import ControlServer
from .requests import CardSource
from .scratch import Scratch
from .trigger import Trigger

LOG = logging.getLogger(__name__)


class Simulator:
    """A bench with its doors, from construction to `close`; a context manager.

    `folder` holds the sockets and has mode 0700; without one a temporary folder is made, and removed at the end.
    Raises SocketError when somebody else listens there, or the folder is not the user's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        scratch = Scratch()
        self._scratch = scratch.path
        self.folder = folder if folder is not None else self._scratch / "run"
        self.bench = Bench()
        self._lock = threading.Lock()
        self._cards: dict[Path, PivCard] = {}
        self._undo = contextlib.ExitStack()
        self._undo.callback(scratch.close)
        try:
            self._server = Server(self.bench, self.folder / places.MODULE_SOCKET, HANDLERS)
            self._undo.callback(self._close_cards)
            self._undo.callback(self._server.close)
            self._control = ControlServer(self, self.folder / places.CONTROL_SOCKET)
            self._undo.callback(self._control.close)
        except BaseException:
            self._undo.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End: applications see their cards go, images are closed, sockets and temporary files removed."""
        self._undo.close()

    @property
    def module_socket(self) -> Path:
        """Where the PKCS #11 module finds this simulator (CARDTEAR_SOCKET)."""
        return self._server.path

    @property
    def control_socket(self) -> Path:
        """Where scripts find it (CARDTEAR_CONTROL)."""
        return self._control.path

    @property
    def stopped(self) -> threading.Event:
        """Set when a script has asked for the end."""
        return self._control.stopped

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which programs find the module and this simulator."""
        return {
            "CARDTEAR_MODULE": str(module_path()),
            "CARDTEAR_SOCKET": str(self.module_socket),
            "CARDTEAR_CONTROL": str(self.control_socket),
        }

    # The verbs

    def plug(self, reader: str) -> Reader:
        """Plug a reader in."""
        return self.bench.plug(reader)

    def unplug(self, reader: str) -> None:
        """Pull a reader out, with the card that is in it."""
        self.bench.unplug(reader)

    def insert(self, reader: str, card: CardSource | Card | None = None) -> Card:
        """Put a card into a reader, by default the standard one, and return it.

        Raises BenchError, ImageError, ProfileError, with nothing changed.
        """
        place = self.bench.reader(reader)
        prepared = self._prepare(card if card is not None else profiles.CardRequest())
        with self._lock:
            chosen = self._take(prepared)
            place.insert(chosen)
        return chosen

    def remove(self, reader: str) -> Card:
        """Pull the card out; when this returns, no application has anything left of it."""
        return self.bench.reader(reader).remove()

    def swap(self, reader: str, card: CardSource | Card) -> Card:
        """Exchange the card for another at one instant, and return the new one. Raises as `insert`."""
        place = self.bench.reader(reader)
        prepared = self._prepare(card)
        with self._lock:
            chosen = self._take(prepared)
            place.swap(chosen)
        return chosen

    def reset(self, reader: str) -> None:
        """Reset the card, as another program could: every login is lost, sessions stay."""
        self.bench.reader(reader).reset()

    def pin_pad(self, reader: str, pin: str | None = None) -> None:
        """Type a PIN at the reader's PIN pad, or press its red key. It waits there until a program asks for it."""
        place = self.bench.reader(reader)
        with self.bench.lock:
            place.pin_pad.enter(Entry(b"", cancelled=True) if pin is None else Entry(pin.encode()))

    def arm(self, trigger: Trigger) -> None:
        """Carry out the trigger's verb when its moment comes, once. Raises ImageError, ProfileError for its card."""
        if trigger.verb in ("insert", "swap"):
            # The moment itself is no time to make keys, or to find that an image is missing.
            prepared = self._prepare(trigger.arguments.setdefault("card", profiles.CardRequest()))
            with self._lock:
                self._take(prepared)
        act = getattr(self, trigger.verb.replace("-", "_"))

        def watch(moment: Moment) -> None:
            if trigger.fires(moment):
                self.bench.unwatch(watch)
                try:
                    act(**trigger.arguments)
                except (BenchError, ImageError) as error:  # what it should act on may be gone by then
                    LOG.warning("an armed %s came to nothing: %s", trigger.verb, error)

        self.bench.watch(watch)

    def status(self) -> dict[str, Any]:
        """Readers with their cards, and the applications that have the module initialised."""
        with self.bench.lock:
            readers = [_reader_status(reader) for reader in self.bench.readers]
        applications = [
            {"name": each.name, "sessions": len(each.sessions), "logged_in": bool(each.rights)}
            for each in self._server.applications
        ]
        return {"readers": readers, "applications": applications, "module": str(module_path())}

    # Cards

    def put_away(self) -> None:
        """Close the images that were given by path and are in no reader now, so that others can open them."""
        with self._lock:
            inserted = [reader.insertion.card for reader in self.bench.readers if reader.insertion is not None]
            for path, card in list(self._cards.items()):
                if card not in inserted and not path.is_relative_to(self._scratch):
                    del self._cards[path]
                    card.close()

    def _prepare(self, source: CardSource | Card) -> Path | Card:
        """The image of a source, made if need be: a path that is given, or this simulator's own copy."""
        if isinstance(source, Path):
            return source.resolve()
        if not isinstance(source, profiles.CardRequest):
            return source
        if not profiles.PROFILES[source.profile].piv:
            return profiles.foreign_card(source.name)
        image = profiles.ready_image(source, places.image_cache(), places.test_ca())
        copy = self._scratch / image.name
        with self._lock:
            if not copy.exists():
                shutil.copyfile(image, copy)
                copy.chmod(0o600)
        return copy

    def _take(self, prepared: Path | Card) -> Card:
        """The card of an image, always the same one while it is open. The caller holds the lock. Raises ImageError."""
        if not isinstance(prepared, Path):
            return prepared
        card = self._cards.get(prepared)
        if card is None:
            card = self._cards[prepared] = profiles.open_card(prepared)
        return card

    def _close_cards(self) -> None:
        for card in self._cards.values():
            card.close()


def _reader_status(reader: Reader) -> dict[str, Any]:
    insertion = reader.insertion
    if insertion is None:
        return {"name": reader.name, "card": None, "profile": None, "atr": None}
    card = insertion.card
    profile = card.profile if isinstance(card, PivCard | ForeignCard) else None
    return {"name": reader.name, "card": card.name, "profile": profile, "atr": insertion.atr.hex().upper()}
