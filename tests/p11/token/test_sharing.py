# SPDX-License-Identifier: MIT
"""One card, several hands: applications that write to it at once, and programs that the module does not know of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.tables import LABEL_OBJECT, PUBLIC_RECORDS
from cardtear.card.token_traits import Traits
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11 import management
from cardtear.p11.constants import CKA, CKO, CKR, CKS, CKU
from cardtear.p11.login import Right
from cardtear.p11.piv_client import PivClient
from cardtear.p11.records import encode_attributes
from cardtear.reader.events import CallMoment, When
from cardtear.reader.reader import ApduMoment
from cardtear.reader.trace import CallEntry, ReturnEntry

from ...shared.host import probes
from ...shared.host.host import NewHost
from ...shared.waiting import wait_until

DEADLINE = 30.0
FORGET = bytes.fromhex("0020FF80")
"""VERIFY that takes the verification of the PIN back (SP 800-73-5 part 2, 3.2.1)."""


@pytest.fixture
def other(bare_simulator: Simulator, writer: tuple[Any, int], new_host: NewHost) -> tuple[Any, int]:
    """A second application with a read/write session and the user logged in."""
    host = new_host(bare_simulator)
    return host, host.call(probes.user_session, read_write=True)


class Gate:
    """Holds the card at the next APDU with an instruction byte, until it is opened."""

    def __init__(self, simulator: Simulator, ins: int) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self._testbed, self._ins, self._lock = simulator.testbed, ins, threading.Lock()
        self._testbed.watch(self._watch)

    def open(self) -> None:
        self._testbed.unwatch(self._watch)
        self._open.set()

    def _watch(self, moment: ApduMoment | CallMoment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is When.BEFORE and moment.command[1] == self._ins:
            with self._lock:
                if self.reached.is_set():
                    return
                self.reached.set()
            assert self._open.wait(DEADLINE)


PUT_DATA = 0xDB


def test_two_changes_of_one_object_at_once(bare_simulator: Simulator, writer: Any, other: Any) -> None:
    """Each application changes another attribute; the second waits for the first, and neither change is lost."""
    (host, session), (guest, theirs) = writer, other
    handle = host.call(probes.data, session, b"label")
    seen = guest.call(lambda m: m.find(theirs, {CKA.LABEL: b"label"})[0])
    gate = Gate(bare_simulator, PUT_DATA)
    first = host.start(Module.change, session, handle, {CKA.LABEL: b"new label"})
    assert gate.reached.wait(DEADLINE)
    second = guest.start(Module.change, theirs, seen, {CKA.APPLICATION: b"new application"})
    _under_way(bare_simulator, "C_SetAttributeValue", 2)
    gate.open()
    first.result(DEADLINE)
    second.result(DEADLINE)
    assert host.call(Module.attribute, session, handle, CKA.LABEL) == b"new label"
    assert host.call(Module.attribute, session, handle, CKA.APPLICATION) == b"new application"


@pytest.mark.parametrize("late", ["C_DestroyObject", "C_SetAttributeValue"])
def test_too_late_for_an_object(bare_simulator: Simulator, writer: Any, other: Any, late: str) -> None:
    """One application destroys an object and makes another in its place; the other is just about to touch it."""
    (host, session), (guest, theirs) = writer, other
    handle = host.call(probes.data, session, b"first")
    seen = guest.call(lambda m: m.find(theirs, {CKA.LABEL: b"first"})[0])
    gate = Gate(bare_simulator, PUT_DATA)
    both = host.start(lambda m: (m.destroy(session, handle), probes.data(m, session, b"second")))
    assert gate.reached.wait(DEADLINE)
    if late == "C_DestroyObject":
        touched = guest.start_rv(Module.destroy, theirs, seen)
    else:
        touched = guest.start_rv(Module.change, theirs, seen, {CKA.LABEL: b"late"})
    _under_way(bare_simulator, late, 2 if late == "C_DestroyObject" else 1)
    gate.open()
    both.result(DEADLINE)
    assert touched.result(DEADLINE) == CKR.OBJECT_HANDLE_INVALID
    assert host.call(probes.objects, session) == [(CKO.DATA, b"second")]


@pytest.mark.parametrize("write", ["change", "destroy"])
def test_a_write_does_not_hide_what_another_program_wrote(
    bare_simulator: Simulator, token: Callable[..., Any], write: str
) -> None:
    """A PIV tool deletes a certificate; the module writes something else; then its search knows of both."""
    host = token(profile="piv")
    session = host.call(probes.user_session, read_write=True)
    handle = host.call(probes.data, session, b"label")

    def certificates(m: Module, s: int) -> Any:
        return len(m.find(s, {CKA.CLASS: CKO.CERTIFICATE}))

    assert host.call(certificates, s=session) == 4
    _delete(bare_simulator, 0x5FC105)
    if write == "change":
        host.call(Module.change, session, handle, {CKA.LABEL: b"new"})
    else:
        host.call(Module.destroy, session, handle)
    assert host.call(certificates, s=session) == 3


def test_handles_of_what_another_program_deleted(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The card is asked, not what is remembered of it, as soon as it has changed."""
    host = token(profile="piv")
    session = host.call(probes.user_session, read_write=True)
    handle = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.CERTIFICATE, CKA.ID: b"\1"})[0])
    assert host.call(lambda m: len(m.attribute(session, handle, CKA.VALUE)) > 300)
    _delete(bare_simulator, 0x5FC105)
    assert host.rv(Module.attribute, session, handle, CKA.VALUE) == CKR.OBJECT_HANDLE_INVALID


@pytest.mark.parametrize("nth", [1, 2, 20])
def test_card_goes_while_it_is_read_again(bare_simulator: Simulator, token: Callable[..., Any], nth: int) -> None:
    """Looking at an object reads a card that somebody has changed; a card that goes then is a removal in a call."""
    host = token(profile="piv")
    session = host.call(probes.user_session, read_write=True)
    handle = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.CERTIFICATE, CKA.ID: b"\3"})[0])
    _delete(bare_simulator, 0x5FC105)
    bare_simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xCB, nth=nth))

    def look(m: Module, s: int, h: int) -> Any:
        return m.attribute(s, h, CKA.VALUE)

    assert host.rv(look, s=session, h=handle) == CKR.DEVICE_REMOVED
    assert host.rv(look, s=session, h=handle) == CKR.SESSION_HANDLE_INVALID


def test_a_label_that_another_program_wrote(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """C_GetTokenInfo reads the card's name again when something on the card has changed."""
    host = token(profile="piv")
    host.call(probes.user_session)
    assert host.call(lambda m: m.token_info(0)[0]) == "Alice"
    _delete(bare_simulator, LABEL_OBJECT)
    assert host.call(lambda m: m.token_info(0)[0]).startswith("PIV ")


@pytest.mark.parametrize(
    "value",
    [
        b"not attributes",
        encode_attributes({CKA.CLASS: bytes(3), CKA.UNIQUE_ID: b"short class"}),
        encode_attributes({CKA.UNIQUE_ID: b"no class"}),
        encode_attributes({CKA.CLASS: bytes(8)}),
    ],
)
def test_a_record_that_another_program_wrote(bare_simulator: Simulator, writer: Any, value: bytes) -> None:
    """Where an object of this module was there is something else: that is not seen, and everything else is."""
    host, session = writer
    host.call(probes.data, session, b"first")
    host.call(probes.data, session, b"second")
    _write(bare_simulator, PUBLIC_RECORDS[0], value)
    assert host.call(probes.objects, session) == [(CKO.DATA, b"second")]


def test_private_objects_after_a_lost_verification(bare_simulator: Simulator, writer: Any) -> None:
    """Another program makes the card forget the PIN: a search finds what is public, and says who is logged in."""
    host, session = writer
    host.call(probes.data, session, b"private", b"value", probes.PRIVATE)
    host.call(probes.data, session, b"public")
    host.call(lambda m: (m.logout(session), m.login(session)))
    _delete(bare_simulator, LABEL_OBJECT)
    _insertion(bare_simulator).transmit(FORGET)
    assert host.call(probes.objects, session) == [(CKO.DATA, b"public")]
    assert host.call(Module.session_state, session) == CKS.RW_PUBLIC_SESSION
    host.call(Module.login, session)
    assert host.call(probes.objects, session) == [(CKO.DATA, b"private"), (CKO.DATA, b"public")]


@pytest.mark.parametrize("kind", ["PRIVATE", "TOKEN"])
def test_writing_after_a_lost_verification(bare_simulator: Simulator, writer: Any, kind: str) -> None:
    """What cannot be read now is not taken for an empty card, and not written over."""
    host, session = writer
    host.call(probes.data, session, b"first", b"value", probes.PRIVATE)
    _delete(bare_simulator, LABEL_OBJECT)
    _insertion(bare_simulator).transmit(FORGET)
    written = host.rv(probes.data, session, b"second", b"value", probes.WHERE[kind])
    assert written == (CKR.OK if kind == "TOKEN" else CKR.USER_NOT_LOGGED_IN)
    if kind == "PRIVATE":
        assert host.call(Module.session_state, session) == CKS.RW_PUBLIC_SESSION
        host.call(Module.login, session)
    else:
        host.call(lambda m: (m.logout(session), m.login(session)))
    labels = [b"first", b"second"] if kind == "TOKEN" else [b"first"]
    assert host.call(probes.objects, session) == [(CKO.DATA, label) for label in labels]


def test_two_logins_at_once(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The second of two threads is told that somebody is logged in already; nobody is SO in a read-only session."""
    host = token()
    first, second = host.call(lambda m: (m.open_session(0, True), m.open_session(0, True)))
    gate = Gate(bare_simulator, 0x20)
    user = host.start_rv(Module.login, first)
    assert gate.reached.wait(DEADLINE)
    again = host.start_rv(Module.login, second)
    officer = host.start_rv(Module.login, second, "12345678", CKU.SO)
    _under_way(bare_simulator, "C_Login", 3)
    gate.open()
    assert user.result(DEADLINE) == CKR.OK
    assert again.result(DEADLINE) == CKR.USER_ALREADY_LOGGED_IN
    assert officer.result(DEADLINE) == CKR.USER_ANOTHER_ALREADY_LOGGED_IN


def test_read_only_session_while_the_so_logs_in(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """There is no read-only session of an SO, in whatever order the two come."""
    host = token()
    session = host.call(Module.open_session, 0, True)
    gate = Gate(bare_simulator, 0x24)
    officer = host.start_rv(Module.login, session, "12345678", CKU.SO)
    assert gate.reached.wait(DEADLINE)
    reader = host.call(Module.open_session, 0)
    gate.open()
    assert officer.result(DEADLINE) == CKR.SESSION_READ_ONLY_EXISTS
    assert host.call(Module.session_state, reader) == CKS.RO_PUBLIC_SESSION


@pytest.mark.parametrize(("call", "ins"), [(Module.login, 0x20), (Module.find, 0xCB)])
def test_session_closed_during_a_call(
    bare_simulator: Simulator, token: Callable[..., Any], call: Callable[[Module, int], Any], ins: int
) -> None:
    """Another thread closes the session while it logs in or searches: the session is closed, but the card is there."""
    host = token()
    session = host.call(Module.open_session, 0)
    gate = Gate(bare_simulator, ins)
    busy = host.start_rv(call, session)
    assert gate.reached.wait(DEADLINE)
    host.call(Module.close_session, session)
    gate.open()
    assert busy.result(DEADLINE) == CKR.SESSION_CLOSED


def _insertion(simulator: Simulator) -> Any:
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    return insertion


def _delete(simulator: Simulator, tag: int) -> None:
    """Another program deletes a data object of the card."""
    _write(simulator, tag, b"")


def _write(simulator: Simulator, tag: int, value: bytes) -> None:
    """Another program writes a data object of the card; it knows the management key."""
    program = PivClient(_insertion(simulator))
    with program.lock:
        management.require(program, Traits(management="pin"), Right(CKU.USER))
        program.write_object(tag, value)


def _under_way(simulator: Simulator, name: str, count: int) -> None:
    """Wait until so many calls of that name have begun and not ended."""

    def is_so() -> bool:
        entries = simulator.testbed.trace.entries()
        begun = {entry.call for entry in entries if isinstance(entry, CallEntry) and entry.name == name}
        ended = {entry.call for entry in entries if isinstance(entry, ReturnEntry)}
        return len(begun - ended) >= count

    wait_until(is_so, f"{count} calls of {name} under way")
