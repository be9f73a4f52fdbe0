# SPDX-License-Identifier: MIT
"""Rules 24 to 31: the same card again, another card, and readers that come and go."""

from __future__ import annotations

from typing import Any

from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKO, CKR, CKS

from ..shared.host import probes
from ..shared.host.host import Host


def test_R24_no_handle_comes_back(simulator: Simulator, host: Host) -> None:
    """Neither a session's nor an object's, over insertions and a new C_Initialize."""
    seen: set[int] = set()
    for step in range(20):
        session = host.call(probes.user_session)
        handles = {session, *host.call(Module.find, session)}
        assert 0 not in handles
        assert not handles & seen
        seen |= handles
        simulator.remove("front")
        simulator.insert("front")
        if step == 10:
            host.call(lambda m: (m.finalize(), m.initialize()))


def test_R25_the_same_card_again(simulator: Simulator, host: Host, user_session: int) -> None:
    """It is the same token, nobody is logged in, and its PIN counter is where it was."""
    before = host.call(lambda m: m.token_info(0)[:2])
    host.call(Module.logout, user_session)
    assert host.rv(Module.login, user_session, "999999") == CKR.PIN_INCORRECT
    card = simulator.remove("front")
    assert simulator.insert("front") is card
    assert host.call(lambda m: m.token_info(0)[:2]) == before
    session = host.call(Module.open_session, 0)
    assert host.call(Module.session_state, session) == CKS.RO_PUBLIC_SESSION
    assert host.call(Module.find, session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: b"\1"}) == []
    assert card.store.state.references[0x80].remaining == 2  # type: ignore[attr-defined]
    host.call(Module.login, session)
    assert len(host.call(probes.sign_with, session, b"\1")) == 256


def test_R26_a_fast_swap_is_like_a_slow_one(simulator: Simulator, host: Host, user_session: int) -> None:
    """Out and in with no call in between: old handles are dead, there is an event, the login is gone."""
    host.call(probes.events)
    simulator.remove("front")
    simulator.insert("front")
    assert host.rv(Module.session_state, user_session) == CKR.SESSION_HANDLE_INVALID
    assert host.call(probes.events) == [0]
    assert host.call(lambda m: m.session_state(m.open_session(0))) == CKS.RO_PUBLIC_SESSION


def test_R27_another_card(simulator: Simulator, host: Host, user_session: int) -> None:
    """Label, serial number, certificates and PIN are the new card's only."""

    def every(m: Module, s: int) -> Any:
        return {m.attribute(s, c, CKA.VALUE) for c in m.find(s, {CKA.CLASS: CKO.CERTIFICATE})}

    alice = host.call(every, s=user_session)
    info = host.call(Module.token_info, 0)
    simulator.swap("front", CardRequest(name="Bob", pin="654321"))
    other = host.call(Module.token_info, 0)
    assert other[0] == "Bob"
    assert other[1] != info[1]
    session = host.call(Module.open_session, 0)
    assert host.rv(Module.login, session, "123456") == CKR.PIN_INCORRECT
    host.call(Module.login, session, "654321")
    bob = host.call(every, s=session)
    assert len(bob) == 4
    assert not alice & bob


def test_R28_present_means_usable(simulator: Simulator, host: Host) -> None:
    """As soon as a slot says that there is a token, the token's information is there."""
    for _ in range(50):
        simulator.remove("front")
        waiting = host.start(lambda m: (m.wait_for_slot_event(), m.is_present(0) and m.token_info(0)[0]))
        simulator.insert("front")
        number, label = waiting.result(10)
        assert number == 0
        assert label in (False, "Alice")
        assert host.call(lambda m: m.token_info(0)[0]) == "Alice"
        host.call(probes.events)


def test_R29_reader_with_card_unplugged(simulator: Simulator, host: Host, user_session: int) -> None:
    """One event at least, the slot stays, empty; the same reader has its number again, another one a new number."""
    simulator.unplug("front")
    assert host.call(probes.events) == [0]
    assert host.call(lambda m: (m.slots(), m.is_present(0))) == ([0], False)
    assert host.rv(Module.session_state, user_session) == CKR.SESSION_HANDLE_INVALID
    simulator.plug("front")
    simulator.plug("other")
    simulator.insert("front")
    assert host.call(lambda m: (m.slots(), m.is_present(0), m.slot_info(1)[0])) == ([0, 1], True, "other")


def test_R30_new_reader(simulator: Simulator, host: Host) -> None:
    """A waiter is told its number; the list shows it when its length is asked for."""
    waiting = host.start(Module.wait_for_slot_event)
    simulator.plug("second")
    assert waiting.result(10) == 1
    assert host.call(Module.slots) == [0, 1]


def test_R31_two_hundred_fast_cycles(simulator: Simulator, host: Host) -> None:
    """End with a card that is present and usable."""
    for _ in range(200):
        simulator.remove("front")
        simulator.insert("front")
    assert host.call(Module.is_present, 0)
    assert host.call(probes.events) == [0]
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256
