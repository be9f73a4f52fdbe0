# SPDX-License-Identifier: MIT
"""Quirks of slots, recognition and events: each misbehaves as it says, and the module without quirks does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKF, CKR

from ...shared.host import probes
from ...shared.waiting import wait_until

NewBed = Callable[..., Any]
UNKNOWN = CardRequest(profile="unrecognised")


@pytest.mark.parametrize(
    ("policy", "after_plug", "after_unplug", "after_both"),
    [
        ("keep", [0, 1], [0, 1], [0, 1]),
        ("shrink", [0, 1], [1], []),
        ("renumber", [0, 1], [0], []),
        ("fixed", [0], [0], [0]),
    ],
)
def test_slot_lists(
    new_bed: NewBed, policy: str, after_plug: list[int], after_unplug: list[int], after_both: list[int]
) -> None:
    bed = new_bed(f"slotlist_policy={policy}")
    bed.simulator.plug("back")
    assert bed.host.call(Module.slots) == after_plug
    bed.simulator.unplug("front")
    assert bed.host.call(Module.slots) == after_unplug
    bed.simulator.unplug("back")
    assert bed.host.call(Module.slots) == after_both
    gone = CKR.SLOT_ID_INVALID if 0 not in after_both else CKR.OK
    assert bed.host.rv(Module.slot_info, 0) == gone


def test_renumbered_slots_are_other_readers(new_bed: NewBed) -> None:
    bed = new_bed("slotlist_policy=renumber")
    bed.simulator.plug("back")
    bed.simulator.insert("back", CardRequest(name="Bob"))
    assert bed.host.call(lambda m: [m.slot_info(n)[0] for n in m.slots()]) == ["front", "back"]
    bed.simulator.unplug("front")
    assert bed.host.call(lambda m: [m.slot_info(n)[0] for n in m.slots()]) == ["back"]
    assert bed.host.call(lambda m: m.token_info(0)[0]) == "Bob"
    bed.simulator.plug("front")
    assert bed.host.call(lambda m: [m.slot_info(n)[0] for n in m.slots()]) == ["front", "back"]


def test_a_restless_empty_slot(new_bed: NewBed) -> None:
    bed = new_bed("slotlist_policy=restless")
    bed.simulator.plug("back")
    lists = [bed.host.call(Module.slots) for _ in range(4)]
    assert all(each[0] == 0 for each in lists)
    assert len({each[1] for each in lists}) == 4


def test_a_late_slot(new_bed: NewBed) -> None:
    bed = new_bed("slotlist_policy=late")
    bed.simulator.plug("back")
    assert [bed.host.call(Module.slots) for _ in range(3)] == [[0], [0, 1], [0, 1]]


def test_slot_info(new_bed: NewBed) -> None:
    bed = new_bed("slotinfo_rv=CKR_DEVICE_ERROR", "unplugged_rv=CKR_TOKEN_NOT_PRESENT")
    assert bed.host.rv(Module.slot_info, 0) == CKR.OK
    bed.simulator.remove("front")
    assert bed.host.rv(Module.slot_info, 0) == CKR.DEVICE_ERROR
    bed.simulator.unplug("front")
    assert bed.host.rv(Module.slot_info, 0) == CKR.TOKEN_NOT_PRESENT


def test_flags_of_slots(new_bed: NewBed) -> None:
    bed = new_bed("removable=false", "hw_slot=false")
    assert bed.host.call(lambda m: m.slot_info(0)[1]) == CKF.TOKEN_PRESENT
    bed = new_bed("presence_flaps")
    assert [bed.host.call(Module.is_present, 0) for _ in range(4)] == [False, True, False, True]


@pytest.mark.parametrize("quirk", ["", "tokeninfo_rv=CKR_TOKEN_NOT_PRESENT"])
def test_unrecognised_card(new_bed: NewBed, quirk: str) -> None:
    bed = new_bed(*filter(None, [quirk]))
    bed.simulator.swap("front", UNKNOWN)
    value = CKR.TOKEN_NOT_PRESENT if quirk else CKR.TOKEN_NOT_RECOGNIZED
    assert bed.host.rv(Module.token_info, 0) == bed.host.rv(Module.open_session, 0) == value
    assert bed.host.call(Module.is_present, 0)


def test_recognition_that_takes_time_or_tries(new_bed: NewBed) -> None:
    bed = new_bed("recognition_failures=2", "recognition_rv=CKR_TOKEN_NOT_PRESENT")
    bed.again()
    values = [bed.host.rv(Module.token_info, 0) for _ in range(3)]
    assert values == [CKR.TOKEN_NOT_PRESENT, CKR.TOKEN_NOT_PRESENT, CKR.OK]
    bed = new_bed("recognition_delay=0.5")
    bed.again()
    assert bed.host.rv(Module.token_info, 0) == CKR.TOKEN_NOT_RECOGNIZED
    wait_until(lambda: bed.host.rv(Module.token_info, 0) == CKR.OK)


@pytest.mark.parametrize(
    ("mode", "polled", "waited"),
    [
        ("notsupp", CKR.FUNCTION_NOT_SUPPORTED, CKR.FUNCTION_NOT_SUPPORTED),
        ("dontblock", CKR.NO_EVENT, CKR.FUNCTION_NOT_SUPPORTED),
        ("error", CKR.GENERAL_ERROR, CKR.GENERAL_ERROR),
        ("no_event", CKR.NO_EVENT, CKR.NO_EVENT),
    ],
)
def test_waiting_that_is_not_offered(new_bed: NewBed, mode: str, polled: int, waited: int) -> None:
    bed = new_bed(f"wfse_mode={mode}")
    assert bed.host.rv(Module.wait_for_slot_event, False) == polled
    assert bed.host.rv(Module.wait_for_slot_event) == waited
    bed.again()
    assert bed.host.rv(Module.wait_for_slot_event, False) == (CKR.OK if mode == "dontblock" else polled)


def test_a_deaf_waiter_ends_with_finalize(new_bed: NewBed) -> None:
    bed = new_bed("wfse_mode=deaf")
    waiting = bed.host.start_rv(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    bed.again()
    assert bed.host.call(Module.is_present, 0)
    assert not waiting.done()
    bed.host.call(Module.finalize)
    assert waiting.result(10) == CKR.CRYPTOKI_NOT_INITIALIZED


def test_events_by_the_clock(new_bed: NewBed) -> None:
    bed = new_bed("wfse_mode=ticking")
    seen = [(bed.host.call(Module.wait_for_slot_event), bed.host.call(Module.is_present, 0)) for _ in range(4)]
    assert seen == [(0, False), (0, True), (0, False), (0, True)]


@pytest.mark.parametrize(
    ("quirk", "lost"),
    [
        ("", set()),
        ("event_drop=insert", {"insert"}),
        ("event_drop=remove", {"remove"}),
        ("event_drop=unplug", {"unplug"}),
        ("event_drop=plug", {"plug"}),
        ("event_drop=unrecognised", {"unrecognised"}),
    ],
)
def test_events_that_do_not_come(new_bed: NewBed, quirk: str, lost: set[str]) -> None:
    bed = new_bed(*filter(None, [quirk]))
    simulator = bed.simulator
    steps: dict[str, Callable[[], Any]] = {
        "remove": lambda: simulator.remove("front"),
        "insert": lambda: simulator.insert("front"),
        "unplug": lambda: simulator.unplug("front"),
        "plug": lambda: simulator.plug("front"),
        "unrecognised": lambda: simulator.insert("front", UNKNOWN),
    }
    for name, step in steps.items():
        step()
        kind = "insert" if name == "unrecognised" and "insert" in lost else name
        assert bed.host.call(probes.events) == ([] if kind in lost else [0]), name


def test_an_unknown_card_wakes_nobody(new_bed: NewBed) -> None:
    bed = new_bed("event_drop=unrecognised")
    bed.simulator.remove("front")
    bed.host.call(probes.events)
    waiting = bed.host.start(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    bed.simulator.insert("front", UNKNOWN)
    assert bed.host.call(Module.is_present, 0)
    assert not waiting.done()
    bed.simulator.remove("front")
    assert waiting.result(10) == 0


def test_events_are_lost_by_chance_and_always_the_same(new_bed: NewBed) -> None:
    def seen() -> list[bool]:
        bed = new_bed("event_loss=0.5")
        found = []
        for _ in range(12):
            bed.simulator.reset("front")
            card = bed.simulator.remove("front")
            found.append(bool(bed.host.call(probes.events)))
            bed.simulator.insert("front", card)
            bed.host.call(probes.events)
        return found

    first = seen()
    assert first == seen()
    assert set(first) == {True, False}


def test_events_that_come_twice_or_for_ever(new_bed: NewBed) -> None:
    bed = new_bed("event_dup")
    bed.simulator.remove("front")
    assert bed.host.call(probes.events) == [0, 0]
    bed = new_bed("event_stuck")
    bed.again()
    assert [bed.host.call(Module.wait_for_slot_event, False) for _ in range(20)] == [0] * 20
    slow = new_bed("event_stuck")
    card = slow.simulator.remove("front")
    assert slow.host.call(probes.events) == [0]
    slow.simulator.insert("front", card)
    assert slow.host.call(probes.events) == [0]


def test_events_until_a_reader_comes(new_bed: NewBed) -> None:
    bed = new_bed("event_held=until-reader")
    bed.again()
    assert bed.host.call(probes.events) == []
    bed.simulator.plug("back")
    assert bed.host.call(probes.events) == [0, 1]


def test_events_until_the_login(new_bed: NewBed) -> None:
    """The card goes between C_OpenSession and C_Login."""
    bed = new_bed("event_held=until-login")
    session = bed.host.call(Module.open_session, 0)
    waiting = bed.host.start(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    bed.simulator.remove("front")
    assert not bed.host.call(Module.is_present, 0)
    assert not waiting.done()
    assert bed.host.rv(Module.login, session) == CKR.SESSION_HANDLE_INVALID
    assert waiting.result(10) == 0


def test_calls_that_eat_events(new_bed: NewBed) -> None:
    bed = new_bed("event_eaters=C_GetSlotInfo")
    bed.again()
    bed.host.call(Module.slots)
    bed.host.call(Module.slot_info, 0)
    assert bed.host.call(probes.events) == []
    bed = new_bed("event_eaters=C_GetSlotList")
    bed.again()
    bed.host.call(Module.slot_info, 0)
    bed.host.call(Module.slots)
    assert bed.host.call(probes.events) == []


@pytest.mark.parametrize(
    ("value", "present", "after_removal", "after_both"),
    [
        ("right", [0], [], []),
        ("seen", [0], [0], [0]),
        ("blind", [], [], []),
        ("late", [0], [0], []),
    ],
)
def test_slots_with_a_token_that_have_none_or_lack_one(
    new_bed: NewBed, value: str, present: list[int], after_removal: list[int], after_both: list[int]
) -> None:
    """C_GetSlotList(TRUE) contradicts C_GetSlotInfo, which is right; length and list agree with each other."""
    bed = new_bed(f"slotlist_present={value}")
    assert bed.host.call(Module.slots, True) == present
    assert bed.host.call(Module.slots) == [0]
    assert bed.host.call(probes.flags_of, 0) & CKF.TOKEN_PRESENT
    bed.simulator.remove("front")
    assert bed.host.call(Module.slots, True) == after_removal
    assert not bed.host.call(probes.flags_of, 0) & CKF.TOKEN_PRESENT
    assert bed.host.call(Module.slots, True) == after_both
