# SPDX-License-Identifier: MIT
"""Rules 1 to 15: slots that stay, and events that are neither lost nor doubled."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKF, CKR
from cardtear.reader.trace import CallEntry, Entry

from ..shared.host import probes
from ..shared.host.host import Host, NewHost
from ..shared.waiting import wait_until


def test_R01_slots_are_never_fewer_and_never_renumbered(simulator: Simulator, host: Host) -> None:
    """A reader that goes leaves its slot, a new one gets the next number."""
    simulator.plug("second")
    assert host.call(Module.slots) == [0, 1]
    simulator.unplug("front")
    simulator.plug("third")
    assert host.call(Module.slots) == [0, 1, 2]
    assert [host.call(Module.slot_info, n)[0] for n in range(3)] == ["front", "second", "third"]


def test_R02_list_changes_only_when_its_length_is_asked_for(simulator: Simulator, host: Host) -> None:
    """Between the call for the length and the call for the list the count is stable."""
    simulator.plug("second")
    assert host.call(probes.slot_list_raw, 0, 8) == (CKR.OK, 1, [0])
    assert host.call(Module.slots) == [0, 1]
    assert host.call(probes.slot_list_raw, 0, 8) == (CKR.OK, 2, [0, 1])


def test_R03_short_buffers_and_slots_with_tokens(simulator: Simulator, host: Host) -> None:
    """A buffer that is too small is told the count; tokenPresent lists the slots that say so themselves."""
    simulator.plug("second")
    assert host.call(Module.slots) == [0, 1]
    assert host.call(probes.slot_list_raw, 0, 1)[:2] == (CKR.BUFFER_TOO_SMALL, 2)
    assert host.call(Module.slots, True) == [0]
    simulator.insert("second", CardRequest(name="Bob"))
    simulator.remove("front")
    assert host.call(Module.slots, True) == [1]
    assert [host.call(Module.is_present, n) for n in (0, 1)] == [False, True]


def test_R04_slot_info_works_for_every_slot_that_was_shown(simulator: Simulator, host: Host) -> None:
    """Also for an unplugged reader; an unknown number is an error of its own."""
    simulator.unplug("front")
    assert host.call(lambda m: probes.flags_of(m, 0) & (probes.REMOVABLE | probes.PRESENT)) == CKF.REMOVABLE_DEVICE
    assert host.rv(Module.slot_info, 77) == CKR.SLOT_ID_INVALID


def test_R05_removable_is_constant_and_present_costs_no_card_access(simulator: Simulator, host: Host) -> None:
    """The flags are the simulator's knowledge at call time; the card is not asked."""
    host.call(Module.token_info, 0)
    before = len([each for each in simulator.testbed.trace.entries() if type(each).__name__ == "ApduEntry"])
    for present in (True, False, True):
        assert bool(host.call(lambda m: probes.flags_of(m, 0) & probes.PRESENT)) is present
        assert host.call(lambda m: probes.flags_of(m, 0) & probes.REMOVABLE)
        if present:
            simulator.remove("front")
        else:
            simulator.insert("front")
    after = len([each for each in simulator.testbed.trace.entries() if type(each).__name__ == "ApduEntry"])
    assert after == before


def test_R06_empty_slot(simulator: Simulator, host: Host) -> None:
    """What needs a token says that there is none; closing all sessions of nothing does no harm."""
    simulator.remove("front")
    assert host.rv(Module.token_info, 0) == host.rv(Module.open_session, 0) == CKR.TOKEN_NOT_PRESENT

    def count(m: Module) -> Any:
        return m.call("C_GetMechanismList", 0, m.ffi.NULL, m.ffi.new("CK_ULONG *"))

    def info(m: Module) -> Any:
        return m.call("C_GetMechanismInfo", 0, 1, m.ffi.new("CK_MECHANISM_INFO *"))

    assert host.call(count) == host.call(info) == CKR.TOKEN_NOT_PRESENT
    assert host.call(Module.call, "C_CloseAllSessions", 0) in (CKR.OK, CKR.TOKEN_NOT_PRESENT)


def test_R06_token_cannot_be_initialised_in_an_empty_slot(simulator: Simulator, host: Host) -> None:
    """C_InitToken says so, too, and the card that comes back is as it was."""
    simulator.remove("front")
    assert host.rv(Module.init_token, 0) == CKR.TOKEN_NOT_PRESENT
    simulator.insert("front")
    assert host.call(lambda m: m.token_info(0)[0]) == "Alice"


def test_R07_unrecognised_card(simulator: Simulator, host: Host) -> None:
    """It is present, but no token; its removal is an event like any other."""
    simulator.swap("front", CardRequest(profile="unrecognised"))
    host.call(probes.events)
    assert host.call(Module.is_present, 0)
    assert host.rv(Module.token_info, 0) == host.rv(Module.open_session, 0) == CKR.TOKEN_NOT_RECOGNIZED
    simulator.remove("front")
    assert host.call(probes.events) == [0]


def test_R08_each_change_sets_the_flag_once(simulator: Simulator, host: Host) -> None:
    """Flags, not a queue: out and in again before anybody looks is one event; one slot a call."""
    simulator.remove("front")
    assert host.call(probes.events) == [0]
    simulator.insert("front")
    simulator.remove("front")
    assert host.call(probes.events) == [0]
    simulator.plug("second")
    simulator.insert("front")
    assert sorted(host.call(probes.events)) == [0, 1]


def test_R09_flags_are_cleared_by_initialize_and_taken_by_nobody_else(simulator: Simulator, new_host: NewHost) -> None:
    """What happened before C_Initialize is not reported; other functions leave the flags alone."""
    simulator.remove("front")
    host = new_host(simulator)
    assert host.call(probes.events) == []
    simulator.insert("front")
    host.call(lambda m: (m.slots(), m.slot_info(0), m.token_info(0), m.open_session(0)))
    assert host.call(probes.events) == [0]


def test_R10_polling(simulator: Simulator, host: Host) -> None:
    """Nothing pending is said at once, several pending slots one by one; bad pointers are refused."""
    simulator.plug("second")
    simulator.remove("front")
    simulator.unplug("second")
    assert sorted(host.call(probes.events)) == [0, 1]
    assert host.rv(Module.wait_for_slot_event, block=False) == CKR.NO_EVENT

    def reserved(m: Module) -> Any:
        return m.call("C_WaitForSlotEvent", 1, m.ffi.new("CK_ULONG *"), m.ffi.cast("void *", 1))

    assert host.call(reserved) == CKR.ARGUMENTS_BAD
    assert host.call(lambda m: m.call("C_WaitForSlotEvent", 1, m.ffi.NULL, m.ffi.NULL)) == CKR.ARGUMENTS_BAD


def wait_until_blocked(simulator: Simulator, after: int = 0) -> None:
    """Wait until a C_WaitForSlotEvent has arrived, behind this number in the trace."""
    trace = simulator.testbed.trace
    wait_until(lambda: any(getattr(each, "name", "") == "C_WaitForSlotEvent" for each in trace.entries(after)))


def seconds_until_told(simulator: Simulator, host: Host) -> list[float]:
    """Remove the card five times under a blocked waiter; return how long each took to return with the new state."""
    times = []
    for _ in range(5):
        before = max((each.number for each in simulator.testbed.trace.entries()), default=0)
        waiting = host.start(lambda m: (m.wait_for_slot_event(), m.is_present(0)))
        wait_until_blocked(simulator, before)
        started = time.monotonic()
        simulator.remove("front")
        assert waiting.result(10) == (0, False)
        times.append(time.monotonic() - started)
        simulator.insert("front")
        assert host.call(probes.events) == [0]
    return times


def test_R11_blocked_waiter_returns_and_state_is_new(simulator: Simulator, host: Host) -> None:
    """What the slot says right afterwards is the new state."""
    assert len(seconds_until_told(simulator, host)) == 5


@pytest.mark.timing
def test_R11_blocked_waiter_returns_soon(simulator: Simulator, host: Host) -> None:
    """Within 100 ms."""
    times = seconds_until_told(simulator, host)
    assert sorted(times)[2] < 0.1  # most of them: once, another program may have the processor


def test_R12_a_waiter_holds_no_lock(simulator: Simulator, host: Host) -> None:
    """Everything else works while a thread waits."""
    waiting = host.start(Module.wait_for_slot_event)
    wait_until_blocked(simulator)
    assert host.call(Module.is_present, 0)
    session = host.call(probes.user_session)
    assert len(host.call(probes.sign_with, session, b"\1")) == 256
    assert not waiting.done()
    simulator.remove("front")
    assert waiting.result(10) == 0


def test_R13_finalize_releases_waiter(simulator: Simulator, host: Host) -> None:
    """With CKR_CRYPTOKI_NOT_INITIALIZED, also when C_Initialize follows at once, a thousand times."""
    arrived = threading.Semaphore(0)

    def see(entry: Entry) -> None:
        if isinstance(entry, CallEntry) and entry.name == "C_WaitForSlotEvent":
            arrived.release()

    unsubscribe = simulator.testbed.trace.subscribe(see)
    for _ in range(1000):
        waiting = host.start_rv(Module.wait_for_slot_event)
        assert arrived.acquire(timeout=10)
        host.call(lambda m: (m.finalize(), m.initialize()))
        assert waiting.result(10) == CKR.CRYPTOKI_NOT_INITIALIZED
    unsubscribe()


def test_R14_two_waiters(simulator: Simulator, host: Host) -> None:
    """Neither hangs: the event wakes one, the next event the other."""
    waiting = [host.start(Module.wait_for_slot_event) for _ in range(2)]
    wait_until_blocked(simulator)
    simulator.remove("front")
    wait(waiting, 10, FIRST_COMPLETED)
    simulator.insert("front")
    simulator.remove("front")
    assert [each.result(10) for each in waiting] == [0, 0]


def test_R15_waiting_both_ways(simulator: Simulator, host: Host) -> None:
    """The standard behaviour offers blocking and polling side by side."""
    waiting = host.start(Module.wait_for_slot_event)
    wait_until_blocked(simulator)
    assert host.rv(Module.wait_for_slot_event, block=False) == CKR.NO_EVENT
    simulator.remove("front")
    assert waiting.result(10) == 0
