# SPDX-License-Identifier: MIT
"""One card, several hands: applications that write to it at once, and programs that the module does not know of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.tables import LABEL_OBJECT, PUBLIC_RECORDS
from cardtear.card.token_traits import Traits
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

DEADLINE = 30.0
FORGET = bytes.fromhex("0020FF80")
"""VERIFY that takes the verification of the PIN back (SP 800-73-5 part 2, 3.2.1)."""


@pytest.fixture
def other(bare_simulator: Simulator, writer: tuple[Any, int], new_host: Callable[..., Any]) -> tuple[Any, int]:
    """A second application with a read/write session and the user logged in."""
    host = new_host(bare_simulator)
    return host, host.eval("user_session(m, read_write=True)")


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
    handle = host.eval("data(m, s, b'label')", s=session)
    seen = guest.eval("m.find(s, {CKA.LABEL: b'label'})[0]", s=theirs)
    gate = Gate(bare_simulator, PUT_DATA)
    first = host.start("m.change(s, h, {CKA.LABEL: b'new label'})", s=session, h=handle)
    assert gate.reached.wait(DEADLINE)
    second = guest.start("m.change(s, h, {CKA.APPLICATION: b'new application'})", s=theirs, h=seen)
    _under_way(bare_simulator, "C_SetAttributeValue", 2)
    gate.open()
    first.result(DEADLINE)
    second.result(DEADLINE)
    assert host.eval("m.attribute(s, h, CKA.LABEL)", s=session, h=handle) == b"new label"
    assert host.eval("m.attribute(s, h, CKA.APPLICATION)", s=session, h=handle) == b"new application"


@pytest.mark.parametrize("late", ["m.destroy(s, h)", "m.change(s, h, {CKA.LABEL: b'late'})"])
def test_too_late_for_an_object(bare_simulator: Simulator, writer: Any, other: Any, late: str) -> None:
    """One application destroys an object and makes another in its place; the other is just about to touch it."""
    (host, session), (guest, theirs) = writer, other
    handle = host.eval("data(m, s, b'first')", s=session)
    seen = guest.eval("m.find(s, {CKA.LABEL: b'first'})[0]", s=theirs)
    gate = Gate(bare_simulator, PUT_DATA)
    both = host.start("(m.destroy(s, h), data(m, s, b'second'))", s=session, h=handle)
    assert gate.reached.wait(DEADLINE)
    touched = guest.start(f"rv(lambda: {late})", s=theirs, h=seen)
    _under_way(bare_simulator, *(("C_DestroyObject", 2) if "destroy" in late else ("C_SetAttributeValue", 1)))
    gate.open()
    both.result(DEADLINE)
    assert touched.result(DEADLINE) == CKR.OBJECT_HANDLE_INVALID
    assert host.eval("objects(m, s)", s=session) == [(CKO.DATA, b"second")]


@pytest.mark.parametrize("write", ["m.change(s, h, {CKA.LABEL: b'new'})", "m.destroy(s, h)"])
def test_a_write_does_not_hide_what_another_program_wrote(
    bare_simulator: Simulator, token: Callable[..., Any], write: str
) -> None:
    """A PIV tool deletes a certificate; the module writes something else; then its search knows of both."""
    host = token(profile="piv")
    session = host.eval("user_session(m, read_write=True)")
    handle = host.eval("data(m, s, b'label')", s=session)
    certificates = "len(m.find(s, {CKA.CLASS: CKO.CERTIFICATE}))"
    assert host.eval(certificates, s=session) == 4
    _delete(bare_simulator, 0x5FC105)
    host.eval(write, s=session, h=handle)
    assert host.eval(certificates, s=session) == 3


def test_handles_of_what_another_program_deleted(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The card is asked, not what is remembered of it, as soon as it has changed."""
    host = token(profile="piv")
    session = host.eval("user_session(m, read_write=True)")
    handle = host.eval("m.find(s, {CKA.CLASS: CKO.CERTIFICATE, CKA.ID: b'\\1'})[0]", s=session)
    assert host.eval("len(m.attribute(s, h, CKA.VALUE)) > 300", s=session, h=handle)
    _delete(bare_simulator, 0x5FC105)
    assert host.eval("rv(lambda: m.attribute(s, h, CKA.VALUE))", s=session, h=handle) == CKR.OBJECT_HANDLE_INVALID


@pytest.mark.parametrize("nth", [1, 2, 20])
def test_card_goes_while_it_is_read_again(bare_simulator: Simulator, token: Callable[..., Any], nth: int) -> None:
    """Looking at an object reads a card that somebody has changed; a card that goes then is a removal in a call."""
    host = token(profile="piv")
    session = host.eval("user_session(m, read_write=True)")
    handle = host.eval("m.find(s, {CKA.CLASS: CKO.CERTIFICATE, CKA.ID: b'\\3'})[0]", s=session)
    _delete(bare_simulator, 0x5FC105)
    bare_simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xCB, nth=nth))
    look = "rv(lambda: m.attribute(s, h, CKA.VALUE))"
    assert host.eval(look, s=session, h=handle) == CKR.DEVICE_REMOVED
    assert host.eval(look, s=session, h=handle) == CKR.SESSION_HANDLE_INVALID


def test_a_label_that_another_program_wrote(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """C_GetTokenInfo reads the card's name again when something on the card has changed."""
    host = token(profile="piv")
    host.eval("user_session(m)")
    assert host.eval("m.token_info(0)[0]") == "Alice"
    _delete(bare_simulator, LABEL_OBJECT)
    assert host.eval("m.token_info(0)[0]").startswith("PIV ")


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
    host.eval("data(m, s, b'first')", s=session)
    host.eval("data(m, s, b'second')", s=session)
    _write(bare_simulator, PUBLIC_RECORDS[0], value)
    assert host.eval("objects(m, s)", s=session) == [(CKO.DATA, b"second")]


def test_private_objects_after_a_lost_verification(bare_simulator: Simulator, writer: Any) -> None:
    """Another program makes the card forget the PIN: a search finds what is public, and says who is logged in."""
    host, session = writer
    host.eval("data(m, s, b'private', b'value', PRIVATE)", s=session)
    host.eval("data(m, s, b'public')", s=session)
    host.eval("(m.logout(s), m.login(s))", s=session)
    _delete(bare_simulator, LABEL_OBJECT)
    _insertion(bare_simulator).transmit(FORGET)
    assert host.eval("objects(m, s)", s=session) == [(CKO.DATA, b"public")]
    assert host.eval("m.session_state(s)", s=session) == CKS.RW_PUBLIC_SESSION
    host.eval("m.login(s)", s=session)
    assert host.eval("objects(m, s)", s=session) == [(CKO.DATA, b"private"), (CKO.DATA, b"public")]


@pytest.mark.parametrize("kind", ["PRIVATE", "TOKEN"])
def test_writing_after_a_lost_verification(bare_simulator: Simulator, writer: Any, kind: str) -> None:
    """What cannot be read now is not taken for an empty card, and not written over."""
    host, session = writer
    host.eval("data(m, s, b'first', b'value', PRIVATE)", s=session)
    _delete(bare_simulator, LABEL_OBJECT)
    _insertion(bare_simulator).transmit(FORGET)
    written = host.eval(f"rv(lambda: data(m, s, b'second', b'value', {kind}))", s=session)
    assert written == (CKR.OK if kind == "TOKEN" else CKR.USER_NOT_LOGGED_IN)
    if kind == "PRIVATE":
        assert host.eval("m.session_state(s)", s=session) == CKS.RW_PUBLIC_SESSION
        host.eval("m.login(s)", s=session)
    else:
        host.eval("(m.logout(s), m.login(s))", s=session)
    labels = [b"first", b"second"] if kind == "TOKEN" else [b"first"]
    assert host.eval("objects(m, s)", s=session) == [(CKO.DATA, label) for label in labels]


def test_two_logins_at_once(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The second of two threads is told that somebody is logged in already; nobody is SO in a read-only session."""
    host = token()
    first, second = host.eval("(m.open_session(0, True), m.open_session(0, True))")
    gate = Gate(bare_simulator, 0x20)
    user = host.start("rv(lambda: m.login(s))", s=first)
    assert gate.reached.wait(DEADLINE)
    again = host.start("rv(lambda: m.login(s))", s=second)
    officer = host.start("rv(lambda: m.login(s, '12345678', CKU.SO))", s=second)
    _under_way(bare_simulator, "C_Login", 3)
    gate.open()
    assert user.result(DEADLINE) == CKR.OK
    assert again.result(DEADLINE) == CKR.USER_ALREADY_LOGGED_IN
    assert officer.result(DEADLINE) == CKR.USER_ANOTHER_ALREADY_LOGGED_IN


def test_read_only_session_while_the_so_logs_in(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """There is no read-only session of an SO, in whatever order the two come."""
    host = token()
    session = host.eval("m.open_session(0, True)")
    gate = Gate(bare_simulator, 0x24)
    officer = host.start("rv(lambda: m.login(s, '12345678', CKU.SO))", s=session)
    assert gate.reached.wait(DEADLINE)
    reader = host.eval("m.open_session(0)")
    gate.open()
    assert officer.result(DEADLINE) == CKR.SESSION_READ_ONLY_EXISTS
    assert host.eval("m.session_state(s)", s=reader) == CKS.RO_PUBLIC_SESSION


@pytest.mark.parametrize(("call", "ins"), [("m.login(s)", 0x20), ("m.find(s, {})", 0xCB)])
def test_session_closed_during_a_call(
    bare_simulator: Simulator, token: Callable[..., Any], call: str, ins: int
) -> None:
    """Another thread closes the session while it logs in or searches: the session is closed, but the card is there."""
    host = token()
    session = host.eval("m.open_session(0)")
    gate = Gate(bare_simulator, ins)
    busy = host.start(f"rv(lambda: {call})", s=session)
    assert gate.reached.wait(DEADLINE)
    host.eval("m.close_session(s)", s=session)
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
    end = time.monotonic() + DEADLINE
    while True:
        entries = simulator.testbed.trace.entries()
        begun = {entry.call for entry in entries if isinstance(entry, CallEntry) and entry.name == name}
        ended = {entry.call for entry in entries if isinstance(entry, ReturnEntry)}
        if len(begun - ended) >= count:
            return
        assert time.monotonic() < end
        time.sleep(0.01)
