# SPDX-License-Identifier: MIT
"""An application whose module has quirks: what is different in its slots, sessions, logins, handles and events."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from weakref import WeakValueDictionary

from ...card.card import Card
from ...card.piv_card import ForeignCard
from ...reader.errors import CardRemoved
from ...reader.events import Change, Event
from ...reader.reader import Insertion
from ...reader.testbed import Testbed
from ..application import Application
from ..caller import Caller
from ..constants import CKF, CKU
from ..errors import P11Error
from ..sessions import NOBODY, Right, Session
from ..slots import Slot
from ..token import Token, Tokens
from ..wire import KnownSlot
from .idle import IdleClock
from .outcomes import Doomed
from .slot_lists import POLICIES, PRESENT
from .table import Quirks
from .values import Fate


@dataclass(eq=False)
class Family:
    """The applications of one simulator by process, the one of its last C_Initialize each."""

    by_pid: WeakValueDictionary[int, QuirkyApplication] = field(default_factory=WeakValueDictionary)

    def is_child(self, pid: int) -> bool:
        """Whether the process's parent has the module initialised."""
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except OSError:
            return False
        parent = self.by_pid.get(int(after_name.split()[1]))
        return parent is not None and not parent.finalized


class QuirkySlot(Slot):
    """A slot of such a module."""

    def __init__(self, quirks: Quirks, number: int, name: str, listed: bool) -> None:
        flags = (CKF.REMOVABLE_DEVICE if quirks.removable else 0) | (CKF.HW_SLOT if quirks.hw_slot else 0)
        super().__init__(number, name, listed, flags)
        self._quirks = quirks
        self.inserted_at = 0.0
        self.failures_left = 0
        self.was_emptied = False
        self.is_seen = False
        self.has_token = self.had_token = False
        self.event_before_removal = False
        self.held_event = False
        self.is_stuck = False
        self.is_repeated = False
        self.is_hidden = False
        """The token is there and not seen (wfse_mode=ticking)."""
        self.may_be_new = False
        """Listed from the next C_GetSlotList on (slotlist_policy=late)."""

    @property
    def info(self) -> bytes:
        """CK_SLOT_INFO, or what comes instead. Raises Doomed."""
        quirks = self._quirks
        if self.token is None:
            is_plugged = self.reader is not None and self.reader.plugged
            outcome = quirks.slotinfo_rv if is_plugged else quirks.unplugged_rv or quirks.slotinfo_rv
            if outcome is not None:
                raise Doomed(outcome)
        if quirks.presence_flaps:
            self.is_hidden = not self.is_hidden
        return self._empty if self.is_hidden else super().info


class QuirkyApplication(Application):
    """An application with the quirks of its module. What is inherited is what has no quirk."""

    slots: dict[int, QuirkySlot]  # type: ignore[assignment]

    def __init__(
        self,
        quirks: Quirks,
        family: Family,
        testbed: Testbed,
        tokens: Tokens,
        name: str,
        pid: int,
        known_slots: Sequence[KnownSlot] = (),
        comes_later: bool = False,
    ) -> None:
        self.quirks = quirks
        self.family = family
        self.is_child = family.is_child(pid)
        self.finalizers: set[Caller] = set()
        self.pins: dict[Token, bytes] = {}
        self._dead: dict[int, Slot] = {}
        self._logins: dict[Card, tuple[Right, bytes | None]] = {}
        self._to_verify: set[Token] = set()
        self._waits_for_login = False
        self._missed: set[QuirkySlot] = set()
        self._chance = random.Random(0)
        super().__init__(testbed, tokens, name, pid, known_slots, comes_later)
        for slot in self.slots.values():
            slot.has_token = slot.token is not None
        self.idle_clock = IdleClock(self, quirks.idle_timeout) if quirks.idle_timeout else None
        family.by_pid[pid] = self
        if quirks.handle_reuse:
            self._handles = self._small_handles()

    # Slots

    def new_slot(self, number: int, name: str, listed: bool) -> Slot:
        """A slot with its quirks."""
        return QuirkySlot(self.quirks, number, name, listed)

    def list_slots(self, refresh: bool, token_present: bool) -> list[Slot]:
        """As the policies have it."""
        if refresh:
            POLICIES[self.quirks.slotlist_policy](self.slots, list(self._by_name.values()))
            self.record_slots()
            for slot in self.slots.values():
                slot.had_token, slot.has_token = slot.has_token, slot.token is not None
        is_present = PRESENT[self.quirks.slotlist_present]
        slots = [slot for slot in self.slots.values() if slot.listed and (not token_present or is_present(slot))]
        if not refresh:
            for slot in slots:
                slot.is_seen = True
        return list(slots)

    def slot_of(self, is_slot: bool, number: int) -> QuirkySlot | None:
        """The slot that a call is about, by its number or by that of a session."""
        session = None if is_slot else self.sessions.get(number)
        slot = self.slots.get(number) if is_slot else session.slot if session else self._dead.get(number)
        return slot if isinstance(slot, QuirkySlot) else None

    def take_event(self) -> int | None:
        """As inherited, but some events stay, or come again."""
        for slot in self.slots.values():
            if slot.event:
                slot.is_repeated = self.quirks.event_dup and not slot.is_repeated
                slot.event = slot.is_stuck or slot.is_repeated
                self._told.add(slot)
                return slot.number
        return None

    # Sessions and login

    def session(self, handle: int) -> Session:
        """As inherited, but for handles of cards that have been pulled, and for 0. Raises Doomed."""
        session = self.sessions.get(handle)
        if session is not None:
            return session
        if handle == 0 and self.quirks.zero_handle != "invalid":
            return self._any_session()
        slot = self._dead.get(handle)
        if slot is not None:
            outcome = self.quirks.absent_handle_rv if slot.token is None else self.quirks.stale_handle_rv
            if outcome is not None:
                raise Doomed(outcome)
        return super().session(handle)

    def close_session(self, session: Session) -> bool:
        """As inherited; a handle may come back."""
        ended = super().close_session(session)
        if not any(each.token is session.token for each in self.sessions.values()):
            self.pins.pop(session.token, None)
        return ended

    def lose_login(self, token: Token) -> None:
        """A stale login stays."""
        if self.quirks.stale_login == "no":
            super().lose_login(token)

    # What the testbed says

    def _inserted(self, slot: Slot, insertion: Insertion) -> None:
        assert isinstance(slot, QuirkySlot)
        slot.inserted_at, slot.failures_left = monotonic(), self.quirks.recognition_failures
        if slot in self._missed:
            if self.quirks.unnoticed_removal == "always":
                self._catch_up(slot)
            return
        super()._inserted(slot, insertion)
        self._restore_login(slot, insertion.card)

    def _removed(self, slot: Slot, token: Token) -> None:
        assert isinstance(slot, QuirkySlot)
        slot.was_emptied = True
        self._waits_for_login = self._is_before_login()
        right, pin = self.rights.get(token, NOBODY), self.pins.pop(token, None)
        if self.quirks.stale_login != "no" and right.role is CKU.USER:
            self._logins[token.insertion.card] = right, pin
        if self.quirks.unnoticed_removal != "no" and slot not in self._missed:
            self._missed.add(slot)
            return
        self._dead.update((handle, slot) for handle, each in self.sessions.items() if each.token is token)
        super()._removed(slot, token)

    def _logged_out_by_others(self, token: Token) -> None:
        if self.quirks.stale_login == "no":
            super()._logged_out_by_others(token)
        elif token in self.rights:
            token.users.add(self)
            self._to_verify.add(token)

    def _happened(self, slot: Slot, event: Event) -> None:
        assert isinstance(slot, QuirkySlot)
        if slot in self._missed:
            if self.quirks.unnoticed_removal == "between-calls" and self.waiters:
                self._catch_up(slot)  # somebody is looking right now
            return
        if self._is_lost(slot, event):
            return
        slot.is_stuck |= self.quirks.event_stuck and slot.event
        match self.quirks.event_held:
            case "until-reader" if event.change in (Change.INSERT, Change.REMOVE):
                slot.held_event = True
                return
            case "until-login" if self._waits_for_login or self._is_before_login():
                slot.held_event = True
                return
        self.release_events()
        super()._happened(slot, event)

    def release_events(self) -> None:
        """What has been held back is an event now. The caller holds the testbed's lock."""
        self._waits_for_login = False
        for slot in self.slots.values():
            if slot.held_event:
                slot.held_event, slot.event = False, True
                self._wake_waiters()
        self.record_slots()

    def _is_lost(self, slot: QuirkySlot, event: Event) -> bool:
        """Whether no event comes of a change."""
        drop = self.quirks.event_drop
        kind = str(event.change)
        if event.change is Change.REMOVE:
            if not event.reader.plugged:
                kind = "unplug"
        elif event.change is Change.INSERT and event.insertion and isinstance(event.insertion.card, ForeignCard):
            kind = "unrecognised" if "unrecognised" in drop else kind
        return kind in drop or (self.quirks.event_loss > 0 and self._chance.random() < self.quirks.event_loss)

    def _is_before_login(self) -> bool:
        return any(session.role is None for session in self.sessions.values())

    # Before each call

    def catch_up(self) -> None:
        """Look at the readers, as this module does when it is called, and bring stale logins to the card."""
        if self._missed and self.quirks.unnoticed_removal == "between-calls":
            with self.testbed.lock:
                for slot in list(self._missed):
                    self._catch_up(slot)
        while self._to_verify:
            token = self._to_verify.pop()
            pin = self.pins.get(token)
            if pin is not None and self.quirks.stale_login == "works":
                with contextlib.suppress(CardRemoved, P11Error):
                    token.piv.verify(pin)

    def _catch_up(self, slot: QuirkySlot) -> None:
        """The removal comes to light, unless the same card is back. The caller holds the testbed's lock."""
        old = slot.token
        insertion = slot.reader.insertion if slot.reader is not None else None
        assert old is not None
        if insertion is not None and insertion.card is old.insertion.card:
            self._missed.discard(slot)
            self._follow(slot, old, self._tokens.of(insertion))
            return
        self._removed(slot, old)
        self._missed.discard(slot)
        if insertion is not None:
            super()._inserted(slot, insertion)
        if self.quirks.unnoticed_removal != "always":
            self._happened(slot, Event(Change.REMOVE, insertion.reader if insertion else old.insertion.reader))

    def _follow(self, slot: QuirkySlot, old: Token, new: Token) -> None:
        """Everything that was the old stay's is the new one's."""
        slot.token = new
        for session in self.sessions.values():
            if session.token is old:
                old.sessions.discard(session)
                new.sessions.add(session)
                session.token = new
        for handle, (token, item, owner) in list(self._objects.items()):
            if token is old:
                self._objects[handle] = new, item, owner
        self._end_role(old)
        self._restore_login(slot, new.insertion.card)
        if new not in self.rights:
            self._forget_private_objects(new)

    def _restore_login(self, slot: QuirkySlot, card: Card) -> None:
        """Who was logged in when the card was pulled still is."""
        right, pin = self._logins.pop(card, (NOBODY, None))
        token = slot.token
        if right.role is None or token is None:
            return
        self.rights[token] = right
        token.users.add(self)
        if pin is not None:
            self.pins[token] = pin
        self._to_verify.add(token)

    # Handles

    def _any_session(self) -> Session:
        if self.quirks.zero_handle == "crash":
            raise Doomed(Fate.CRASH)
        for session in self.sessions.values():
            return session
        return super().session(0)

    def _small_handles(self) -> Iterator[int]:
        """The least numbers that are free now."""
        while True:
            number = 1
            while number in self.sessions or number in self._objects:
                number += 1
            self._dead.pop(number, None)
            yield number


def application_maker(quirks: Quirks) -> Callable[..., Application]:
    """What makes the applications of one simulator."""
    return partial(QuirkyApplication, quirks, Family())
