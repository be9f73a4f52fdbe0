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
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKF, CKR

SIGN = "rv(lambda: sign(m, s, k))"


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
def names(host: Any, user_session: int) -> dict[str, int]:
    """A session and a key."""
    return {"s": user_session, "k": host.eval("key(m, s, b'\\1')", s=user_session)}


def test_mute_and_reset(cardtear: Callable[..., Any], host: Any, names: dict[str, int]) -> None:
    cardtear("mute", "front")
    assert host.eval(SIGN, **names) == CKR.DEVICE_ERROR
    assert host.eval("m.is_present(0)")
    cardtear("reset", "front")
    host.eval("m.login(s)", **names)
    assert host.eval(SIGN, **names) == CKR.OK


def test_dead_for_the_rest_of_its_life(cardtear: Callable[..., Any], host: Any, names: dict[str, int]) -> None:
    cardtear("kill", "front")
    assert host.eval(SIGN, **names) == CKR.DEVICE_ERROR
    cardtear("remove", "front")
    assert host.eval(SIGN, **names) == CKR.SESSION_HANDLE_INVALID
    cardtear("insert", "front")
    assert host.eval("rv(m.open_session, 0)") == CKR.DEVICE_ERROR
    cardtear("swap", "front", "--name", "Bob")
    assert host.eval("user_session(m)")


def test_the_final_try(cardtear: Callable[..., Any], host: Any, ro_session: int) -> None:
    cardtear("block-pin", "front", "--left", "1")
    assert host.eval("m.token_info(0)[2]") & CKF.USER_PIN_FINAL_TRY
    assert host.eval("rv(m.login, s, '999999')", s=ro_session) == CKR.PIN_LOCKED
    assert host.eval("m.token_info(0)[2]") & CKF.USER_PIN_LOCKED


def test_the_reader_is_gone(cardtear: Callable[..., Any], host: Any, names: dict[str, int]) -> None:
    cardtear("unplug", "front")
    assert host.eval(SIGN, **names) == CKR.SESSION_HANDLE_INVALID
    assert host.eval("m.slots(True)") == []


def test_another_atr(cardtear: Callable[..., Any], host: Any) -> None:
    cardtear("remove", "front")
    cardtear("insert", "front", "--atr", "3B8001 81".replace(" ", ""))
    assert cardtear("status")["readers"][0]["atr"] == "3B800181"
    assert host.eval("user_session(m)")


def test_another_atr_by_a_trigger(simulator: Simulator, host: Any) -> None:
    simulator.remove("front")
    simulator.arm(Trigger("insert", {"reader": "front", "atr": b"\x3b\x00"}, call="C_GetSlotList"))
    host.eval("m.slots()")
    assert simulator.status()["readers"][0]["atr"] == "3B00"


def test_a_finger(cardtear: Callable[..., Any], simulator: Simulator, host: Any) -> None:
    cardtear("swap", "front", "--name", "Bob", "--set", "touch=always", "--set", "touch_timeout=0.1")
    session = host.eval("user_session(m)")
    names = {"s": session, "k": host.eval("key(m, s, b'\\1')", s=session)}
    assert host.eval(SIGN, **names) == CKR.USER_NOT_LOGGED_IN
    cardtear("touch", "front")
    assert host.eval(SIGN, **names) == CKR.OK
    cardtear("arm", "touch", "front", "--call", "C_Sign")
    assert host.eval(SIGN, **names) == CKR.OK
    assert host.eval(SIGN, **names) == CKR.USER_NOT_LOGGED_IN


def test_a_slow_card(simulator: Simulator, host: Any, names: dict[str, int]) -> None:
    """It answers late, all the same; and a removal does not wait for it."""
    simulator.arm(Trigger("delay", {"seconds": 0.3}, ins=0x87, when="after"))
    assert host.eval(SIGN, **names) == CKR.OK
    slow = Trigger("delay", {"seconds": 100.0}, ins=0x87, when="after")
    simulator.arm(slow)
    signing = host.start(SIGN, **names)
    while not slow.fired:
        pass
    simulator.remove("front")
    assert signing.result(10) == CKR.DEVICE_REMOVED
