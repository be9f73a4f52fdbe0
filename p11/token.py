# SPDX-License-Identifier: MIT
"""A token: one card for as long as it stays in its reader, as all applications share it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..card import tlv
from ..card.tables import CHUID, LABEL_OBJECT
from ..reader.bench import Bench
from ..reader.events import Change, Event
from ..reader.reader import Insertion
from .constants import CKF, CKR
from .errors import P11Error
from .objects import P11Object, read_card
from .piv_client import PivClient

if TYPE_CHECKING:
    from .application import Application

PIN_LENGTHS = (6, 8)
_TRIES = 3
_FLAGS = CKF.RNG | CKF.LOGIN_REQUIRED | CKF.USER_PIN_INITIALIZED | CKF.TOKEN_INITIALIZED


class Token:
    """What is known of a card, and who is logged in to it. `users` changes under the bench's lock only."""

    def __init__(self, insertion: Insertion) -> None:
        self.insertion = insertion
        self.piv = PivClient(insertion)
        self.users: set[Application] = set()
        self._lock = threading.Lock()
        self._names: tuple[str, str] | None = None
        self._objects: list[P11Object] | None = None
        self._pin_tries = _TRIES

    @property
    def is_present(self) -> bool:
        """False for good once the card has been pulled."""
        return not self.insertion.removed.is_set()

    def require_recognised(self) -> None:
        """Raises P11Error(TOKEN_NOT_RECOGNIZED) for a card without PIV, CardRemoved for one that is gone."""
        if not self.piv.select():
            raise P11Error(CKR.TOKEN_NOT_RECOGNIZED)

    def names(self) -> tuple[str, str]:
        """Label and serial number, from the card: its name, and the end of the GUID in its CHUID."""
        with self._lock:
            if self._names is None:
                self.require_recognised()
                chuid = _fields(self.piv.read_object(CHUID))
                serial = chuid.get(0x34, b"")[-8:].hex().upper()
                label = _fields(self.piv.read_object(LABEL_OBJECT)).get(0x80, b"").decode("utf-8", "replace")
                self._names = (label or f"PIV {serial}", serial)
            return self._names

    def flags(self) -> int:
        """The flags of CK_TOKEN_INFO; asks the card for the tries that are left."""
        left = None if self._awaits_signature else self.piv.pin_tries()
        if left is not None:
            self._pin_tries = left
        flags = int(_FLAGS)
        if self._pin_tries == 0:
            return flags | CKF.USER_PIN_LOCKED
        if self._pin_tries < _TRIES:
            flags |= CKF.USER_PIN_COUNT_LOW
        return flags | CKF.USER_PIN_FINAL_TRY if self._pin_tries == 1 else flags

    @property
    def _awaits_signature(self) -> bool:
        """Whether the PIN was given for one signature that is still to come: another command would use it up."""
        sessions = (each for user in tuple(self.users) for each in tuple(user.sessions.values()) if each.token is self)
        return any(operation.context_login for each in sessions for operation in tuple(each.operations.values()))

    def pin_was_right(self) -> None:
        """The card has all its tries again."""
        self._pin_tries = _TRIES

    def objects(self) -> list[P11Object]:
        """The objects on the card, read when they are first asked for."""
        with self._lock:
            if self._objects is None:
                self.require_recognised()
                with self.insertion.lock:
                    self._objects = read_card(self.piv)
            return self._objects


class Tokens:
    """The tokens of a bench, one for each card that is in a reader."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tokens: dict[Insertion, Token] = {}
        self._unsubscribe = bench.subscribe(self._hear)

    def of(self, insertion: Insertion) -> Token:
        """The token of a stay. The caller holds the bench's lock."""
        token = self._tokens.get(insertion)
        if token is None:
            token = self._tokens[insertion] = Token(insertion)
        return token

    def close(self) -> None:
        """Stop listening to the bench."""
        self._unsubscribe()

    def _hear(self, event: Event) -> None:
        if event.insertion is None:
            return
        if event.change is Change.REMOVE:
            self._tokens.pop(event.insertion, None)
        elif event.change is Change.RESET:
            self.of(event.insertion).users.clear()


def _fields(value: bytes | None) -> dict[int, bytes]:
    try:
        return dict(tlv.decode(value or b""))
    except tlv.TlvError:
        return {}
