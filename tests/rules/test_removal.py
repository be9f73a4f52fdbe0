# SPDX-License-Identifier: MIT
"""Rules 16 to 23: what a removal takes away, when, and what is said to whom."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKM, CKR

from ..shared.host import probes
from ..shared.host.host import Host
from ..shared.waiting import wait_until

DEAD = {int(CKR.SESSION_HANDLE_INVALID)}


def remove_at(simulator: Simulator, when: str = "before", nth: int = 1, **on: Any) -> None:
    """The card goes at a certain call or APDU."""
    simulator.arm(Trigger("remove", {"reader": "front"}, nth=nth, when=when, **on))


def test_R16_removal_ends_everything_of_its_slot_at_once(simulator: Simulator, host: Host) -> None:
    """All sessions, the login, objects and operations of the card; other slots go on."""
    simulator.plug("second")
    simulator.insert("second", CardRequest(name="Bob"))
    host.call(Module.slots)
    here = [host.call(Module.open_session, 0) for _ in range(3)]
    host.call(Module.login, here[0])
    host.call(lambda m, s=here[0]: m.sign_init(s, probes.key(m, s, b"\1")))
    there = host.call(probes.user_session, 1)
    simulator.remove("front")
    for session in here:
        assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    assert len(host.call(probes.sign_with, there, b"\1")) == 256


def test_R17_dead_sessions_are_invalid_in_every_function(simulator: Simulator, host: Host, user_session: int) -> None:
    """While the card is away, and after it is back."""
    simulator.remove("front")
    assert set(host.call(probes.session_function_values, user_session).values()) == DEAD
    simulator.insert("front")
    assert set(host.call(probes.session_function_values, user_session).values()) == DEAD


def test_R17_there_is_no_window(simulator: Simulator, host: Host) -> None:
    """When the verb has returned, the session is dead, a thousand times."""
    for _ in range(300):
        session = host.call(Module.open_session, 0)
        simulator.remove("front")
        assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
        simulator.insert("front")


def test_R18_closing_a_dead_session_is_harmless(simulator: Simulator, host: Host, ro_session: int) -> None:
    """Also twice."""
    simulator.remove("front")
    for _ in range(2):
        assert host.rv(Module.close_session, ro_session) == CKR.SESSION_HANDLE_INVALID
    simulator.insert("front")
    again = host.call(Module.open_session, 0)
    host.call(Module.close_session, again)
    assert host.rv(Module.close_session, again) == CKR.SESSION_HANDLE_INVALID


def test_R19_removal_during_a_call(simulator: Simulator, host: Host, user_session: int) -> None:
    """That call says CKR_DEVICE_REMOVED, the next one CKR_SESSION_HANDLE_INVALID."""
    key = host.call(probes.key, user_session, b"\1")
    remove_at(simulator, ins=0x87)
    assert host.rv(probes.sign, user_session, key) == CKR.DEVICE_REMOVED
    assert host.rv(Module.session_state, user_session) == CKR.SESSION_HANDLE_INVALID


_MOMENTS: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "C_Login": ({"ins": 0x20}, lambda m, s, **_: m.login(s)),
    "C_Sign": ({"call": "C_Sign"}, lambda m, s, k, **_: probes.sign(m, s, k)),
    "C_SignUpdate": ({"call": "C_SignUpdate"}, lambda m, s, **_: m.check("C_SignUpdate", s, b"abc", 3)),
    "C_FindObjectsInit": ({"call": "C_FindObjectsInit"}, lambda m, s, **_: m.find(s)),
    "C_FindObjects": ({"call": "C_FindObjects"}, lambda m, s, **_: m.find(s)),
    "C_FindObjectsFinal": ({"call": "C_FindObjectsFinal"}, lambda m, s, **_: m.check("C_FindObjectsFinal", s)),
    "C_GetAttributeValue": ({"call": "C_GetAttributeValue", "nth": 2}, lambda m, s, k, **_: m.attribute(s, k, CKA.ID)),
    "C_GetTokenInfo": ({"ins": 0xF7}, lambda m, **_: m.token_info(0)),
    "C_OpenSession": ({"call": "C_OpenSession"}, lambda m, **_: m.open_session(0)),
    "C_GenerateRandom": ({"call": "C_GenerateRandom"}, lambda m, s, **_: m.random(s)),
    "C_SetPIN": ({"ins": 0x24}, lambda m, w, **_: m.set_pin(w, "123456", "654321")),
    "C_Decrypt": ({"ins": 0x87}, lambda m, s, k, **_: m.decrypt(s, k, bytes(256), CKM.RSA_X_509)),
}


@pytest.mark.parametrize("point", _MOMENTS)
def test_R20_removal_at_any_point(simulator: Simulator, host: Host, point: str) -> None:
    """The call in which the card goes fails, the session is dead, and after re-insertion all works again."""
    on, expression = _MOMENTS[point]
    session = host.call(Module.open_session, 0)
    writable = host.call(Module.open_session, 0, True)
    if point != "C_Login":
        host.call(Module.login, session)
    key = 0 if point == "C_Login" else host.call(probes.key, session, b"\1")
    if point == "C_SignUpdate":
        host.call(Module.sign_init, session, key, CKM.SHA256_RSA_PKCS)
    if point == "C_FindObjectsFinal":
        host.call(lambda m: m.check("C_FindObjectsInit", session, m.ffi.NULL, 0))
    remove_at(simulator, **on)
    allowed = {CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID, CKR.TOKEN_NOT_PRESENT}
    assert host.rv(expression, s=session, k=key, w=writable) in allowed
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    simulator.insert("front")
    again = host.call(probes.user_session)
    assert len(host.call(probes.sign_with, again, b"\1")) == 256


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("ins", "nth"), [(0x87, 1), (0x87, 2), (0xC0, 1)])
def test_R21_removal_at_every_apdu_of_a_signature(
    simulator: Simulator, host: Host, user_session: int, ins: int, nth: int, when: str
) -> None:
    """Both links of the chained command, and the fetching of the answer; the card has forgotten login and chain."""
    key = host.call(probes.key, user_session, b"\1")
    remove_at(simulator, when, nth, ins=ins)
    assert host.rv(probes.sign, user_session, key) == CKR.DEVICE_REMOVED
    simulator.insert("front")
    session = host.call(Module.open_session, 0)
    host.call(Module.login, session)
    assert len(host.call(probes.sign_with, session, b"\1")) == 256


def test_R22_removal_wakes_a_call_on_a_slow_card(simulator: Simulator, host: Host, user_session: int) -> None:
    """The removal does not wait for the card, and nobody waits for ever."""
    key = host.call(probes.key, user_session, b"\1")
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    with insertion.lock:  # as long as somebody else has the card
        signing = host.start_rv(probes.sign, user_session, key)
        trace = simulator.testbed.trace
        wait_until(lambda: any(getattr(each, "name", "") == "C_Sign" for each in trace.entries()))
        hand = threading.Thread(target=simulator.remove, args=("front",))  # the lock would let this thread in
        hand.start()
        hand.join(5)
        assert not hand.is_alive()
    assert signing.result(5) == CKR.DEVICE_REMOVED


@pytest.mark.parametrize(("when", "left"), [("before", 3), ("after", 2)])
def test_R23_pin_counter(simulator: Simulator, host: Host, ro_session: int, when: str, left: int) -> None:
    """A wrong PIN that never reached the card costs no try; one that did costs one, torn or not."""
    remove_at(simulator, when, ins=0x20)
    assert host.rv(Module.login, ro_session, "999999") == CKR.DEVICE_REMOVED
    card = simulator.insert("front")
    assert card.store.state.references[0x80].remaining == left  # type: ignore[attr-defined]
