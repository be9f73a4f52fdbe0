# SPDX-License-Identifier: MIT
"""Firefox's Device Manager: log in, log out, change the password, with a card that comes and goes."""

from __future__ import annotations

import pytest
from cardtear.card.ca import TestCA
from cardtear.card.profiles import CardRequest
from cardtear.lab.firefox import LOGGED_IN, NOT_LOGGED_IN, NOT_PRESENT, Firefox
from cardtear.lab.firefox_devices import DeviceManager
from cardtear.lab.simulator import Simulator
from cardtear.lab.tls_server import TlsServer
from cardtear.lab.trigger import Trigger

pytestmark = pytest.mark.needs("firefox-esr", "marionette_driver")


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


def test_card_goes_and_comes_back(bench: Simulator, firefox: Firefox) -> None:
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
        bench.insert("front", CardRequest(name="Alice"))
        devices.wait_for("not-logged-in")


@pytest.mark.parametrize("on", [{"call": "C_Login"}, {"ins": 0x20}], ids=str)
def test_card_goes_in_the_login(bench: Simulator, firefox: Firefox, on: dict[str, object]) -> None:
    """No second prompt, no login, no hanging dialog; with the card back it works."""
    with DeviceManager(firefox) as devices:
        before = firefox.prompts()
        bench.arm(Trigger("remove", {"reader": "front"}, **on))  # type: ignore[arg-type]
        devices.log_in()
        devices.wait_for("not-present")
        assert firefox.prompts() == before + 1
        bench.insert("front", CardRequest(name="Alice"))
        devices.wait_for("not-logged-in")
        devices.log_in()
        devices.wait_for("logged-in")


def test_change_password(bench: Simulator, firefox: Firefox, ca: TestCA) -> None:
    """Firefox says that it has been changed; the new PIN is right from now on, and can be changed back."""
    bench.swap("front", CardRequest(name="Carol"))
    firefox.wait_for_token("Carol")
    with DeviceManager(firefox) as devices:
        assert devices.wait_for("not-logged-in").can_change_password
        assert "changed" in devices.change_password("123456", "654321")
        devices.wait_for("logged-in" if firefox.slots()[0]["status"] == LOGGED_IN else "not-logged-in")
        bench.remove("front")
        devices.wait_for("not-present")
        bench.insert("front", CardRequest(name="Carol"))
        devices.wait_for("not-logged-in")
        firefox.answer_with("654321")
        devices.log_in()
        devices.wait_for("logged-in")
        with TlsServer(ca) as server:
            assert firefox.open(server.url) == "client: Carol"
        assert "changed" in devices.change_password("654321", "123456")


def test_wrong_old_password(bench: Simulator, firefox: Firefox) -> None:
    """Firefox says so; the PIN is as it was, and one try is spent."""
    bench.swap("front", CardRequest(name="Dave"))
    firefox.wait_for_token("Dave")
    with DeviceManager(firefox) as devices:
        assert "not enter the correct" in devices.change_password("000000", "654321")
        devices.log_in()
        devices.wait_for("logged-in")


@pytest.mark.parametrize("when", ["before", "after"])
def test_card_goes_in_the_change(bench: Simulator, firefox: Firefox, when: str) -> None:
    """Firefox says that it failed; afterwards the PIN that the card has is right."""
    name = f"Erin {when}"
    bench.swap("front", CardRequest(name=name))
    firefox.wait_for_token(name)
    with DeviceManager(firefox) as devices:
        bench.arm(Trigger("remove", {"reader": "front"}, ins=0x24, when=when))
        assert "changed" not in devices.change_password("123456", "654321")
        devices.wait_for("not-present")
        bench.insert("front", CardRequest(name=name))
        devices.wait_for("not-logged-in")
        firefox.answer_with("123456" if when == "before" else "654321")
        before = firefox.prompts()
        devices.log_in()
        devices.wait_for("logged-in")
        assert firefox.prompts() == before + 1


def test_two_cards_in_two_readers(bench: Simulator, firefox: Firefox, ca: TestCA) -> None:
    """Each is listed, each logs in by itself, and a page gets the certificate of the one that is chosen."""
    bench.plug("back")
    bench.insert("back", CardRequest(name="Bob", profile="piv-ec"))

    def statuses() -> dict[str, int]:
        return {slot["token"]: slot["status"] for slot in firefox.slots()}

    try:
        firefox.wait(statuses, lambda found: found == {"Alice": NOT_LOGGED_IN, "Bob": NOT_LOGGED_IN}, "two cards")
        assert sorted({token for token, _ in firefox.certificates() if token in ("Alice", "Bob")}) == ["Alice", "Bob"]
        firefox.choose_certificates("Bob")
        with TlsServer(ca) as server:
            assert firefox.open(server.url) == "client: Bob"
        firefox.wait(statuses, lambda found: found == {"Alice": NOT_LOGGED_IN, "Bob": LOGGED_IN}, "Bob only")
        firefox.choose_certificates("Alice")
        with TlsServer(ca) as server:
            assert firefox.open(server.url) == "client: Alice"
        bench.remove("back")
        firefox.wait(lambda: firefox.slots()[1]["status"], lambda found: found == NOT_PRESENT, "Bob's card gone")
        assert firefox.slots()[0]["status"] == LOGGED_IN
        with TlsServer(ca) as server:
            assert firefox.open(server.url) == "client: Alice"
    finally:
        bench.unplug("back")


@pytest.mark.parametrize("profile", ["piv", "piv-ec"])
def test_card_goes_in_the_signature(bench: Simulator, firefox: Firefox, ca: TestCA, profile: str) -> None:
    """The page fails; with the card back, and the PIN asked once more, it comes."""
    name = f"Grace {profile}"
    bench.swap("front", CardRequest(name=name, profile=profile))
    firefox.wait_for_token(name)
    with TlsServer(ca) as server:
        bench.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
        assert firefox.open(server.url).startswith("about:neterror")
        firefox.wait_for_status(NOT_PRESENT)
        bench.insert("front", CardRequest(name=name, profile=profile))
        firefox.wait_for_status(NOT_LOGGED_IN)
        assert firefox.open(server.url) == f"client: {name}"
