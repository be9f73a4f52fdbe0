# SPDX-License-Identifier: MIT
"""What can happen at a point, and what is no point."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.sweep import points
from cardtear.lab.sweep.outcome import Verdict, tell
from cardtear.lab.sweep.plan import Action, Then
from cardtear.reader.trace import Entry, EventEntry

from ...shared.waiting import take_time

SIGN = "host#1:1/C_Sign#1"


@pytest.mark.parametrize(
    ("action", "name", "words"),
    [
        ("reset", f"{SIGN}@before", "CKR_USER_NOT_LOGGED_IN"),
        ("logout", f"{SIGN}@before", "CKR_USER_NOT_LOGGED_IN"),
        ("close-sessions", f"{SIGN}@before", "CKR_SESSION_HANDLE_INVALID"),
        ("swap", f"{SIGN}@before", "CKR_SESSION_HANDLE_INVALID"),
        ("unplug", "host#1:1/C_Login#1@before", "C_Login CKR_"),
        ("mute", f"{SIGN}/apdu#2@before", "C_Sign CKR_DEVICE_"),
        ("sw:6F00", f"{SIGN}/apdu#2@before", "C_Sign CKR_"),
        ("garble", "host#1:1/C_Login#1/apdu#1@after", "C_Login CKR_"),
        ("cut:1", f"{SIGN}/apdu#3@after", "C_Sign CKR_"),
        ("rv:CKR_HOST_MEMORY", f"{SIGN}@before", "C_Sign CKR_HOST_MEMORY"),
        ("rv:CKR_HOST_MEMORY", f"{SIGN}@after", "C_Sign CKR_HOST_MEMORY"),
        ("remove", f"{SIGN}@during", "C_Sign CKR_DEVICE_REMOVED"),
        ("remove", f"{SIGN}/apdu#1@after", "C_Sign CKR_DEVICE_REMOVED"),
    ],
)
def test_actions(play: Callable[..., Any], action: str, name: str, words: str) -> None:
    """An error of the call that it is at, and the command works again afterwards."""
    outcome = play(action, name)
    assert outcome.verdict is Verdict.CLEAN, outcome
    assert words in tell(outcome)
    assert outcome.again.code == 0


def test_delay(play: Callable[..., Any]) -> None:
    """It takes longer, that is all."""
    outcome = play("delay:300ms", f"{SIGN}@before")
    assert outcome.verdict is Verdict.SUCCESS
    assert outcome.run.ended.seconds > 0.3


@pytest.mark.parametrize(
    ("action", "then", "changes"),
    [
        ("remove", ["insert:10ms"], ["remove", "insert"]),
        ("unplug", ["plug:10ms", "insert:20ms"], ["remove", "unplug", "plug", "insert"]),
    ],
)
def test_card_comes_back(play: Callable[..., Any], host: str, action: str, then: list[str], changes: list[str]) -> None:
    """While the program still runs, which has waited for it, gives the PIN once more, as it must, and succeeds."""
    seen: list[Entry] = []
    outcome = play(
        action, f"{SIGN}@before", *then, watch=lambda trace: trace.subscribe(seen.append), command=(host, "patient")
    )
    assert [each["change"] for each in outcome.records if each["kind"] == "event"][-len(changes) :] == changes
    assert [each.change for each in seen if isinstance(each, EventEntry)] == changes
    assert outcome.run.ended.code == 0
    assert (outcome.verdict, outcome.logins, outcome.verifies) == (Verdict.SUCCESS, 0, 0)


def test_a_pin_at_another_card(play: Callable[..., Any], host: str) -> None:
    """Whoever finds another card in the reader must not give it the PIN of the first."""
    outcome = play("swap", f"{SIGN}@before", command=(host, "patient"))
    assert outcome.verdict is Verdict.RETRIED
    assert (outcome.run.strange, outcome.logins) == (1, 0)
    assert "1 PIN at another card" in tell(outcome)


@pytest.mark.parametrize("place", ["C_OpenSession#1", "C_Login#1", "C_SignInit#1", "C_Sign#1"])
@pytest.mark.parametrize(("action", "then"), [("remove", ["insert:5ms"]), ("unplug", ["plug:5ms", "insert:10ms"])])
def test_a_right_recovery_is_a_success(
    play: Callable[..., Any], host: str, action: str, then: list[str], place: str
) -> None:
    """Wherever the card was pulled, a login after it is needed."""
    outcome = play(action, f"host#1:1/{place}@before", *then, command=(host, "patient"))
    assert (outcome.verdict, outcome.run.ended.code) == (Verdict.SUCCESS, 0), outcome


@pytest.mark.parametrize(
    ("action", "then"), [("remove", ["insert"]), ("unplug", ["plug", "insert:5ms"]), ("mute", ["reset:1ms"])]
)
def test_what_follows_comes_after_a_slow_action(
    play: Callable[..., Any], host: str, monkeypatch: pytest.MonkeyPatch, action: str, then: list[str]
) -> None:
    """A card that is put back before it is pulled would stay away."""
    real = getattr(Simulator, action)

    def slow(simulator: Simulator, reader: str) -> object:
        take_time(0.05)
        return real(simulator, reader)

    monkeypatch.setattr(Simulator, action, slow)
    outcome = play(action, f"{SIGN}@before", *then, watch=lambda _trace: lambda: None, command=(host, "patient"))
    assert outcome.run.ended.code == 0, outcome
    # While the card is mute the program does not wait: it may well give the PIN before the reset, too.
    assert outcome.verdict is Verdict.SUCCESS or (action, outcome.verdict) == ("mute", Verdict.RETRIED), outcome


def test_what_follows_a_delay_counts_from_its_beginning(play: Callable[..., Any]) -> None:
    """The card is gone when the call goes on."""
    outcome = play("delay:300ms", f"{SIGN}@before", "remove:10ms")
    assert (outcome.verdict, outcome.run.last) == (Verdict.CLEAN, "C_Sign CKR_SESSION_HANDLE_INVALID")


def test_a_login_that_was_not_needed(play: Callable[..., Any], host: str) -> None:
    """The session is alive: what failed was something else."""
    outcome = play("rv:CKR_HOST_MEMORY", f"{SIGN}@before", command=(host, "retry"))
    assert (outcome.verdict, outcome.logins) == (Verdict.RETRIED, 1)


def test_an_answer_that_was_read_wrongly_is_read_again(play: Callable[..., Any]) -> None:
    """A byte of a public key is another one, which nobody can tell; with the card put in anew all is as before."""
    for apdu in (3, 4):  # of a search: the metadata of 9A, and the rest of them
        outcome = play("garble", f"host#1:1/C_FindObjectsInit#1/apdu#{apdu}@after")
        assert outcome.again.code == 0
        assert outcome.verdict in (Verdict.SUCCESS, Verdict.CLEAN)


def test_a_pin_that_reaches_no_application_is_no_try(play: Callable[..., Any]) -> None:
    """After a reset the applet has to be selected again: the VERIFY that found none has cost no try."""
    outcome = play("reset", "host#1:1/C_Login#1/apdu#1@before")
    assert (outcome.verdict, outcome.logins, outcome.verifies) == (Verdict.SUCCESS, 0, 0)


def test_a_place_that_does_not_come(play: Callable[..., Any]) -> None:
    """Another program, thread, number or APDU: nothing happens, and that is said."""
    for name in (
        "other#1:1/C_Sign#1@before",
        "host#1:2/C_Sign#1@before",
        f"{SIGN[:-1]}2@before",
        f"{SIGN}/apdu#9@before",
    ):
        assert play("remove", name).verdict is Verdict.UNREACHED


@pytest.mark.parametrize(
    "name", ["a#1:1/C_Sign#1@before", "a b.c#12:3/C_Login#4/apdu#5@after", "p#1:1/C_Sign#1@during"]
)
def test_names(name: str) -> None:
    """A point is found by its name."""
    assert points.parse(name).name == name


@pytest.mark.parametrize("name", ["", "host", "host#1:1/Sign#1@before", "host#1:1/C_Sign#1@once", "host#0:1/C_Sign"])
def test_no_names(name: str) -> None:
    """What is no point's name is refused."""
    with pytest.raises(ValueError, match="not a point"):
        points.parse(name)


@pytest.mark.parametrize(
    "text", ["", "explode", "sw:", "sw:6F0", "rv:", "rv:CKR_NO", "delay:soon", "cut:x", "remove:1"]
)
def test_no_actions(text: str) -> None:
    """What is no action is refused, with those that there are."""
    with pytest.raises(ValueError, match=r"there is no|not a span"):
        Action.parse(text)


@pytest.mark.parametrize("text", ["insert:soon", "delay:1s", "insert:-1s", ""])
def test_no_sequels(text: str) -> None:
    """Nor what cannot follow."""
    with pytest.raises(ValueError, match=r"span of time|there can be"):
        Then.parse(text)


@pytest.mark.parametrize(
    ("action", "name"),
    [("sw:6F00", f"{SIGN}@before"), ("rv:0", f"{SIGN}/apdu#1@before"), ("garble", f"{SIGN}/apdu#1@before")],
)
def test_actions_that_cannot_be_there(action: str, name: str) -> None:
    """A status word is of an APDU, a return value of a call, and what is garbled is an answer."""
    assert re.search(
        "cannot be (at|--before|--after) an? (call|APDU): choose --",
        str(Action.parse(action).problem(points.parse(name))),
    )
