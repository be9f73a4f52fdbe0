# SPDX-License-Identifier: MIT
"""One application: a process between C_Initialize and C_Finalize, with its slots, sessions, logins and handles.

All of it changes under the testbed's lock, so that a removal takes everything of a card away at one instant.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..reader.errors import CardRemoved
from ..reader.events import Change, Event
from ..reader.reader import Insertion, Reader
from ..reader.testbed import Testbed
from .caller import Caller
from .constants import CKR, CKU
from .errors import P11Error
from .objects import P11Object
from .operations.digests import Digest, Mac
from .sessions import NOBODY, Kind, Right, Session
from .slot_record import SlotRecord
from .slots import Slot
from .token import Token, Tokens
from .wire import KnownSlot

Saved = Digest | Mac
"""An operation whose state can be saved."""

_MOST_STATES = 1000
_Condition = Callable[[Token, P11Object, "Session | None"], bool]


class Application:
    """The state of one application. `known_slots` are those that it has from a simulator before this one.

    One that `comes_later` has been without a simulator since C_Initialize: readers that are new to it, and cards, are
    events. Raises OSError when there is no descriptor for its SlotRecord.
    """

    def __init__(
        self,
        testbed: Testbed,
        tokens: Tokens,
        name: str,
        pid: int,
        known_slots: Sequence[KnownSlot] = (),
        comes_later: bool = False,
    ) -> None:
        self.record = SlotRecord()
        self.testbed = testbed
        self.name = f"{name}[{pid}]"
        self.pid = pid
        self.sessions: dict[int, Session] = {}
        self.rights: dict[Token, Right] = {}
        self.waiters: set[Caller] = set()
        self.finalized = False
        self._tokens = tokens
        # A random epoch above a counter: no handle comes back, not even from another simulator.
        epoch = int.from_bytes(os.urandom(4), "big") >> 1 or 1
        self._handles: Iterator[int] = itertools.count((epoch << 32) + 1)
        self._objects: dict[int, tuple[Token, P11Object, Session | None]] = {}
        self._handle_of: dict[P11Object, int] = {}
        self._states: dict[bytes, tuple[Token, Kind, Saved]] = {}
        self.slots: dict[int, Slot] = {}
        self._by_name: dict[str, Slot] = {}
        self._told: set[Slot] = set()
        with testbed.lock:
            for known in known_slots:
                self._add(known.number, known.name, known.listed).event = known.event
            for reader in testbed.readers:
                is_new = reader.name not in self._by_name
                slot = self._attach(reader, listed=not comes_later)
                slot.event |= comes_later and (is_new or slot.token is not None)
            self.record_slots()
            self._unsubscribe = testbed.add_part(self._hear)

    def close(self) -> None:
        """Close all sessions; the card forgets the PIN if no other application is logged in."""
        for token in self.end():
            token.give_up()

    def end(self) -> list[Token]:
        """Close all sessions, and return the tokens to which nobody is logged in any more; no card is asked."""
        with self.testbed.lock:
            self.finalized = True
            self._unsubscribe()
            tokens = {session.token for session in self.sessions.values()} | set(self.rights)
            left_alone = [token for token in tokens if self.drop_sessions(token)]
            self._wake_waiters()
            self.record.close()
        return left_alone

    # Slots

    def new_slot(self, number: int, name: str, listed: bool) -> Slot:
        """A slot for a reader."""
        return Slot(number, name, listed)

    def list_slots(self, refresh: bool, token_present: bool) -> list[Slot]:
        """What C_GetSlotList shows; new slots when `refresh` says so. The caller holds the testbed's lock."""
        slots = self.slots.values()
        if refresh and not all(slot.listed for slot in slots):
            for slot in slots:
                slot.listed = True
            self.record_slots()
        return [slot for slot in slots if slot.listed and (slot.token is not None or not token_present)]

    def slot(self, number: int) -> Slot:
        """Raises P11Error(SLOT_ID_INVALID)."""
        slot = self.slots.get(number)
        if slot is None:
            raise P11Error(CKR.SLOT_ID_INVALID)
        return slot

    def token(self, number: int) -> Token:
        """The token in a slot. Raises P11Error(SLOT_ID_INVALID or TOKEN_NOT_PRESENT)."""
        token = self.slot(number).token
        if token is None:
            raise P11Error(CKR.TOKEN_NOT_PRESENT)
        return token

    def take_event(self) -> int | None:
        """The number of a slot to which something has happened, once. The caller holds the testbed's lock."""
        for slot in self.slots.values():
            if slot.event:
                slot.event = False
                self._told.add(slot)
                return slot.number
        return None

    def record_slots(self) -> None:
        """Bring the record of all slots up to date. The caller holds the testbed's lock."""
        for slot in self._by_name.values():
            self._record(slot)

    def settle_events(self) -> None:
        """The events that were taken have been sent: only now they are gone from the record, too."""
        if self._told:
            with self.testbed.lock:
                while self._told:
                    self._record(self._told.pop())

    def _record(self, slot: Slot) -> None:
        self.record.write(slot, self.slots.get(slot.number) is slot)

    # Sessions and login

    def session(self, handle: int) -> Session:
        """Raises P11Error(SESSION_HANDLE_INVALID), whatever became of the session."""
        try:
            return self.sessions[handle]
        except KeyError:
            raise P11Error(CKR.SESSION_HANDLE_INVALID) from None

    def require_open(self, session: Session) -> None:
        """Whether the session has not ended since a call began. Raises CardRemoved, or P11Error(SESSION_CLOSED)."""
        if self.sessions.get(session.handle) is not session:
            if session.token.is_present:
                raise P11Error(CKR.SESSION_CLOSED)
            raise CardRemoved(session.slot.name)

    def open_session(self, slot: Slot, token: Token, read_write: bool, flags: int) -> Session:
        """A new session on a token that is still there. Raises CardRemoved, P11Error."""
        if read_write:
            token.require_writable()
        most = token.traits().most_sessions
        with self.testbed.lock:
            if slot.token is not token:
                raise CardRemoved(slot.name)
            if most and sum(each.token is token for each in self.sessions.values()) >= most:
                raise P11Error(CKR.SESSION_COUNT)
            if not read_write and self.rights.get(token, NOBODY).role is CKU.SO:
                raise P11Error(CKR.SESSION_READ_WRITE_SO_EXISTS)
            session = Session(next(self._handles), slot, token, read_write, flags, self.rights)
            self.sessions[session.handle] = session
            token.sessions.add(session)
            return session

    def close_session(self, session: Session) -> bool:
        """End a session with its objects; with the last one of a token the login ends. True: it did."""
        with self.testbed.lock:
            if self.sessions.pop(session.handle, None) is None:
                raise P11Error(CKR.SESSION_HANDLE_INVALID)
            session.token.sessions.discard(session)
            self._forget_objects(lambda _token, _item, owner: owner is session)
            if any(each.token is session.token for each in self.sessions.values()):
                return False
            return self.drop_sessions(session.token)

    def drop_sessions(self, token: Token) -> bool:
        """Close all sessions on a token, with the testbed's lock held. True if that ended the card's last login."""
        for session in [each for each in self.sessions.values() if each.token is token]:
            del self.sessions[session.handle]
            token.sessions.discard(session)
        self._forget_objects(lambda owner, _item, _session: owner is token)
        return self._end_role(token)

    def require_login_possible(self, session: Session, role: CKU) -> None:
        """Raises P11Error if somebody is logged in, or an SO would be in a read-only session; CardRemoved."""
        with self.testbed.lock:
            self.require_open(session)
            now = session.role
            if now is not None:
                raise P11Error(CKR.USER_ALREADY_LOGGED_IN if now is role else CKR.USER_ANOTHER_ALREADY_LOGGED_IN)
            on_token = (each for each in self.sessions.values() if each.token is session.token)
            if role is CKU.SO and not all(each.read_write for each in on_token):
                raise P11Error(CKR.SESSION_READ_ONLY_EXISTS)

    def log_in(self, session: Session, right: Right) -> None:
        """The card has accepted the PIN. Raises P11Error, CardRemoved when that comes too late."""
        with self.testbed.lock:
            self.require_open(session)
            self.rights[session.token] = right
            session.token.users.add(self)

    def lose_login(self, token: Token) -> None:
        """The card has no PIN verified any more: sessions stay, the user is out."""
        with self.testbed.lock:
            if self.rights.get(token, NOBODY).role is CKU.USER:
                self._forget_private_objects(token)
                self._end_role(token)

    def log_out(self, session: Session) -> bool:
        """Raises P11Error(USER_NOT_LOGGED_IN). True if nobody is logged in to the card any more."""
        with self.testbed.lock:
            if session.role is None:
                raise P11Error(CKR.USER_NOT_LOGGED_IN)
            self._forget_private_objects(session.token)
            return self._end_role(session.token)

    # Saved states of operations

    def save_state(self, name: bytes, token: Token, kind: Kind, operation: Saved) -> None:
        """Keep a copy of an operation; the oldest goes when there are too many."""
        with self.testbed.lock:
            self._states[name] = (token, kind, operation)
            while len(self._states) > _MOST_STATES:
                del self._states[next(iter(self._states))]

    def saved_state(self, name: bytes, token: Token) -> tuple[Kind, Saved]:
        """Raises P11Error(SAVED_STATE_INVALID), also for a state of another token or one that has been pulled."""
        with self.testbed.lock:
            owner, kind, operation = self._states.get(name, (None, Kind.DIGEST, None))
            if owner is not token or operation is None:
                raise P11Error(CKR.SAVED_STATE_INVALID)
            return kind, operation

    # Objects

    def handle(self, session: Session, item: P11Object) -> int:
        """The handle of an object on the session's token; the same one as long as it is good."""
        return self.handles(session, [item])[0]

    def handles(self, session: Session, items: Iterable[P11Object]) -> list[int]:
        """Those of several, or of none. Raises CardRemoved, or P11Error(SESSION_CLOSED)."""
        found = []
        with self.testbed.lock:
            self.require_open(session)
            for item in items:
                handle = self._handle_of.get(item)
                if handle is None:
                    handle = self._handle_of[item] = next(self._handles)
                    self._objects[handle] = (session.token, item, None)
                found.append(handle)
        return found

    def add_session_object(self, session: Session, item: P11Object) -> int:
        """An object that lives as long as the session. Raises CardRemoved."""
        with self.testbed.lock:
            handle = self.handle(session, item)
            self._objects[handle] = (session.token, item, session)
            return handle

    def object(self, session: Session, handle: int, error: CKR = CKR.OBJECT_HANDLE_INVALID) -> P11Object:
        """The object of a handle on the session's token, a private one after login. Raises P11Error, CardRemoved."""
        known = self._objects.get(handle)
        if known is None or known[0] is not session.token:
            raise P11Error(error)
        item = known[1]
        if item.place is not None and not session.token.is_fresh:
            session.token.objects(session.is_user)
        if item.gone:
            self.forget_object(handle)
            raise P11Error(error)
        if item.is_private and not session.is_user:
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        return item

    def forget_object(self, handle: int) -> None:
        """An object is gone; its handle stays invalid."""
        with self.testbed.lock:
            known = self._objects.pop(handle, None)
            if known is not None:
                self._handle_of.pop(known[1], None)

    def visible_objects(self, session: Session) -> list[P11Object]:
        """The objects of the token and of this application's sessions on it that may be seen now."""
        on_card = session.token.objects(session.is_user)
        logged_in = session.is_user  # the card may have said otherwise
        with self.testbed.lock:
            own = [item for token, item, owner in self._objects.values() if owner and token is session.token]
        return on_card + [item for item in own if logged_in or not item.is_private]

    # What the testbed says

    def _hear(self, event: Event) -> None:
        """A change of the testbed, at the instant it happens."""
        slot = self._by_name.get(event.reader.name) or self._attach(event.reader, listed=False)
        self._follow_testbed(slot, event)
        self._record(slot)

    def _follow_testbed(self, slot: Slot, event: Event) -> None:
        if event.change in (Change.RESET, Change.LOGOUT):
            if slot.token is not None:
                self._logged_out_by_others(slot.token)
            return
        if event.change is Change.CLOSE_SESSIONS:
            if slot.token is not None:
                self.drop_sessions(slot.token)
            return
        if event.change is Change.INSERT and event.insertion is not None:
            self._inserted(slot, event.insertion)
        elif event.change is Change.REMOVE and slot.token is not None:
            self._removed(slot, slot.token)
        self._happened(slot, event)

    def _inserted(self, slot: Slot, insertion: Insertion) -> None:
        slot.token = self._tokens.of(insertion)

    def _removed(self, slot: Slot, token: Token) -> None:
        self.drop_sessions(token)
        slot.token = None

    def _logged_out_by_others(self, token: Token) -> None:
        """A reset, or somebody has taken the PIN's verification back: the card has forgotten it."""
        if self.rights.pop(token, None) is not None:
            self._forget_objects(lambda owner, item, session: owner is token and item.is_private and bool(session))

    def _happened(self, slot: Slot, _event: Event) -> None:
        slot.event = True
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in self.waiters:
            waiter.wake()

    def _attach(self, reader: Reader, listed: bool) -> Slot:
        slot = self._by_name.get(reader.name)
        if slot is None:
            number = max((each.number for each in self._by_name.values()), default=-1) + 1
            slot = self._add(number, reader.name, listed)
        slot.reader = reader
        if reader.insertion is not None:
            slot.token = self._tokens.of(reader.insertion)
        return slot

    def _add(self, number: int, name: str, listed: bool) -> Slot:
        slot = self.slots[number] = self._by_name[name] = self.new_slot(number, name, listed)
        slot.place = len(self._by_name) - 1
        return slot

    def _end_role(self, token: Token) -> bool:
        if self.rights.pop(token, None) is None:
            return False
        token.users.discard(self)
        return not token.users

    def _forget_private_objects(self, token: Token) -> None:
        self._forget_objects(lambda owner, item, _session: owner is token and item.is_private)

    def _forget_objects(self, is_over: _Condition) -> None:
        for handle, (token, item, owner) in list(self._objects.items()):
            if is_over(token, item, owner):
                del self._objects[handle]
                self._handle_of.pop(item, None)
