# SPDX-License-Identifier: MIT
"""Firefox's Device Manager: log in, log out, change the password, with a card that comes and goes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.firefox import Firefox
from cardtear.lab.clients.firefox_devices import DeviceManager
from cardtear.lab.clients.mozilla import LOGGED_IN, NOT_LOGGED_IN, NOT_PRESENT
from cardtear.lab.clients.tls_server import TlsServer
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

pytestmark = pytest.mark.needs("firefox-esr", "marionette_driver")

NUMBERS = itertools.count(1)


def test_log_in_and_out(firefox: Firefox) -> None:
    """By the buttons, twice; the PIN is asked each time."""
    before = firefox.prompts()
    with DeviceManager(firefox) as devices:
        devices.wait_for("not-logged-in")
        for round_ in (1, 2):
            devices.log_in()
            devices.wait_for("logged-in")
            assert firefox.prompts() == before + round_
            devices.log_out()
            devices.wait_for("not-logged-in")


def test_card_goes_and_comes_back(bench: Simulator, firefox: Firefox, card: CardRequest) -> None:
    """Logged in, pulled: not present, and a login fails at once; back: the login is gone."""
    with DeviceManager(firefox) as devices:
        devices.log_in()
        devices.wait_for("logged-in")
        bench.remove("front")
        devices.wait_for("not-present")
        said, prompts = firefox.alerts()[0], firefox.prompts()
        devices.log_in()
        firefox.wait(firefox.alerts, lambda found: found[0] == said + 1, "an error")
        assert firefox.prompts() <= prompts + 1  # NSS asks before it looks for the card
        bench.insert("front", card)
        devices.wait_for("not-logged-in")


@pytest.mark.parametrize("on", [{"call": "C_Login"}, {"ins": 0x20}], ids=str)
def test_card_goes_in_the_login(bench: Simulator, firefox: Firefox, card: CardRequest, on: dict[str, object]) -> None:
    """No second prompt, no login, no hanging dialog; with the card back it works."""
    with DeviceManager(firefox) as devices:
        before = firefox.prompts()
        bench.arm(Trigger("remove", {"reader": "front"}, **on))  # type: ignore[arg-type]
        devices.log_in()
        devices.wait_for("not-present")
        assert firefox.prompts() == before + 1
        bench.insert("front", card)
        devices.wait_for("not-logged-in")
        devices.log_in()
        devices.wait_for("logged-in")


def test_change_password(bench: Simulator, firefox: Firefox, card: CardRequest, ca: TestCA) -> None:
    """Firefox says that it has been changed; the new PIN is right from now on, and can be changed back."""
    with DeviceManager(firefox) as devices:
        assert devices.wait_for("not-logged-in").can_change_password
        assert "changed" in devices.change_password("123456", "654321")
        bench.remove("front")
        devices.wait_for("not-present")
        bench.insert("front", card)
        devices.wait_for("not-logged-in")
        firefox.answer_with("654321")
        devices.log_in()
        devices.wait_for("logged-in")
        with TlsServer(ca) as server:
            assert firefox.open(server.url) == f"client: {card.name}"
        assert "changed" in devices.change_password("654321", "123456")


def test_wrong_old_password(firefox: Firefox) -> None:
    """Firefox says so; the PIN is as it was, and one try is spent."""
    with DeviceManager(firefox) as devices:
        assert "not enter the correct" in devices.change_password("000000", "654321")
        devices.log_in()
        devices.wait_for("logged-in")


@pytest.mark.parametrize("when", ["before", "after"])
def test_card_goes_in_the_change(bench: Simulator, firefox: Firefox, card: CardRequest, when: str) -> None:
    """Firefox says that it failed; afterwards the PIN that the card has is right."""
    with DeviceManager(firefox) as devices:
        bench.arm(Trigger("remove", {"reader": "front"}, ins=0x24, when=when))
        assert "changed" not in devices.change_password("123456", "654321")
        devices.wait_for("not-present")
        bench.insert("front", card)
        devices.wait_for("not-logged-in")
        firefox.answer_with("123456" if when == "before" else "654321")
        before = firefox.prompts()
        devices.log_in()
        devices.wait_for("logged-in")
        assert firefox.prompts() == before + 1


@pytest.fixture
def second_card(bench: Simulator, firefox: Firefox) -> Iterator[CardRequest]:
    """Bob's card, new, in a second reader."""
    bob = CardRequest(name=f"Bob {next(NUMBERS)}", profile="piv-ec")
    bench.plug("back")
    bench.insert("back", bob)
    firefox.wait_for_card(bob.name, "back")
    yield bob
    bench.unplug("back")


def test_two_cards_and_a_signature(
    bench: Simulator, firefox: Firefox, card: CardRequest, second_card: CardRequest, ca: TestCA
) -> None:
    """A page gets the certificate of the card that is chosen; one goes in a signature, the other stays logged in."""
    assert {card.name, second_card.name} <= {token for token, _ in firefox.certificates()}
    firefox.choose_certificates(second_card.name)
    with TlsServer(ca) as server:
        assert firefox.open(server.url) == f"client: {second_card.name}"
    firefox.wait_for_status(LOGGED_IN, "back")
    assert firefox.slot("front").status == NOT_LOGGED_IN
    firefox.choose_certificates(card.name)
    with TlsServer(ca) as server:
        assert firefox.open(server.url) == f"client: {card.name}"
    firefox.choose_certificates(second_card.name)
    with TlsServer(ca) as server:
        bench.arm(Trigger("remove", {"reader": "back"}, ins=0x87, reader="back"))
        assert firefox.open(server.url).startswith("about:neterror")
    firefox.wait_for_status(NOT_PRESENT, "back")
    assert firefox.slot("front").status == LOGGED_IN
    before = firefox.prompts()
    firefox.choose_certificates(card.name)
    with TlsServer(ca) as server:
        assert firefox.open(server.url) == f"client: {card.name}"
    assert firefox.prompts() == before


def test_two_cards_and_a_change(bench: Simulator, firefox: Firefox, second_card: CardRequest) -> None:
    """One card goes in the change of its PIN, the other stays logged in; back in, the first has the PIN it had."""
    with DeviceManager(firefox, "front") as devices:
        devices.log_in()
        devices.wait_for("logged-in")
        devices.select("back")
        devices.wait_for("not-logged-in")
        bench.arm(Trigger("remove", {"reader": "back"}, ins=0x24, reader="back"))
        assert "changed" not in devices.change_password("123456", "654321")
        devices.wait_for("not-present")
        devices.select("front")
        devices.wait_for("logged-in")
        bench.insert("back", second_card)
        devices.select("back")
        devices.wait_for("not-logged-in")
        devices.log_in()
        devices.wait_for("logged-in")
