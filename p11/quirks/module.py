# SPDX-License-Identifier: MIT
"""A module with quirks in one application: what differs in its slots, sessions, logins, handles and events."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

from ...card.applet.piv_card import ForeignCard
from ...card.card import Card
from ...reader.errors import CardRemoved
from ...reader.events import Change
from ...reader.reader import Event, Insertion
from ...reader.testbed import Testbed
from ..application import Application, Middleware, standard_handles
from ..caller import Caller
from ..constants import CKU
from ..errors import P11Error
from ..login import NOBODY, Right
from ..sessions import Session
from ..slots import Slot
from ..token import Token, Tokens
from .idle import IdleClock
from .outcomes import OutcomeReached
from .slots import POLICIES, PRESENT, QuirkySlot, quirky
from .table import Quirks
from .values import CallFailure


@dataclass(eq=False)
class Modules:
    """The modules of one simulator by process, each of its last C_Initialize."""

    by_pid: WeakValueDictionary[int, QuirkyModule] = field(default_factory=WeakValueDictionary)

    def is_child(self, pid: int) -> bool:
        """Return whether the process's parent has the module initialised."""
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except OSError:
            return False
        parent = self.by_pid.get(int(after_name.split()[1]))
        return parent is not None and not parent.application.finalized


class QuirkyModule:
    """The state of a module with quirks in one application, and the functions for the points of Middleware.

    `application` is set from `begin` on. `pins` are verified again for stale logins.
    """

    application: Application

    def __init__(self, quirks: Quirks, modules: Modules, pid: int) -> None:
        self.quirks = quirks
        self.is_child = modules.is_child(pid)
        self.finalizers: set[Caller] = set()
        self.pins: dict[Token, bytes] = {}
        self.idle_clock: IdleClock | None = None
        self._modules = modules
        self._closed: dict[int, Slot] = {}  # handles of sessions of removed cards
        self._stale_logins: dict[Card, tuple[Right, bytes | None]] = {}
        self._to_verify: set[Token] = set()
        self._waits_for_login = False
        self._missed: set[QuirkySlot] = set()
        self._random = random.Random(0)

    def points(self) -> Middleware:
        """Return the points at which this module differs."""
        quirks = self.quirks
        keeps_login = quirks.stale_login != "no"
        return Middleware(
            state=self,
            new_slot=partial(QuirkySlot, quirks),
            renew_slots=self._renew_slots,
            shown_slots=self._shown_slots,
            repeats_event=self._repeats_event,
            new_handles=self._small_handles if quirks.handle_reuse else standard_handles,
            absent_session=self._absent_session,
            sessions_closed=self._sessions_closed,
            lose_login=_keep_login if keeps_login else Application.lose_login,
            end_login=self._keep_login_after_reset if keeps_login else Application.end_login,
            insert_card=self._insert_card,
            remove_card=self._remove_card,
            note_event=self._note_event,
        )

    def begin(self, application: Application) -> None:
        """Begin with a new application, which has the points of this module."""
        self.application = application
        for slot in map(quirky, application.slots.values()):
            slot.has_token = slot.token is not None
        if self.quirks.idle_timeout:
            self.idle_clock = IdleClock(application, self.quirks.idle_timeout)
        self._modules.by_pid[application.pid] = self

    @property
    def is_latest(self) -> bool:
        """Return whether the process has not called C_Initialize again since."""
        return self._modules.by_pid.get(self.application.pid) is self

    # Slots

    def _renew_slots(self, slots: dict[int, Slot], all_slots: Sequence[Slot]) -> bool:
        POLICIES[self.quirks.slotlist_policy](slots, all_slots)
        for slot in map(quirky, slots.values()):
            slot.had_token, slot.has_token = slot.has_token, slot.token is not None
        return True

    def _shown_slots(self, all_slots: Iterable[Slot], refresh: bool, token_present: bool) -> list[Slot]:
        is_present = PRESENT[self.quirks.slotlist_present]
        slots = [slot for slot in map(quirky, all_slots) if slot.listed and (not token_present or is_present(slot))]
        if not refresh:
            for slot in slots:
                slot.is_seen = True
        return list(slots)

    def slot_of(self, is_slot: bool, number: int) -> QuirkySlot | None:
        """Return the slot that a call is about, by its number or by the handle of a session."""
        application = self.application
        if is_slot:
            slot = application.slots.get(number)
        else:
            session = application.sessions.get(number)
            slot = session.slot if session else self._closed.get(number)
        return None if slot is None else quirky(slot)

    def _repeats_event(self, slot: Slot) -> bool:
        told = quirky(slot)
        told.is_repeated = self.quirks.event_dup and not told.is_repeated
        return told.is_stuck or told.is_repeated

    # Sessions and login

    def _absent_session(self, application: Application, handle: int) -> Session:
        """Return a session for handle 0, or raise OutcomeReached for the handle of a removed card's session."""
        if handle == 0 and self.quirks.zero_handle != "invalid":
            if self.quirks.zero_handle == "crash":
                raise OutcomeReached(CallFailure.CRASH)
            for session in application.sessions.values():
                return session
        slot = self._closed.get(handle)
        if slot is not None:
            outcome = self.quirks.absent_handle_rv if slot.token is None else self.quirks.stale_handle_rv
            if outcome is not None:
                raise OutcomeReached(outcome)
        return application.refuse_handle(handle)

    def _sessions_closed(self, token: Token) -> None:
        self.pins.pop(token, None)

    def _keep_login_after_reset(self, application: Application, token: Token) -> None:
        if self._is_logged_in(application, token):
            self._to_verify.add(token)

    def _is_logged_in(self, application: Application, token: Token) -> bool:
        return application in token.logins.rights

    # Events of the testbed

    def _insert_card(self, application: Application, slot: Slot, insertion: Insertion) -> None:
        filled = quirky(slot)
        filled.inserted_at, filled.failures_left = monotonic(), self.quirks.recognition_failures
        if filled in self._missed:
            if self.quirks.unnoticed_removal == "always":
                self._notice(application, filled)
            return
        application.insert_card(slot, insertion)
        self._restore_login(application, filled, insertion.card)

    def _remove_card(self, application: Application, slot: Slot, token: Token) -> None:
        emptied = quirky(slot)
        emptied.was_emptied = True
        self._waits_for_login = self._is_before_login(application)
        right, pin = token.logins.rights.get(application, NOBODY), self.pins.pop(token, None)
        if self.quirks.stale_login != "no" and right.role is CKU.USER:
            self._stale_logins[token.insertion.card] = right, pin
        if self.quirks.unnoticed_removal != "no" and emptied not in self._missed:
            self._missed.add(emptied)
            return
        self._closed.update((handle, slot) for handle, each in application.sessions.items() if each.token is token)
        application.remove_card(slot, token)

    def _note_event(self, application: Application, slot: Slot, event: Event) -> None:
        changed = quirky(slot)
        if changed in self._missed:
            if self.quirks.unnoticed_removal == "between-calls" and application.waiters:
                self._notice(application, changed)  # a waiter is looking at the readers right now
            return
        if self._is_lost(event):
            return
        changed.is_stuck |= self.quirks.event_stuck and slot.event
        match self.quirks.event_held:
            case "until-reader" if event.change in (Change.INSERT, Change.REMOVE):
                changed.has_delayed_event = True
                return
            case "until-login" if self._waits_for_login or self._is_before_login(application):
                changed.has_delayed_event = True
                return
        self.release_events(application)
        application.note_event(slot, event)

    def release_events(self, application: Application) -> None:
        """Set the event flags that have been held back. The caller holds the testbed's lock."""
        self._waits_for_login = False
        for slot in map(quirky, application.slots.values()):
            if slot.has_delayed_event:
                slot.has_delayed_event, slot.event = False, True
                application.wake_waiters()
        application.record_slots()

    def _is_lost(self, event: Event) -> bool:
        """Return whether a change sets no event flag."""
        drop = self.quirks.event_drop
        kind = str(event.change)
        if event.change is Change.REMOVE:
            if not event.reader.plugged:
                kind = "unplug"
        elif event.change is Change.INSERT and event.insertion and isinstance(event.insertion.card, ForeignCard):
            kind = "unrecognised" if "unrecognised" in drop else kind
        return kind in drop or (self.quirks.event_loss > 0 and self._random.random() < self.quirks.event_loss)

    def _is_before_login(self, application: Application) -> bool:
        return any(session.role is None for session in application.sessions.values())

    # Before each call

    def catch_up(self) -> None:
        """Notice removals at the beginning of a call, if this module does so, and verify PINs of stale logins."""
        application = self.application
        if self._missed and self.quirks.unnoticed_removal == "between-calls":
            with application.testbed.lock:
                for slot in list(self._missed):
                    self._notice(application, slot)
        while self._to_verify:
            token = self._to_verify.pop()
            pin = self.pins.get(token)
            if pin is not None and self.quirks.stale_login == "works":
                with contextlib.suppress(CardRemoved, P11Error):
                    token.piv.verify(pin)

    def _notice(self, application: Application, slot: QuirkySlot) -> None:
        """Carry out a missed removal, unless the same card is back. The caller holds the testbed's lock."""
        old = slot.token
        insertion = slot.reader.insertion if slot.reader is not None else None
        assert old is not None
        if insertion is not None and insertion.card is old.insertion.card:
            self._missed.discard(slot)
            self._move_sessions(application, slot, old, application.token_of(insertion))
            return
        self._remove_card(application, slot, old)
        self._missed.discard(slot)
        if insertion is not None:
            application.insert_card(slot, insertion)
        if self.quirks.unnoticed_removal != "always":
            reader = insertion.reader if insertion else old.insertion.reader
            self._note_event(application, slot, Event(Change.REMOVE, reader))

    def _move_sessions(self, application: Application, slot: QuirkySlot, old: Token, new: Token) -> None:
        """Move sessions, objects and login from the old token to that of the same card inserted again."""
        slot.token = new
        for session in application.sessions.values():
            if session.token is old:
                old.sessions.discard(session)
                new.sessions.add(session)
                session.token = new
        application.handles.move(old, new)
        old.logins.end(application)
        self._restore_login(application, slot, new.insertion.card)
        if not self._is_logged_in(application, new):
            application.remove_private_objects(new)

    def _restore_login(self, application: Application, slot: QuirkySlot, card: Card) -> None:
        """Restore the login that was there when the card was removed."""
        right, pin = self._stale_logins.pop(card, (NOBODY, None))
        token = slot.token
        if right.role is None or token is None:
            return
        application.restore_login(token, right)
        if pin is not None:
            self.pins[token] = pin
        self._to_verify.add(token)

    # Handles

    def _small_handles(self, application: Application) -> Iterator[int]:
        """Return the smallest numbers that are free at each time."""
        while True:
            number = 1
            while number in application.sessions or number in application.handles.known:
                number += 1
            self._closed.pop(number, None)
            yield number


def _keep_login(_application: Application, _token: Token) -> None:
    """Leave a login as it is, although the card has no PIN verified any more (the quirk stale_login)."""


def application_maker(quirks: Quirks) -> Callable[..., Application]:
    """Return a function that makes the applications of one simulator, from the parameters of Application."""
    modules = Modules()

    def new_application(testbed: Testbed, tokens: Tokens, name: str, pid: int, *known: Any) -> Application:
        module = QuirkyModule(quirks, modules, pid)
        make = partial(Application, middleware=module.points())
        application = make(testbed, tokens, name, pid, *known)
        module.begin(application)
        return application

    return new_application


def module_of(caller: Caller) -> QuirkyModule:
    """Return the module with quirks of the application that makes a call."""
    module = caller.application.middleware.state
    assert isinstance(module, QuirkyModule)
    return module
