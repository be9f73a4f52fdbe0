# SPDX-License-Identifier: MIT
"""What ails a card, from the command line through the control channel and the module to an application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKF, CKR

from ...shared.host import probes
from ...shared.host.host import Host


@pytest.fixture
def cardtear(simulator: Simulator) -> Callable[..., Any]:
    """Runs the command line against the simulator."""

    def run(*arguments: str) -> Any:
        command = [sys.executable, "-m", "cardtear.lab.cli.main", *arguments, "--json"]
        environment = {**os.environ, **simulator.environment}
        done = subprocess.run(command, capture_output=True, timeout=30, env=environment)
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    return run


@pytest.fixture
def names(host: Host, user_session: int) -> dict[str, int]:
    """A session and a key."""
    return {"session": user_session, "handle": host.call(probes.key, user_session, b"\1")}


def test_mute_and_reset(cardtear: Callable[..., Any], host: Host, names: dict[str, int]) -> None:
    cardtear("mute", "front")
    assert host.rv(probes.sign, **names) == CKR.DEVICE_ERROR
    assert host.call(Module.is_present, 0)
    cardtear("reset", "front")
    host.call(Module.login, names["session"])
    assert host.rv(probes.sign, **names) == CKR.OK


def test_dead_for_the_rest_of_its_life(cardtear: Callable[..., Any], host: Host, names: dict[str, int]) -> None:
    cardtear("kill", "front")
    assert host.rv(probes.sign, **names) == CKR.DEVICE_ERROR
    cardtear("remove", "front")
    assert host.rv(probes.sign, **names) == CKR.SESSION_HANDLE_INVALID
    cardtear("insert", "front")
    assert host.rv(Module.open_session, 0) == CKR.DEVICE_ERROR
    cardtear("swap", "front", "--name", "Bob")
    assert host.call(probes.user_session)


def test_the_final_try(cardtear: Callable[..., Any], host: Host, ro_session: int) -> None:
    cardtear("block-pin", "front", "--left", "1")
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_FINAL_TRY
    assert host.rv(Module.login, ro_session, "999999") == CKR.PIN_LOCKED
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_LOCKED


def test_the_reader_is_gone(cardtear: Callable[..., Any], host: Host, names: dict[str, int]) -> None:
    cardtear("unplug", "front")
    assert host.rv(probes.sign, **names) == CKR.SESSION_HANDLE_INVALID
    assert host.call(Module.slots, True) == []


def test_another_atr(cardtear: Callable[..., Any], host: Host) -> None:
    cardtear("remove", "front")
    cardtear("insert", "front", "--atr", "3B8001 81".replace(" ", ""))
    assert cardtear("status")["readers"][0]["atr"] == "3B800181"
    assert host.call(probes.user_session)


def test_another_atr_by_a_trigger(simulator: Simulator, host: Host) -> None:
    simulator.remove("front")
    simulator.arm(Trigger("insert", {"reader": "front", "atr": b"\x3b\x00"}, call="C_GetSlotList"))
    host.call(Module.slots)
    assert simulator.status()["readers"][0]["atr"] == "3B00"


def test_a_finger(cardtear: Callable[..., Any], simulator: Simulator, host: Host) -> None:
    cardtear("swap", "front", "--name", "Bob", "--set", "touch=always", "--set", "touch_timeout=0.1")
    session = host.call(probes.user_session)
    names = {"session": session, "handle": host.call(probes.key, session, b"\1")}
    assert host.rv(probes.sign, **names) == CKR.USER_NOT_LOGGED_IN
    cardtear("touch", "front")
    assert host.rv(probes.sign, **names) == CKR.OK
    cardtear("arm", "touch", "front", "--call", "C_Sign")
    assert host.rv(probes.sign, **names) == CKR.OK
    assert host.rv(probes.sign, **names) == CKR.USER_NOT_LOGGED_IN


def test_a_slow_card(simulator: Simulator, host: Host, names: dict[str, int]) -> None:
    """It answers late, all the same; and a removal does not wait for it."""
    simulator.arm(Trigger("delay", {"seconds": 0.3}, ins=0x87, when="after"))
    assert host.rv(probes.sign, **names) == CKR.OK
    slow = Trigger("delay", {"seconds": 100.0}, ins=0x87, when="after")
    simulator.arm(slow)
    signing = host.start_rv(probes.sign, **names)
    while not slow.fired:
        pass
    simulator.remove("front")
    assert signing.result(10) == CKR.DEVICE_REMOVED
