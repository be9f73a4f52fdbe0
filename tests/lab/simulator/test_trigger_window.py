# SPDX-License-Identifier: MIT
"""What a trigger does has taken effect before the call or APDU it names goes on: for every thread and application."""

from __future__ import annotations

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR

from ...shared.host import probes, trigger_probes
from ...shared.host.host import Host, NewHost

TURNS = 200
REMOVE = ("remove", {"reader": "front"})


def test_no_call_outruns_a_trigger(simulator: Simulator, host: Host) -> None:
    """Armed by another process each time, as scripts do it."""
    assert host.call(trigger_probes.outrun, str(simulator.control_socket), TURNS) == 0


def test_whatever_others_are_calling(simulator: Simulator, new_host: NewHost) -> None:
    """Two threads of the application and another application are calling all the time: the named call finds the card
    gone, and when it has been answered, everybody does."""
    ours, other = new_host(simulator), new_host(simulator)
    busy = [host.start(trigger_probes.call_until_stopped) for host in (ours, ours, other)]
    for _ in range(TURNS):
        mine, beside, theirs = (host.call(Module.open_session, 0) for host in (ours, ours, other))
        trigger = Trigger(*REMOVE, call="C_GetSessionInfo")
        simulator.arm(trigger)
        found = ours.call(
            lambda m, *sessions: [probes.rv(m.session_state, session) for session in sessions], mine, beside
        )
        assert (found, trigger.fired) == ([CKR.SESSION_HANDLE_INVALID] * 2, 1)
        assert other.rv(Module.session_state, theirs) == CKR.SESSION_HANDLE_INVALID
        simulator.insert("front")
    for host in (ours, other):
        host.call(trigger_probes.stop_calling)
    assert all(each.result(20) > TURNS for each in busy)


@pytest.mark.parametrize(
    ("when", "first"),
    [("before", CKR.SESSION_HANDLE_INVALID), ("during", CKR.DEVICE_REMOVED), ("after", CKR.OK)],
)
def test_each_moment_of_a_call(simulator: Simulator, host: Host, when: str, first: int) -> None:
    """Before: it finds no session. During: it is torn. After: it is done, and the next one finds no session."""
    for _ in range(TURNS // 4):
        session = host.call(Module.open_session, 0)
        simulator.arm(Trigger(*REMOVE, call="C_Login", when=when))
        found = host.call(lambda m, s=session: [probes.rv(m.login, s), probes.rv(m.session_state, s)])
        assert found == [first, CKR.SESSION_HANDLE_INVALID]
        simulator.insert("front")


@pytest.mark.parametrize("when", ["before", "after"])
def test_each_moment_of_an_apdu(simulator: Simulator, host: Host, when: str) -> None:
    """Before and after: the call is torn, for the application has nothing of an answer of a card that is gone."""
    for _ in range(TURNS // 4):
        session = host.call(Module.open_session, 0)
        simulator.arm(Trigger(*REMOVE, ins=0x20, when=when))
        found = host.call(lambda m, s=session: [probes.rv(m.login, s), probes.rv(m.session_state, s)])
        assert found == [CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID]
        simulator.insert("front")
