# SPDX-License-Identifier: MIT
"""Triggers and faults, as an application in another process meets them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.lab.simulator.verbs import Request
from cardtear.p11.constants import CKR
from cardtear.reader.trace import EventEntry

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
from ...shared.waiting import wait_until

FRONT = {"reader": "front"}


def sign(m: Module, s: int) -> Any:
    return probes.sign(m, s, probes.key(m, s, b"\1"))


def failure(call: Callable[[], Any]) -> int | None:
    """The CK_RV with which an evaluation in a host fails, or None."""
    try:
        call()
    except Exception as error:
        value: int | None = getattr(error, "value", None)
        if value is None:
            raise
        return value
    return None


@pytest.mark.parametrize(
    ("when", "value"),
    [("before", CKR.SESSION_HANDLE_INVALID), ("during", CKR.DEVICE_REMOVED), ("after", None)],
)
def test_a_call_before_during_after(simulator: Simulator, host: Host, user_session: int, when: str, value: int) -> None:
    simulator.arm(Trigger("remove", FRONT, call="C_SetPIN", when=when))
    session = host.call(Module.open_session, 0, True)
    assert failure(lambda: host.call(Module.set_pin, session, "123456", "654321")) == value
    assert failure(lambda: host.call(Module.session_state, session)) == CKR.SESSION_HANDLE_INVALID


def test_during_a_call_that_waits(simulator: Simulator, host: Host) -> None:
    """The waiter is woken by what its own waiting has triggered."""
    trigger = Trigger("remove", FRONT, call="C_WaitForSlotEvent", when="during")
    simulator.arm(trigger)
    assert host.call(Module.wait_for_slot_event) == 0
    assert trigger.fired == 1


def test_return_values_before_and_after(simulator: Simulator, host: Host, ro_session: int) -> None:
    for when in ("before", "after"):
        simulator.arm(Trigger("return", {"value": CKR.DEVICE_ERROR}, call="C_GetSessionInfo", when=when))
        assert failure(lambda: host.call(Module.session_state, ro_session)) == CKR.DEVICE_ERROR
        assert failure(lambda: host.call(Module.session_state, ro_session)) is None


@pytest.mark.parametrize(
    ("verb", "arguments", "when"),
    [
        ("answer", {"status": 0x6F00}, "before"),
        ("answer", {"status": 0x6F00}, "after"),
        ("cut", {"length": 1}, "after"),
        ("cut", {}, "after"),
        ("mute", FRONT, "before"),
    ],
)
def test_a_wire_that_fails(
    simulator: Simulator, host: Host, user_session: int, verb: str, arguments: dict[str, Any], when: str
) -> None:
    host.call(Module.logout, user_session)
    simulator.arm(Trigger(verb, arguments, ins=0x20, when=when))
    assert failure(lambda: host.call(Module.login, user_session)) == CKR.DEVICE_ERROR
    simulator.reset("front")
    host.call(Module.login, user_session)


def test_a_mute_card_answers_after_a_reset_and_a_dead_one_never(simulator: Simulator, host: Host) -> None:
    simulator.mute("front")
    assert failure(lambda: host.call(Module.open_session, 0)) == CKR.DEVICE_ERROR
    simulator.reset("front")
    assert failure(lambda: host.call(Module.open_session, 0)) is None
    simulator.kill("front")
    card = simulator.remove("front")
    simulator.insert("front", card)
    assert failure(lambda: host.call(Module.open_session, 0)) == CKR.DEVICE_ERROR


def test_times_and_chance(simulator: Simulator, host: Host, ro_session: int) -> None:
    """The same seed gives the same moments."""

    def failures(seed: int) -> list[bool]:
        trigger = Trigger(
            "return",
            {"value": CKR.DEVICE_ERROR},
            call="C_GetSessionInfo",
            times=None,
            probability=0.5,
            seed=seed,
        )
        number = simulator.arm(trigger)
        found = [failure(lambda: host.call(Module.session_state, ro_session)) is not None for _ in range(24)]
        simulator.disarm(number)
        assert trigger.fired == sum(found)
        return found

    assert failures(1) == failures(1) != failures(2)
    simulator.arm(Trigger("return", {"value": CKR.DEVICE_ERROR}, call="C_GetSessionInfo", nth=2, times=2))
    found = [failure(lambda: host.call(Module.session_state, ro_session)) for _ in range(4)]
    assert found == [None, CKR.DEVICE_ERROR, CKR.DEVICE_ERROR, None]


def test_a_hanging_call_goes_on_when_it_is_released(simulator: Simulator, host: Host, ro_session: int) -> None:
    trigger = Trigger("hang", {"gate": "g"}, call="C_GetSessionInfo")
    simulator.arm(trigger)
    hanging = host.start(Module.session_state, ro_session)
    wait_until(lambda: trigger.fired)
    assert not hanging.done()
    assert host.call(Module.is_present, 0)
    simulator.release("g")
    assert hanging.result(10) == 0


def test_a_card_that_hangs_can_be_pulled(simulator: Simulator, host: Host, user_session: int) -> None:
    trigger = Trigger("hang", ins=0x87, when="after")
    simulator.arm(trigger)
    hanging = host.start(sign, s=user_session)
    wait_until(lambda: trigger.fired)
    simulator.remove("front")
    assert failure(lambda: hanging.result(10)) == CKR.DEVICE_REMOVED


def test_an_application_that_dies_while_its_call_hangs(simulator: Simulator, new_host: NewHost) -> None:
    trigger = Trigger("hang", call="C_GetSlotList")
    simulator.arm(trigger)
    host = new_host(simulator)
    host.start(Module.slots)
    wait_until(lambda: trigger.fired)
    host.kill()
    wait_until(lambda: not simulator.status()["applications"])


def test_events_signals_and_time(simulator: Simulator, host: Host) -> None:
    simulator.arm(Trigger("later", {"seconds": 0.01, "then": Request("insert", FRONT)}, event="remove"))
    simulator.arm(Trigger("remove", FRONT, signal="now"))
    simulator.signal("not now")
    assert host.call(Module.is_present, 0)
    simulator.signal("now")
    wait_until(lambda: host.call(Module.is_present, 0))
    changes = [entry.change for entry in simulator.testbed.trace.entries() if isinstance(entry, EventEntry)]
    assert changes[-2:] == ["remove", "insert"]
    assert host.call(Module.wait_for_slot_event) == 0
    simulator.arm(Trigger("remove", FRONT, seconds=0.01))
    assert host.call(Module.wait_for_slot_event) == 0
    assert simulator.status()["triggers"] == []


def test_a_crash_is_a_removal_until_the_restart(simulator: Simulator, host: Host, user_session: int) -> None:
    assert host.call(Module.slots) == [0]
    simulator.arm(Trigger("crash", call="C_SignInit"))
    assert failure(lambda: host.call(sign, s=user_session)) == CKR.DEVICE_REMOVED
    assert not host.call(Module.is_present, 0)
    assert failure(lambda: host.call(Module.session_state, user_session)) == CKR.SESSION_HANDLE_INVALID
    simulator.restart()
    again = host.call(probes.user_session)
    assert host.call(sign, s=again)


def test_somebody_else_logs_out_and_spoils_tries(simulator: Simulator, host: Host, user_session: int) -> None:
    simulator.logout("front")
    assert host.call(Module.session_state, user_session) == 0
    host.call(Module.login, user_session)
    simulator.block_pin("front", left=1)
    assert host.call(Module.session_state, user_session) == 0
    assert failure(lambda: host.call(Module.login, user_session, "000000")) == CKR.PIN_LOCKED
    assert failure(lambda: host.call(Module.login, user_session)) == CKR.PIN_LOCKED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"verb": "garble", "ins": 0x87}, "after"),
        ({"verb": "return", "arguments": {"value": 1}, "ins": 0x87}, "no fault of an APDU"),
        ({"verb": "answer", "call": "C_Sign"}, "no fault of a call"),
        ({"verb": "answer", "ins": 0x87}, "'status'"),
        ({"verb": "answer", "arguments": {"status": 0x9000, "colour": 1}, "ins": 0x87}, "'colour'"),
        ({"verb": "hang", "event": "remove"}, "neither"),
        ({"verb": "remove", "call": "C_Sign", "probability": 0}, "probability"),
        ({"verb": "remove", "event": "explode"}, "explode"),
    ],
)
def test_what_can_never_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Trigger(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Trigger("remove", {"readr": "front"}, call="C_Sign"),
            "'remove' does not take 'readr'; did you mean 'reader'? it takes 'reader'",
        ),
        (lambda: Trigger("remove", {}, call="C_Sign"), "'remove' needs 'reader'"),
        (
            lambda: Trigger("crash", {"reader": "front"}, call="C_Sign"),
            "'crash' does not take 'reader'; it takes nothing",
        ),
        (
            lambda: _later(Request("remove", {"readr": "front"})),
            "'remove' does not take 'readr'; did you mean 'reader'?",
        ),
        (lambda: _later(None), "'then' of 'later' is a Request"),
        (lambda: Trigger("delay", {"seconds": -1}, call="C_Sign"), "'seconds' of 'delay' is 0 to 1000000, not -1"),
        (
            lambda: Trigger("delay", {"seconds": math.nan}, call="C_Sign"),
            "'seconds' of 'delay' is 0 to 1000000, not nan",
        ),
        (lambda: Trigger("delay", {"seconds": "1"}, call="C_Sign"), "'seconds' of 'delay' is 0 to 1000000, not '1'"),
        (lambda: Trigger("remove", {"reader": "front"}, ins="87"), "'ins' is a number here, as 0x87, not '87'"),  # type: ignore[arg-type]
        (
            lambda: Trigger("remove", {"reader": "front"}, call="C_Sign", nth=1.5),  # type: ignore[arg-type]
            "'nth' counts from 1, it cannot be 1.5",
        ),
        (lambda: Trigger("remove", {"reader": "front"}, call="C_Sign", times="2"), "'times' counts from 1"),  # type: ignore[arg-type]
        (lambda: Trigger("remove", {"reader": "front"}, cal="C_Sign"), "'seconds', not by 'cal'"),  # type: ignore[call-arg]
        (lambda: Trigger("remove", {"reader": "front"}, call=3), "'call' and what goes with it: a wrong type in"),  # type: ignore[arg-type]
    ],
)
def test_what_only_python_can_arm_wrongly(simulator: Simulator, make: Callable[[], Trigger], message: str) -> None:
    """It is refused when it is armed, and not found out by the thread that should carry it out."""
    with pytest.raises(ValueError, match=re.escape(message)):
        simulator.arm(make())


def _later(then: Any) -> Trigger:
    return Trigger("later", {"seconds": 1, "then": then}, call="C_Sign")


@pytest.mark.parametrize("card", ["alice.card", {"name": "Bob"}, 3])
def test_what_is_no_card(simulator: Simulator, card: Any) -> None:
    for put in (simulator.swap, simulator.insert):
        with pytest.raises(ValueError, match="a card is a Path, an EncryptedImage, a CardRequest or a Card, not"):
            put("front", card)
    assert simulator.status()["readers"][0]["card"] == "Alice"
