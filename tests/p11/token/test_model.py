# SPDX-License-Identifier: MIT
"""Generated sequences of calls, held against a small model of sessions, login and objects."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.csrc import module_path
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKA, CKR, CKS
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from ...shared.host import probes
from ...shared.host.host import Host, NewHost

USER, SO = 1, 0
PINS = {USER: "123456", SO: "12345678"}
STATES = {
    (None, False): CKS.RO_PUBLIC_SESSION,
    (None, True): CKS.RW_PUBLIC_SESSION,
    (USER, False): CKS.RO_USER_FUNCTIONS,
    (USER, True): CKS.RW_USER_FUNCTIONS,
    (SO, True): CKS.RW_SO_FUNCTIONS,
}


@dataclass
class Thing:
    """An object as the model knows it; `owner` is the session of a session object."""

    label: bytes
    private: bool
    owner: Any = None


@dataclass(eq=False)
class Opened:
    """A session as the model knows it."""

    handle: int
    read_write: bool


@dataclass
class Model:
    """What has to be true."""

    present: bool = True
    role: int | None = None
    sessions: list[Opened] = field(default_factory=list)
    things: dict[int, Thing] = field(default_factory=dict)
    on_card: list[Thing] = field(default_factory=list)

    def visible(self) -> list[bytes]:
        """The labels that a search gives."""
        session_things = [thing for thing in self.things.values() if thing.owner is not None]
        return sorted(t.label for t in self.on_card + session_things if not t.private or self.role == USER)

    def log_out(self) -> None:
        self.role = None
        for handle, thing in list(self.things.items()):
            if thing.private:
                del self.things[handle]

    def end(self) -> None:
        self.sessions.clear()
        self.things.clear()
        self.role = None


class Calls(RuleBasedStateMachine):
    """One application on one card."""

    sessions = Bundle("sessions")
    simulator: Simulator
    host: Host
    folder: Path
    number = 0

    @initialize()
    def fresh_card(self) -> None:
        type(self).number += 1
        self.model = Model()
        self.image = self.folder / f"{self.number}.card"
        shutil.copy(ready_image(CardRequest(profile="blank"), paths.image_cache(), paths.test_ca()), self.image)
        self.simulator.insert("front", self.image)

    def teardown(self) -> None:
        if getattr(self, "model", None) is not None and self.model.present:
            self.simulator.remove("front")

    def is_open(self, session: Opened) -> bool:
        return session in self.model.sessions

    @rule(target=sessions, read_write=st.booleans())
    def open(self, read_write: bool) -> Opened:
        """C_OpenSession."""
        if not self.model.present:
            assert self.host.rv(Module.open_session, 0) == CKR.TOKEN_NOT_PRESENT
            return Opened(1, read_write)
        if self.model.role == SO and not read_write:
            assert self.host.rv(Module.open_session, 0) == CKR.SESSION_READ_WRITE_SO_EXISTS
            return Opened(1, read_write)
        session = Opened(self.host.call(Module.open_session, 0, read_write), read_write)
        self.model.sessions.append(session)
        return session

    @rule(session=consumes(sessions))
    def close(self, session: Opened) -> None:
        """C_CloseSession."""
        expected = CKR.OK if self.is_open(session) else CKR.SESSION_HANDLE_INVALID
        assert self.host.rv(Module.close_session, session.handle) == expected
        if expected == CKR.OK:
            self.model.sessions.remove(session)
            self.model.things = {h: t for h, t in self.model.things.items() if t.owner is not session}
            if not self.model.sessions:
                self.model.end()

    @rule(session=sessions, user=st.sampled_from([USER, SO]), right=st.booleans())
    def log_in(self, session: Opened, user: int, right: bool) -> None:
        """C_Login. The wrong PIN is one that costs no try."""
        value = self.host.rv(Module.login, session.handle, PINS[user] if right else "1", user)
        if not self.is_open(session):
            assert value == CKR.SESSION_HANDLE_INVALID
        elif self.model.role is not None:
            same = self.model.role == user
            assert value == (CKR.USER_ALREADY_LOGGED_IN if same else CKR.USER_ANOTHER_ALREADY_LOGGED_IN)
        elif user == SO and not all(each.read_write for each in self.model.sessions):
            assert value == CKR.SESSION_READ_ONLY_EXISTS
        elif not right:
            assert value == CKR.PIN_INCORRECT
        else:
            assert value == CKR.OK
            self.model.role = user

    @rule(session=sessions)
    def log_out(self, session: Opened) -> None:
        """C_Logout."""
        value = self.host.rv(Module.logout, session.handle)
        if not self.is_open(session):
            assert value == CKR.SESSION_HANDLE_INVALID
        elif self.model.role is None:
            assert value == CKR.USER_NOT_LOGGED_IN
        else:
            assert value == CKR.OK
            self.model.log_out()

    @rule(session=sessions, token=st.booleans(), private=st.booleans(), label=st.binary(max_size=8))
    def create(self, session: Opened, token: bool, private: bool, label: bytes) -> None:
        """C_CreateObject."""
        where = {CKA.TOKEN: bytes([token]), CKA.PRIVATE: bytes([private])}
        thing = Thing(label, private, None if token else session)
        if not self.is_open(session):
            expected = CKR.SESSION_HANDLE_INVALID
        elif token and not session.read_write:
            expected = CKR.SESSION_READ_ONLY
        elif (private and self.model.role != USER) or (token and self.model.role is None):
            expected = CKR.USER_NOT_LOGGED_IN
        else:
            handle = self.host.call(probes.data, session.handle, label, where=where)
            self.model.things[handle] = thing
            if token:
                self.model.on_card.append(thing)
            return
        assert self.host.rv(probes.data, session.handle, label, where=where) == expected

    @precondition(lambda self: self.model.things)
    @rule(session=sessions, choice=st.integers(min_value=0), label=st.binary(max_size=8))
    def change(self, session: Opened, choice: int, label: bytes) -> None:
        """C_SetAttributeValue."""
        handle = sorted(self.model.things)[choice % len(self.model.things)]
        thing = self.model.things[handle]
        value = self.host.rv(Module.change, session.handle, handle, {CKA.LABEL: label})
        assert value == self.may_write(session, thing)
        if value == CKR.OK:
            thing.label = label

    @precondition(lambda self: self.model.things)
    @rule(session=sessions, choice=st.integers(min_value=0))
    def destroy(self, session: Opened, choice: int) -> None:
        """C_DestroyObject."""
        handle = sorted(self.model.things)[choice % len(self.model.things)]
        thing = self.model.things[handle]
        value, expected = (
            self.host.rv(Module.destroy, session.handle, handle),
            self.may_write(session, thing),
        )
        if expected == CKR.USER_NOT_LOGGED_IN:  # the function's list does not have it
            expected = CKR.OBJECT_HANDLE_INVALID if thing.private else CKR.ACTION_PROHIBITED
        assert value == expected
        if value == CKR.OK:
            del self.model.things[handle]
            if thing in self.model.on_card:
                self.model.on_card.remove(thing)
            assert self.host.rv(Module.destroy, session.handle, handle) == CKR.OBJECT_HANDLE_INVALID

    def may_write(self, session: Opened, thing: Thing) -> int:
        if not self.is_open(session):
            return CKR.SESSION_HANDLE_INVALID
        if thing.private and self.model.role != USER:
            return CKR.USER_NOT_LOGGED_IN
        if thing.owner is None and not session.read_write:
            return CKR.SESSION_READ_ONLY
        if thing.owner is None and self.model.role is None:
            return CKR.USER_NOT_LOGGED_IN
        return CKR.OK

    @precondition(lambda self: self.model.present)
    @rule()
    def pull(self) -> None:
        """The card goes out."""
        self.simulator.remove("front")
        self.model.end()
        self.model.present = False

    @precondition(lambda self: not self.model.present)
    @rule()
    def put_back(self) -> None:
        """And in again."""
        self.simulator.insert("front", self.image)
        self.model.present = True

    @precondition(lambda self: self.model.present)
    @rule()
    def reset(self) -> None:
        """Another program resets it."""
        self.simulator.reset("front")
        self.model.role = None
        self.model.things = {h: t for h, t in self.model.things.items() if not t.private or t.owner is None}

    @invariant()
    def everything_agrees(self) -> None:
        """State of every session, and what a search finds."""
        if not hasattr(self, "model"):
            return
        for session in self.model.sessions:
            assert self.host.call(Module.session_state, session.handle) == STATES[self.model.role, session.read_write]
        if self.model.sessions:
            found = self.host.call(
                lambda m, s=self.model.sessions[-1].handle: [label for _, label in probes.objects(m, s)]
            )
            assert sorted(found) == self.model.visible()


@pytest.mark.usefixtures("_own_places")
def test_generated_sequences(tmp_path: Path, bare_simulator: Simulator, new_host: NewHost) -> None:
    """A few dozen sequences of up to thirty calls."""
    assert module_path().exists()
    bare_simulator.plug("front")
    Calls.simulator, Calls.host, Calls.folder = bare_simulator, new_host(bare_simulator), tmp_path
    checked = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Calls, settings=checked)
