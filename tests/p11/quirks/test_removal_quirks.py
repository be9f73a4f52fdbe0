# SPDX-License-Identifier: MIT
"""Quirks of handles, sessions and login: each misbehaves as it says, and the module without quirks does not."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKO, CKR, CKS

from ...shared.host import probes

NewBed = Callable[..., Any]


@pytest.mark.parametrize("quirk", ["", "stale_handle_rv=CKR_TOKEN_NOT_PRESENT", "absent_handle_rv=CKR_DEVICE_REMOVED"])
def test_dead_handles(new_bed: NewBed, quirk: str) -> None:
    bed = new_bed(*filter(None, [quirk]))
    session = bed.host.call(probes.user_session)
    card = bed.simulator.remove("front")
    absent = bed.host.rv(Module.session_state, session)
    assert absent == (CKR.DEVICE_REMOVED if "absent" in quirk else CKR.SESSION_HANDLE_INVALID)
    bed.simulator.insert("front", card)
    stale = bed.host.rv(Module.session_state, session)
    assert stale == (CKR.TOKEN_NOT_PRESENT if "stale" in quirk else CKR.SESSION_HANDLE_INVALID)
    assert len(bed.host.call(probes.sign_with, bed.host.call(probes.user_session), b"\1")) == 256


def test_handles_come_back(new_bed: NewBed) -> None:
    bed = new_bed("handle_reuse")
    session = bed.host.call(Module.open_session, 0)
    bed.again()
    assert session == bed.host.call(Module.open_session, 0) == 1
    assert bed.host.call(Module.open_session, 0) == 2
    right = new_bed()
    session = right.host.call(Module.open_session, 0)
    right.again()
    assert session != right.host.call(Module.open_session, 0)


@pytest.mark.parametrize(("quirk", "value"), [("invalid", CKR.SESSION_HANDLE_INVALID), ("accepted", CKR.OK)])
def test_handle_zero(new_bed: NewBed, quirk: str, value: int) -> None:
    bed = new_bed(f"zero_handle={quirk}")
    bed.host.call(Module.open_session, 0)
    assert bed.host.rv(Module.session_state, 0) == value


def test_handle_zero_is_death(new_bed: NewBed) -> None:
    bed = new_bed("zero_handle=crash")
    with pytest.raises(EOFError):
        bed.host.call(Module.session_state, 0)
    assert bed.host.process.wait(10) == -signal.SIGSEGV


def test_removal_between_two_calls_is_not_noticed(new_bed: NewBed) -> None:
    """Sessions and objects go on, the login is lost; no event."""
    bed = new_bed("unnoticed_removal=between-calls")
    session = bed.host.call(probes.user_session)
    key = bed.host.call(probes.key, session, b"\1")
    bed.host.call(probes.events)
    bed.again()
    assert bed.host.call(probes.events) == []
    assert bed.host.call(Module.session_state, session) == CKS.RO_PUBLIC_SESSION
    assert bed.host.rv(probes.sign, session, key) in (
        CKR.KEY_HANDLE_INVALID,
        CKR.USER_NOT_LOGGED_IN,
    )
    bed.host.call(Module.login, session)
    assert len(bed.host.call(probes.sign_with, session, b"\1")) == 256


def test_another_card_or_a_look_in_between_is_noticed(new_bed: NewBed) -> None:
    for look in (False, True):
        bed = new_bed("unnoticed_removal=between-calls")
        session = bed.host.call(probes.user_session)
        if look:
            card = bed.simulator.remove("front")
            assert bed.host.call(Module.slots, True) == []
            bed.simulator.insert("front", card)
        else:
            bed.simulator.swap("front", CardRequest(name="Bob"))
        assert bed.host.call(probes.events) == [0]
        assert bed.host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
        assert len(bed.host.call(probes.sign_with, bed.host.call(probes.user_session), b"\1")) == 256


def test_a_waiter_notices(new_bed: NewBed) -> None:
    bed = new_bed("unnoticed_removal=between-calls")
    waiting = bed.host.start(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    session = bed.host.call(Module.open_session, 0)
    bed.again()
    assert waiting.result(10) == 0
    assert bed.host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID


def test_removal_is_never_noticed(new_bed: NewBed) -> None:
    bed = new_bed("unnoticed_removal=always", "stale_login=works")
    session = bed.host.call(probes.user_session)
    card = bed.simulator.remove("front")
    assert bed.host.call(Module.slots, True) == [0]
    assert bed.host.call(Module.session_state, session) == CKS.RO_USER_FUNCTIONS
    assert bed.host.rv(probes.sign_with, session, b"\1") == CKR.DEVICE_REMOVED
    assert bed.host.call(probes.events) == []
    bed.simulator.insert("front", card)
    assert len(bed.host.call(probes.sign_with, session, b"\1")) == 256
    bed.simulator.swap("front", CardRequest(name="Bob"))
    assert bed.host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID


@pytest.mark.parametrize("again", ["reset", "logout", "reinsertion"])
@pytest.mark.parametrize("quirk", ["no", "state", "works"])
def test_stale_login(new_bed: NewBed, quirk: str, again: str) -> None:
    """Somebody else resets the card or takes the verification back, or the card is pulled and put back."""
    bed = new_bed(f"stale_login={quirk}")
    session = bed.host.call(probes.user_session)
    key = bed.host.call(probes.key, session, b"\1")
    if again == "reinsertion":
        bed.again()
        session = bed.host.call(Module.open_session, 0)
    else:
        getattr(bed.simulator, again)("front")
    state = CKS.RO_PUBLIC_SESSION if quirk == "no" else CKS.RO_USER_FUNCTIONS
    assert bed.host.call(Module.session_state, session) == state
    if again == "reinsertion":
        found = bed.host.call(Module.find, session, {CKA.ID: b"\1", CKA.CLASS: CKO.PRIVATE_KEY})
        assert bool(found) == (quirk == "works")
        key = found[0] if found else key
    value = bed.host.rv(probes.sign, session, key)
    if quirk == "works":
        assert value == CKR.OK
    else:
        assert value == (CKR.KEY_HANDLE_INVALID if again == "reinsertion" else CKR.USER_NOT_LOGGED_IN)
    assert bed.host.call(Module.session_state, session) == state


def test_what_fails_after_reinsertion(new_bed: NewBed) -> None:
    """Until C_Initialize."""
    bed = new_bed("reinserted_rv=C_Login:CKR_PIN_INCORRECT")
    session = bed.host.call(probes.user_session)
    bed.again()
    session = bed.host.call(Module.open_session, 0)
    assert bed.host.rv(Module.login, session) == CKR.PIN_INCORRECT
    bed.host.call(Module.finalize)
    bed.host.call(Module.initialize)
    assert bed.host.call(probes.user_session)


@pytest.mark.parametrize("quirk", ["CKR_DEVICE_REMOVED", "CKR_GENERAL_ERROR", "crash", "hang"])
def test_a_torn_call(new_bed: NewBed, quirk: str) -> None:
    bed = new_bed(*([] if quirk == "CKR_DEVICE_REMOVED" else [f"torn_call={quirk}"]))
    session = bed.host.call(probes.user_session)
    key = bed.host.call(probes.key, session, b"\1")
    bed.simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
    if quirk == "crash":
        with pytest.raises(EOFError):
            bed.host.call(probes.sign, session, key)
        assert bed.host.process.wait(10) == -signal.SIGSEGV
    elif quirk == "hang":
        hanging = bed.host.start(probes.sign, session, key)
        bed.wait_for_call("C_Sign")
        assert bed.host.call(Module.slots) == [0]
        assert not hanging.done()
        bed.host.kill()
    else:
        assert bed.host.rv(probes.sign, session, key) == CKR[quirk.removeprefix("CKR_")]
