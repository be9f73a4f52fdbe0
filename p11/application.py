# SPDX-License-Identifier: MIT
"""The state of one application between C_Initialize and C_Finalize: slots, sessions, logins and object handles.

All of it changes under the testbed's lock, so that a removal ends everything of a card at one instant. Middleware, at
the end of the file, names the points at which a module may differ from the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ..reader.errors import CardRemoved
from ..reader.events import Change
from ..reader.reader import Event, Insertion, Reader
from ..reader.testbed import Testbed
from .constants import CKR, CKU
from .errors import P11Error
from .greeting import KnownSlot
from .login import NOBODY, Right
from .object_handles import ObjectHandles, unique_handles
from .objects import P11Object
from .saved_states import SavedStates
from .sessions import Session
from .slot_record import SlotRecord
from .slots import Slot, list_all, shown
from .token import Token, Tokens


class Application:
    """The state of one application.

    `known_slots` are those that it has from an earlier simulator. With `comes_later` it has run without a simulator
    since C_Initialize: readers and cards that are new to it are events. Raises OSError when its SlotRecord cannot be
    created.
    """

    def __init__(
        self,
        testbed: Testbed,
        tokens: Tokens,
        name: str,
        pid: int,
        known_slots: Sequence[KnownSlot] = (),
        comes_later: bool = False,
        middleware: Middleware | None = None,
    ) -> None:
        self.record = SlotRecord()
        self.testbed = testbed
        self.name = f"{name}[{pid}]"
        self.pid = pid
        self.sessions: dict[int, Session] = {}
        self.slots: dict[int, Slot] = {}
        self.waiters: set[Callable[[], None]] = set()
        self.finalized = False
        self.middleware = middleware or Middleware()
        self._tokens = tokens
        self._numbers = self.middleware.new_handles(self)
        self.handles = ObjectHandles(self._numbers)
        self.saved_states = SavedStates()
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
            self._unsubscribe = testbed.add_part(self._follow_testbed)

    def close(self) -> None:
        """Close all sessions; log out of each card to which no other application is logged in."""
        for token in self.end():
            token.give_up()

    def end(self) -> list[Token]:
        """Close all sessions; return the tokens whose last login that ended. Sends no APDU."""
        with self.testbed.lock:
            self.finalized = True
            self._unsubscribe()
            tokens = {session.token for session in self.sessions.values()} | self._tokens_in_slots()
            left_alone = [token for token in tokens if self.drop_sessions(token)]
            self.wake_waiters()
            self.record.close()
        return left_alone

    # Slots

    def list_slots(self, refresh: bool, token_present: bool) -> list[Slot]:
        """Return what C_GetSlotList shows, with new slots if `refresh`. The caller holds the testbed's lock."""
        if refresh and self.middleware.renew_slots(self.slots, list(self._by_name.values())):
            self.record_slots()
        return self.middleware.shown_slots(self.slots.values(), refresh, token_present)

    def slot(self, number: int) -> Slot:
        """Return a slot. Raises P11Error(SLOT_ID_INVALID)."""
        slot = self.slots.get(number)
        if slot is None:
            raise P11Error(CKR.SLOT_ID_INVALID)
        return slot

    def token(self, number: int) -> Token:
        """Return the token in a slot. Raises P11Error(SLOT_ID_INVALID or TOKEN_NOT_PRESENT)."""
        token = self.slot(number).token
        if token is None:
            raise P11Error(CKR.TOKEN_NOT_PRESENT)
        return token

    def take_event(self) -> int | None:
        """Clear one slot's event flag and return the slot's number, None without event.

        The caller holds the testbed's lock.
        """
        for slot in self.slots.values():
            if slot.event:
                slot.event = self.middleware.repeats_event(slot)
                self._told.add(slot)
                return slot.number
        return None

    def record_slots(self) -> None:
        """Write all slots to the SlotRecord. The caller holds the testbed's lock."""
        for slot in self._by_name.values():
            self._record(slot)

    def settle_events(self) -> None:
        """Remove the events that have been returned from the SlotRecord, after the reply has been sent."""
        if self._told:
            with self.testbed.lock:
                while self._told:
                    self._record(self._told.pop())

    def _record(self, slot: Slot) -> None:
        self.record.write(slot, self.slots.get(slot.number) is slot)

    # Sessions and login

    @property
    def is_logged_in(self) -> bool:
        """Return whether the application is logged in to any card."""
        with self.testbed.lock:
            return any(self in token.logins.rights for token in self._tokens_in_slots())

    def session(self, handle: int) -> Session:
        """Return an open session. Raises P11Error(SESSION_HANDLE_INVALID), for whatever reason it is not open."""
        session = self.sessions.get(handle)
        return session if session is not None else self.middleware.absent_session(self, handle)

    def refuse_handle(self, handle: int) -> Session:
        """Raise P11Error(SESSION_HANDLE_INVALID) for a handle without session."""
        raise P11Error(CKR.SESSION_HANDLE_INVALID)

    def require_open(self, session: Session) -> None:
        """Raise CardRemoved or P11Error(SESSION_CLOSED) if the session has ended since the call began."""
        if self.sessions.get(session.handle) is not session:
            if session.token.is_present:
                raise P11Error(CKR.SESSION_CLOSED)
            raise CardRemoved(session.slot.name)

    def open_session(self, slot: Slot, token: Token, read_write: bool, flags: int) -> Session:
        """Open a session with a token that is still in the slot. Raises CardRemoved, P11Error."""
        if read_write:
            token.require_writable()
        most = token.traits().most_sessions
        with self.testbed.lock:
            if slot.token is not token:
                raise CardRemoved(slot.name)
            if most and sum(each.token is token for each in self.sessions.values()) >= most:
                raise P11Error(CKR.SESSION_COUNT)
            if not read_write and token.logins.rights.get(self, NOBODY).role is CKU.SO:
                raise P11Error(CKR.SESSION_READ_WRITE_SO_EXISTS)
            session = Session(next(self._numbers), slot, token, read_write, flags, self)
            self.sessions[session.handle] = session
            token.sessions.add(session)
            return session

    def close_session(self, session: Session) -> bool:
        """End a session and its objects, with the last session of a token the login, too.

        Returns True if that ended the card's last login.
        """
        with self.testbed.lock:
            if self.sessions.pop(session.handle, None) is None:
                raise P11Error(CKR.SESSION_HANDLE_INVALID)
            token = session.token
            token.sessions.discard(session)
            self.handles.remove_where(lambda known: known.session is session)
            if any(each.token is token for each in self.sessions.values()):
                return False
            was_last = self.drop_sessions(token)
            self.middleware.sessions_closed(token)
            return was_last

    def drop_sessions(self, token: Token) -> bool:
        """Close all sessions with a token; return True if that ended the card's last login.

        The caller holds the testbed's lock.
        """
        for session in [each for each in self.sessions.values() if each.token is token]:
            del self.sessions[session.handle]
            token.sessions.discard(session)
        self.handles.remove_where(lambda known: known.token is token)
        return token.logins.end(self)

    def require_login_possible(self, session: Session, role: CKU) -> None:
        """Raise P11Error if the application is logged in, or the SO has read-only sessions; CardRemoved."""
        with self.testbed.lock:
            self.require_open(session)
            now = session.role
            if now is not None:
                raise P11Error(CKR.USER_ALREADY_LOGGED_IN if now is role else CKR.USER_ANOTHER_ALREADY_LOGGED_IN)
            on_token = (each for each in self.sessions.values() if each.token is session.token)
            if role is CKU.SO and not all(each.read_write for each in on_token):
                raise P11Error(CKR.SESSION_READ_ONLY_EXISTS)

    def log_in(self, session: Session, right: Right) -> None:
        """Record that the card has accepted the PIN. Raises P11Error, CardRemoved if the session has ended."""
        with self.testbed.lock:
            self.require_open(session)
            self.restore_login(session.token, right)

    def restore_login(self, token: Token, right: Right) -> None:
        """Record a login to a token. The caller holds the testbed's lock."""
        token.logins.begin(self, right, partial(self.middleware.lose_login, self, token))

    def lose_login(self, token: Token) -> None:
        """End the user's login, because the card has no PIN verified any more; sessions stay open."""
        with self.testbed.lock:
            if token.logins.rights.get(self, NOBODY).role is CKU.USER:
                self.remove_private_objects(token)
                token.logins.end(self)

    def log_out(self, session: Session) -> bool:
        """End the login; return True if it was the card's last. Raises P11Error(USER_NOT_LOGGED_IN)."""
        with self.testbed.lock:
            if session.role is None:
                raise P11Error(CKR.USER_NOT_LOGGED_IN)
            self.remove_private_objects(session.token)
            return session.token.logins.end(self)

    def _tokens_in_slots(self) -> set[Token]:
        return {slot.token for slot in self._by_name.values() if slot.token is not None}

    # Objects

    def handle(self, session: Session, item: P11Object) -> int:
        """Return the handle of an object on the session's token. Raises CardRemoved, P11Error(SESSION_CLOSED)."""
        return self.handles_of(session, [item])[0]

    def handles_of(self, session: Session, items: Iterable[P11Object]) -> list[int]:
        """Return the handles of all the objects, or raise CardRemoved, P11Error(SESSION_CLOSED) and make none."""
        with self.testbed.lock:
            self.require_open(session)
            return [self.handles.of(session.token, item) for item in items]

    def add_session_object(self, session: Session, item: P11Object) -> int:
        """Return a handle for an object that lives as long as the session. Raises CardRemoved, P11Error."""
        with self.testbed.lock:
            self.require_open(session)
            return self.handles.add_session_object(session, item)

    def object(self, session: Session, handle: int, error: CKR = CKR.OBJECT_HANDLE_INVALID) -> P11Object:
        """Return the object of a handle on the session's token, a private one only after login.

        Raises P11Error(error, USER_NOT_LOGGED_IN), CardRemoved.
        """
        known = self.handles.known.get(handle)
        if known is None or known.token is not session.token:
            raise P11Error(error)
        item = known.item
        if item.location is not None and not session.token.is_fresh:
            session.token.objects(session.is_user)
        if item.gone:
            self.forget_object(handle)
            raise P11Error(error)
        if item.is_private and not session.is_user:
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        return item

    def forget_object(self, handle: int) -> None:
        """Make the handle of an object that has been deleted invalid."""
        with self.testbed.lock:
            self.handles.remove(handle)

    def remove_private_objects(self, token: Token) -> None:
        """Make the handles of a token's private objects invalid. The caller holds the testbed's lock."""
        self.handles.remove_where(lambda known: known.token is token and known.item.is_private)

    def visible_objects(self, session: Session) -> list[P11Object]:
        """Return the objects on the token and of this application's sessions with it that the login allows to see."""
        on_card = session.token.objects(session.is_user)
        logged_in = session.is_user  # reading may have shown that the card has no PIN verified any more
        with self.testbed.lock:
            own = self.handles.session_objects(session.token)
        return on_card + [item for item in own if logged_in or not item.is_private]

    # Events of the testbed

    def _follow_testbed(self, event: Event) -> None:
        """Follow a change of the testbed, at the instant it happens."""
        slot = self._by_name.get(event.reader.name) or self._attach(event.reader, listed=False)
        self._follow_event(slot, event)
        self._record(slot)

    def _follow_event(self, slot: Slot, event: Event) -> None:
        middleware, token = self.middleware, slot.token
        if event.change in (Change.RESET, Change.LOGOUT):
            if token is not None:
                middleware.end_login(self, token)
            return
        if event.change is Change.CLOSE_SESSIONS:
            if token is not None:
                self.drop_sessions(token)
            return
        if event.change is Change.INSERT and event.insertion is not None:
            middleware.insert_card(self, slot, event.insertion)
        elif event.change is Change.REMOVE and token is not None:
            middleware.remove_card(self, slot, token)
        middleware.note_event(self, slot, event)

    def insert_card(self, slot: Slot, insertion: Insertion) -> None:
        """Put the card's token into the slot."""
        slot.token = self.token_of(insertion)

    def token_of(self, insertion: Insertion) -> Token:
        """Return the token of a card in a reader. The caller holds the testbed's lock."""
        return self._tokens.of(insertion)

    def remove_card(self, slot: Slot, token: Token) -> None:
        """Close all sessions with a token whose card has been removed, and empty the slot."""
        self.drop_sessions(token)
        slot.token = None

    def end_login(self, token: Token) -> None:
        """End the login after a reset, or after another application has ended the PIN's verification."""
        if self in token.logins.rights:
            token.logins.end(self)
            self.handles.remove_where(
                lambda known: known.token is token and known.item.is_private and bool(known.session)
            )

    def note_event(self, slot: Slot, _event: Event) -> None:
        """Set the slot's event flag, and wake calls of C_WaitForSlotEvent."""
        slot.event = True
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Wake all calls that wait. The caller holds the testbed's lock."""
        for wake in self.waiters:
            wake()

    def _attach(self, reader: Reader, listed: bool) -> Slot:
        slot = self._by_name.get(reader.name)
        if slot is None:
            number = max((each.number for each in self._by_name.values()), default=-1) + 1
            slot = self._add(number, reader.name, listed)
        slot.reader = reader
        if reader.insertion is not None:
            slot.token = self.token_of(reader.insertion)
        return slot

    def _add(self, number: int, name: str, listed: bool) -> Slot:
        slot = self.slots[number] = self._by_name[name] = self.middleware.new_slot(number, name, listed)
        slot.record_position = len(self._by_name) - 1
        return slot


def standard_handles(_application: Application) -> Iterator[int]:
    """Return handles none of which comes back."""
    return unique_handles()


def _never(_slot: Slot) -> bool:
    return False


def _do_nothing(_token: Token) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Middleware:
    """The points at which a module may differ from the standard; each default is what the standard requires.

    All but `absent_session` are called with the testbed's lock held. `state` is for the code that sets the points.
    """

    state: object = None

    new_slot: Callable[[int, str, bool], Slot] = Slot
    """Make a slot from its number, its reader's name, and whether C_GetSlotList shows it yet."""
    renew_slots: Callable[[dict[int, Slot], Sequence[Slot]], bool] = list_all
    """Change the slots at C_GetSlotList(NULL), of all that ever were; return whether anything has changed."""
    shown_slots: Callable[[Iterable[Slot], bool, bool], list[Slot]] = shown
    """Return the slots that C_GetSlotList shows; arguments: slots, whether the length is asked for, tokenPresent."""
    repeats_event: Callable[[Slot], bool] = _never
    """Return the event flag of a slot whose event has just been returned."""
    new_handles: Callable[[Application], Iterator[int]] = standard_handles
    """Return the numbers for sessions and objects."""
    absent_session: Callable[[Application, int], Session] = Application.refuse_handle
    """Raise an error for a handle without session, or return a session all the same."""
    sessions_closed: Callable[[Token], None] = _do_nothing
    """Called when the application has closed its last session with a token."""
    lose_login: Callable[[Application, Token], None] = Application.lose_login
    """Called when the card turns out to have no PIN verified any more."""
    end_login: Callable[[Application, Token], None] = Application.end_login
    """Called at a reset of the card, and when another application has ended the PIN's verification."""
    insert_card: Callable[[Application, Slot, Insertion], None] = Application.insert_card
    remove_card: Callable[[Application, Slot, Token], None] = Application.remove_card
    note_event: Callable[[Application, Slot, Event], None] = Application.note_event
    """Called after each insertion, removal, plugging in and unplugging of a reader."""
