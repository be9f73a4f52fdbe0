# SPDX-License-Identifier: MIT
"""What a trigger does has taken effect before the call or APDU it names goes on: for every thread and application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR

TURNS = 200
REMOVE = ("remove", {"reader": "front"})


def test_no_call_outruns_a_trigger(simulator: Simulator, host: Any) -> None:
    """Armed by another process each time, as scripts do it."""
    assert host.eval("outrun(m, control, turns)", control=str(simulator.control_socket), turns=TURNS) == 0


def test_whatever_others_are_calling(simulator: Simulator, new_host: Callable[..., Any]) -> None:
    """Two threads of the application and another application are calling all the time: the named call finds the card
    gone, and when it has been answered, everybody does."""
    ours, other = new_host(simulator), new_host(simulator)
    busy = [host.start("call_until_stopped(m)") for host in (ours, ours, other)]
    for _ in range(TURNS):
        mine, beside, theirs = (host.eval("m.open_session(0)") for host in (ours, ours, other))
        trigger = Trigger(*REMOVE, call="C_GetSessionInfo")
        simulator.arm(trigger)
        found = ours.eval("[rv(lambda: m.session_state(s)) for s in sessions]", sessions=[mine, beside])
        assert (found, trigger.fired) == ([CKR.SESSION_HANDLE_INVALID] * 2, 1)
        assert other.eval("rv(lambda: m.session_state(s))", s=theirs) == CKR.SESSION_HANDLE_INVALID
        simulator.insert("front")
    for host in (ours, other):
        host.eval("stop_calling()")
    assert all(each.result(20) > TURNS for each in busy)


@pytest.mark.parametrize(
    ("when", "first"),
    [("before", CKR.SESSION_HANDLE_INVALID), ("during", CKR.DEVICE_REMOVED), ("after", CKR.OK)],
)
def test_each_moment_of_a_call(simulator: Simulator, host: Any, when: str, first: int) -> None:
    """Before: it finds no session. During: it is torn. After: it is done, and the next one finds no session."""
    for _ in range(TURNS // 4):
        session = host.eval("m.open_session(0)")
        simulator.arm(Trigger(*REMOVE, call="C_Login", when=when))
        found = host.eval("[rv(lambda: m.login(s)), rv(lambda: m.session_state(s))]", s=session)
        assert found == [first, CKR.SESSION_HANDLE_INVALID]
        simulator.insert("front")


@pytest.mark.parametrize("when", ["before", "after"])
def test_each_moment_of_an_apdu(simulator: Simulator, host: Any, when: str) -> None:
    """Before and after: the call is torn, for the application has nothing of an answer of a card that is gone."""
    for _ in range(TURNS // 4):
        session = host.eval("m.open_session(0)")
        simulator.arm(Trigger(*REMOVE, ins=0x20, when=when))
        found = host.eval("[rv(lambda: m.login(s)), rv(lambda: m.session_state(s))]", s=session)
        assert found == [CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID]
        simulator.insert("front")
