# SPDX-License-Identifier: MIT
"""The command line of triggers: what can be said with words can be armed, and `status` says it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.csrc.generate import BY_HAND
from cardtear.lab.cli import triggers as commands
from cardtear.lab.cli.main import app
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.verbs import FAULTS, Use, usable
from cardtear.p11.calls import BY_NAME, IN_MODULE
from cardtear.p11.constants import CKR
from typer.testing import CliRunner, Result

from ...shared.host.host import Host
from ...shared.waiting import wait_until

Cardtear = Callable[..., Result]


@pytest.fixture
def cardtear(simulator: Simulator) -> Cardtear:
    """The command line in this process, with `simulator`."""

    def run(*arguments: str) -> Result:
        return CliRunner(env=simulator.environment).invoke(app, list(arguments))

    return run


CALL, APDU = ("--call", "C_Sign"), ("--ins", "87", "--after")

ARMED: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = [
    (("remove", "front", *CALL), {"call": "C_Sign"}, {"do": "remove", "reader": "front"}),
    (
        ("unplug", "front", "--call", "C_Find*", "--during", "--application", "ssh", "--thread", "2"),
        {"call": "C_Find*", "when": "during", "application": "ssh", "thread": 2},
        {"do": "unplug", "reader": "front"},
    ),
    (
        ("answer", "6F00", "0102", "--ins", "87", "--slot", "9C", "--link", "2", "--reader", "front", *CALL),
        {"ins": "87", "slot": "9C", "link": 2, "reader": "front", "call": "C_Sign"},
        {"do": "answer", "status": "6F00"},
    ),
    (("mute", "front", "--apdu"), {"ins": None}, {"do": "mute", "reader": "front"}),
    (
        ("return", "CKR_DEVICE_ERROR", *CALL, "--after", "--nth", "3", "--times", "2"),
        {"call": "C_Sign", "when": "after", "nth": 3, "times": 2},
        {"do": "return", "value": "CKR_DEVICE_ERROR"},
    ),
    (("return", "0x80000001", *CALL), {"call": "C_Sign"}, {"do": "return", "value": 0x80000001}),
    (
        ("delay", "0.5", *CALL, "--times", "always", "--probability", "0.5", "--seed", "7"),
        {"call": "C_Sign", "times": None, "probability": 0.5, "seed": 7},
        {"do": "delay", "seconds": 0.5},
    ),
    (("hang", *CALL), {"call": "C_Sign"}, {"do": "hang"}),
    (("hang", "gate", *CALL), {"call": "C_Sign"}, {"do": "hang", "gate": "gate"}),
    (("garble", "2", "5", *APDU), {"ins": "87", "when": "after"}, {"do": "garble", "count": 2, "seed": 5}),
    (("cut", "1", *APDU), {"ins": "87", "when": "after"}, {"do": "cut", "length": 1}),
    (("crash-application", *CALL), {"call": "C_Sign"}, {"do": "crash-application"}),
    (("crash", "--event", "reset"), {"event": "reset"}, {"do": "crash"}),
    (("restart", "--signal", "word"), {"signal": "word"}, {"do": "restart"}),
    (("release", "gate", "--seconds", "1000"), {"seconds": 1000.0}, {"do": "release", "gate": "gate"}),
    (("reset", "front", "--signal", "word"), {"signal": "word"}, {"do": "reset", "reader": "front"}),
    (("logout", "front", "--signal", "word"), {"signal": "word"}, {"do": "logout", "reader": "front"}),
    (("kill", "front", "--signal", "word"), {"signal": "word"}, {"do": "kill", "reader": "front"}),
    (("plug", "back", "--signal", "word"), {"signal": "word"}, {"do": "plug", "reader": "back"}),
    (
        ("block-pin", "front", "1", "true", "--signal", "word"),
        {"signal": "word"},
        {"do": "block-pin", "reader": "front", "left": 1, "puk": True},
    ),
    (("pin-pad", "front", "123456", "--signal", "word"), {"signal": "word"}, {"do": "pin-pad", "reader": "front"}),
    (("swap", "front", "--name", "Eve", "--event", "remove"), {"event": "remove"}, {"do": "swap", "reader": "front"}),
    (
        ("insert", "front", "--pin", "654321", "--event", "remove", "--later", "2"),
        {"event": "remove"},
        {"do": "later", "seconds": 2.0, "then": {"do": "insert", "reader": "front"}},
    ),
]


@pytest.mark.parametrize(
    ("words", "on", "then"), ARMED, ids=lambda value: " ".join(value) if type(value) is tuple else ""
)
def test_armed(cardtear: Cardtear, words: tuple[str, ...], on: dict[str, Any], then: dict[str, Any]) -> None:
    """`status` says what is armed in the control channel's own words, without PINs and cards."""
    armed = cardtear("arm", *words, "--json")
    assert armed.exit_code == 0, armed.output
    number = json.loads(armed.stdout)["trigger"]
    (found,) = json.loads(cardtear("status", "--json").stdout)["triggers"]
    assert found == {"trigger": number, "on": on, "then": then, "seen": 0, "fired": 0}
    shown = cardtear("status").stdout
    assert then["do"] in shown.partition("trigger")[2]
    assert cardtear("disarm", str(number)).stdout == f"disarmed: {number}\n"
    assert json.loads(cardtear("status", "--json").stdout)["triggers"] == []


def test_every_action_has_its_words() -> None:
    """What a trigger can do is what `arm` can say; `later` is an option."""
    assert {*commands.WORDS} == {*usable(Use.ARM), *FAULTS} - {"later"}


def test_functions_that_the_module_answers() -> None:
    assert {*IN_MODULE} == {*BY_HAND} - {*BY_NAME}


def test_what_is_armed_happens(cardtear: Cardtear, host: Host, user_session: int) -> None:
    cardtear("arm", "return", "CKR_DEVICE_ERROR", "--call", "C_GetSessionInfo")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the host's own, by its value
        host.call(Module.session_state, user_session)
    assert caught.value.value == CKR.DEVICE_ERROR  # type: ignore[attr-defined]
    cardtear("arm", "unplug", "front", "--signal", "go")
    assert cardtear("signal", "stop").exit_code == 1
    assert host.call(Module.is_present, 0)
    assert json.loads(cardtear("signal", "go", "--json").stdout) == {"heard": 1}
    assert not host.call(Module.is_present, 0)


FAILS = [
    (("remove", "front"), "reader 'front' holds no card"),
    (("swap", "back"), "no reader 'back' is plugged in"),
    (("insert", "back"), "no reader 'back' is plugged in"),
    (("mute", "front"), "reader 'front' holds no card"),
    (("plug", "front"), "a reader 'front' is plugged in already"),
]


@pytest.mark.parametrize(("words", "problem"), FAILS, ids=lambda value: value[0] if type(value) is tuple else "")
def test_what_is_armed_fails(cardtear: Cardtear, simulator: Simulator, words: tuple[str, ...], problem: str) -> None:
    """`signal` says so in all its answers, and `status` for as long as the trigger is armed."""
    simulator.plug("back")
    assert cardtear("arm", *words, "--signal", "go", "--times", "3").exit_code == 0
    assert cardtear("arm", "logout", "front", "--signal", "other").exit_code == 0
    simulator.remove("front")
    simulator.unplug("back")
    told = cardtear("signal", "go")
    assert (told.exit_code, told.stdout) == (1, "said: go\n")
    assert f"cardtear: trigger 1: {words[0]} failed: {problem}" in told.stderr
    answer = cardtear("signal", "go", "--json")
    result = json.loads(answer.stdout)
    (failure,) = result["failed"]
    assert (answer.exit_code, result["heard"], failure["trigger"], failure["do"]) == (1, 1, 1, words[0])
    assert problem in failure["problem"]
    found, other = json.loads(cardtear("status", "--json").stdout)["triggers"]
    assert (found["fired"], found["failed"], found["problem"]) == (2, 2, failure["problem"])
    assert "failed" not in other
    assert f"2, 2 failed: {problem}" in cardtear("status").stdout


def test_what_is_armed_for_an_event_fails(cardtear: Cardtear, simulator: Simulator) -> None:
    """`status` says so, too, where nobody waits for an answer."""
    assert cardtear("arm", "remove", "front", "--event", "remove", "--times", "always").exit_code == 0
    simulator.remove("front")

    def trigger() -> Any:
        return json.loads(cardtear("status", "--json").stdout)["triggers"][0]

    wait_until(lambda: "failed" in trigger())
    found = trigger()
    assert (found["fired"], found["failed"]) == (1, 1)


def test_a_call_hangs_until_it_is_released(
    cardtear: Cardtear, simulator: Simulator, host: Host, ro_session: int
) -> None:
    cardtear("arm", "hang", "gate", "--call", "C_GetSessionInfo", "--times", "2")
    hanging = host.start(Module.session_state, ro_session)
    while not json.loads(cardtear("status", "--json").stdout)["triggers"][0]["fired"]:
        assert not hanging.done()
    assert cardtear("release", "another").exit_code == 1
    assert not hanging.done()
    assert cardtear("release", "gate").exit_code == 0
    assert hanging.result(10) == 0


def test_verbs_for_what_ails_a_card(cardtear: Cardtear, host: Host, user_session: int) -> None:
    assert cardtear("logout", "front").stdout == "nobody is logged in to the card in front\n"
    assert host.call(Module.session_state, user_session) == 0
    assert cardtear("block-pin", "front", "--left", "1").stdout == "the PIN of the card in front has 1 try left\n"
    assert host.call(Module.slots) == [0]
    assert cardtear("crash").exit_code == 0
    assert not host.call(Module.is_present, 0)
    assert cardtear("restart").stdout == "the simulator is there again\n"
    assert host.call(Module.is_present, 0)
    assert cardtear("mute", "front").stdout == "the card in front is mute\n"
    assert cardtear("kill", "front").stdout == "the card in front is dead\n"
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the host's own, by its value
        host.call(Module.open_session, 0)
    assert caught.value.value == CKR.DEVICE_ERROR  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explode", "front", *CALL), "there is no action 'explode'"),
        (("remove", "front"), "--call, --ins"),
        (("remove", *CALL), "'remove' needs 'reader'"),
        (("remove", "front", "back", *CALL), "leave out 'back'"),
        (("remove", "front", *CALL, "--before", "--after"), "two moments"),
        (("remove", "front", "--call", "C_Sing"), "there is no call 'C_Sing'"),
        (("remove", "front", "--call", "C_GetInfo"), "'C_GetInfo' is answered in the module itself"),
        (("remove", "front", "--call", "C_Initialize"), "'C_Initialize' is answered in the module itself"),
        (("remove", "front", "--call", "C_GetInterface*"), "'C_GetInterface*' is answered in the module itself"),
        (("delay", "1e999", *CALL), "SECONDS of 'delay' cannot be inf"),
        (("delay", "0", *CALL), "'delay' of no time does nothing"),
        (("delay", "nan", *CALL), "SECONDS of 'delay' cannot be nan"),
        (("delay", "1e999ms", *CALL), "SECONDS of 'delay' cannot be inf"),
        (("remove", "front", "--seconds", "1e999"), "--seconds cannot be inf"),
        (("remove", "front", *CALL, "--later", "1e999"), "--later cannot be inf"),
        (("remove", "front", *CALL, "--probability", "nan"), "--probability cannot be nan"),
        (("remove", "front", *CALL, "--times", "never"), "'always', not 'never'"),
        (("remove", "front", *CALL, "--nth", "0"), "'nth' counts from 1"),
        (("remove", "front", *CALL, "--event", "remove"), "does not go with"),
        (("remove", "front", "--ins", "8X"), "two hexadecimal digits are wanted, not '8X'"),
        (("cut", "short", *APDU), "LENGTH of 'cut' is a number, not 'short'"),
        (("return", "CKR_ODD", *CALL), "there is no return value 'CKR_ODD'"),
        (("answer", "9000", *CALL), "'answer' is no fault of a call"),
        (("answer", *APDU), "'answer' needs 'status'"),
        (("hang", "--event", "remove"), "its moment is neither"),
        (("insert", "front", "--image", "/nowhere.card", *CALL), "/nowhere.card"),
        (("insert", "front", "--pin", "1", *CALL), "6 to 8 digits"),
    ],
)
def test_what_cannot_be_armed(cardtear: Cardtear, words: tuple[str, ...], told: str) -> None:
    """One clear line, and nothing is armed."""
    refused = cardtear("arm", *words)
    assert refused.exit_code in (1, 2)
    assert refused.stdout == ""
    assert refused.stderr.startswith("cardtear: ")
    assert refused.stderr.count("\n") == 1
    assert told in refused.stderr
    as_json = cardtear("arm", *words, "--json")
    assert told in json.loads(as_json.stdout)["error"]["message"]
    assert json.loads(cardtear("status", "--json").stdout)["triggers"] == []
