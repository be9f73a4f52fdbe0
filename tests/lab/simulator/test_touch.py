# SPDX-License-Identifier: MIT
"""Keys that want a finger on the card, as an application in another process meets them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR
from cardtear.reader.touch_sensor import TouchSensor

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
from ...shared.waiting import wait_until


@pytest.fixture
def touched(bare_simulator: Simulator, new_host: NewHost, request: pytest.FixtureRequest) -> tuple[Any, dict[str, int]]:
    """A host with a session and a key of a card whose keys want to be touched, as the test's parameters say."""
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(name="Alice", **getattr(request, "param", {"touch": "always"})))
    host = new_host(bare_simulator)
    session = host.call(probes.user_session)
    return host, {"session": session, "handle": host.call(probes.key, session, b"\1")}


def sensor_of(simulator: Simulator) -> TouchSensor:
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    return insertion.sensor


def wait_until_awaited(simulator: Simulator) -> None:
    """Until the card waits for the finger."""
    wait_until(lambda: sensor_of(simulator).is_awaited)


def test_each_signature_wants_its_touch(bare_simulator: Simulator, touched: tuple[Any, dict[str, int]]) -> None:
    host, names = touched
    for _ in range(2):
        signing = host.start(probes.sign, **names)
        wait_until_awaited(bare_simulator)
        assert host.call(Module.session_state, names["session"])  # nobody else waits
        assert not signing.done()
        bare_simulator.touch("front")
        assert len(signing.result(10)) == 256


def test_a_touch_before_counts_for_one(bare_simulator: Simulator, touched: tuple[Any, dict[str, int]]) -> None:
    host, names = touched
    bare_simulator.touch("front")
    bare_simulator.touch("front")
    assert len(host.call(probes.sign, **names)) == 256
    assert not sensor_of(bare_simulator).was_touched(0)
    signing = host.start_rv(probes.sign, **names)
    wait_until_awaited(bare_simulator)
    bare_simulator.remove("front")
    assert signing.result(10) == CKR.DEVICE_REMOVED


@pytest.mark.parametrize("touched", [{"touch": "cached"}], indirect=True)
def test_a_cached_touch_lasts(bare_simulator: Simulator, touched: tuple[Any, dict[str, int]]) -> None:
    """For more signatures, but not over a reset."""
    host, names = touched
    bare_simulator.touch("front")
    for _ in range(3):
        assert len(host.call(probes.sign, **names)) == 256
    assert sensor_of(bare_simulator).was_touched(15)
    bare_simulator.reset("front")
    assert not sensor_of(bare_simulator).was_touched(15)


@pytest.mark.parametrize("touched", [{"touch": "always", "touch_timeout": 0.2}], indirect=True)
def test_nobody_touches(touched: tuple[Any, dict[str, int]]) -> None:
    """The card refuses, and the login stays."""
    host, names = touched
    start = time.monotonic()
    assert host.rv(probes.sign, **names) == CKR.USER_NOT_LOGGED_IN
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("event", ["reset", "mute", "unplug", "crash"])
def test_the_wait_ends_with_the_power(
    bare_simulator: Simulator, touched: tuple[Any, dict[str, int]], event: str
) -> None:
    host, names = touched
    signing = host.start_rv(probes.sign, **names)
    wait_until_awaited(bare_simulator)
    if event == "crash":
        bare_simulator.crash()
    else:
        getattr(bare_simulator, event)("front")
    wanted = {"reset": CKR.USER_NOT_LOGGED_IN, "mute": CKR.DEVICE_ERROR}.get(event, CKR.DEVICE_REMOVED)
    assert signing.result(10) == wanted  # the card itself would wait for 15 seconds


def test_a_trigger_touches(bare_simulator: Simulator, touched: tuple[Any, dict[str, int]]) -> None:
    """At each GENERAL AUTHENTICATE's first link; the touch waits for the card to ask."""
    host, names = touched
    bare_simulator.arm(Trigger("touch", {"reader": "front"}, call="C_Sign", times=None))
    for _ in range(3):
        assert len(host.call(probes.sign, **names)) == 256


def test_keys_without_a_policy_want_none(simulator: Simulator, host: Host, user_session: int) -> None:
    assert len(host.call(probes.sign_with, user_session, b"\1")) == 256
    assert not sensor_of(simulator).is_awaited


@pytest.mark.parametrize("most", [0, 1, 3])
def test_most_sessions(bare_simulator: Simulator, new_host: NewHost, most: int) -> None:
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(max_sessions=most))
    host = new_host(bare_simulator)
    values = [host.rv(Module.open_session, 0) for _ in range(4)]
    assert values == [CKR.OK if not most or number < most else CKR.SESSION_COUNT for number in range(4)]


@pytest.mark.parametrize("atr", ["3B", "3B80", "3F00", "3B8F01", "00" * 33, "FF" * 33])
def test_an_atr_that_is_not_the_cards(simulator: Simulator, host: Host, atr: str) -> None:
    """What arrives is shown; the card still speaks."""
    simulator.remove("front")
    simulator.insert("front", atr=bytes.fromhex(atr))
    assert simulator.status()["readers"][0]["atr"] == atr
    session = host.call(probes.user_session)
    assert len(host.call(probes.sign_with, session, b"\1")) == 256
    simulator.swap("front", CardRequest(name="Bob"))
    assert simulator.status()["readers"][0]["atr"] != atr


@pytest.mark.parametrize("atr", [b"", bytes(34)])
def test_no_atr_is_that_long(simulator: Simulator, atr: bytes) -> None:
    simulator.remove("front")
    with pytest.raises(ValueError, match="ATR"):
        simulator.insert("front", atr=atr)
