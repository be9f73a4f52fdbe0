# SPDX-License-Identifier: MIT
"""A real Firefox in front of a real TLS server, with a card that comes and goes."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.clients.firefox import Firefox
from cardtear.lab.clients.mozilla import LOGGED_IN, NOT_LOGGED_IN, NOT_PRESENT
from cardtear.lab.clients.tls_server import TlsServer
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

from ...shared.waiting import wait_until

pytestmark = pytest.mark.needs("firefox-esr", "marionette_driver")

ERROR = "about:neterror"
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}

with_each_kind_of_key = pytest.mark.parametrize("card", ["piv", "piv-ec"], indirect=True)


def test_removal_insertion_and_another_card(bench: Simulator, firefox: Firefox, card: CardRequest, ca: TestCA) -> None:
    """PIN once; card out: the page fails; card in: the PIN again; another card: the other name."""
    before = firefox.prompts()
    with TlsServer(ca) as server:
        assert firefox.open(server.url) == f"client: {card.name}"
        assert firefox.open(server.url) == f"client: {card.name}"
        assert firefox.prompts() == before + 1
        firefox.wait_for_status(LOGGED_IN)
        bench.remove("front")
        firefox.wait_for_status(NOT_PRESENT)
        assert firefox.open(server.url).startswith(ERROR)
        bench.insert("front", card)
        firefox.wait_for_card(card.name)
        assert firefox.open(server.url) == f"client: {card.name}"
        assert firefox.prompts() == before + 2
        bench.swap("front", CardRequest(name="Bob"))
        firefox.wait_for_card("Bob")
        assert firefox.open(server.url) == "client: Bob"
        assert firefox.prompts() == before + 3


@with_each_kind_of_key
@pytest.mark.parametrize("version", VERSIONS)
def test_card_goes_in_the_signature(
    bench: Simulator, firefox: Firefox, card: CardRequest, ca: TestCA, version: str
) -> None:
    """TLS 1.2 and 1.3, RSA and EC: the page fails; with the card back, and the PIN asked once more, it comes.

    In TLS 1.2 Firefox takes no notice of a signature that fails, and waits for the server to lose its patience.
    """
    before = firefox.prompts()
    with TlsServer(ca, VERSIONS[version]) as server:
        bench.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
        firefox.load(server.url)
        firefox.wait_for_status(NOT_PRESENT)
        if version == "TLS 1.2":
            server.hang_up()
        assert firefox.page(server.url).startswith(ERROR)
        assert firefox.prompts() == before + 1
        bench.insert("front", card)
        firefox.wait_for_card(card.name)
        assert firefox.open(server.url) == f"client: {card.name}"
        assert firefox.prompts() == before + 2


def test_certificates_are_listed_without_a_pin(bench: Simulator, firefox: Firefox, card: CardRequest) -> None:
    """The token says that its certificates are public; they are gone with the card."""
    before = firefox.prompts()
    names = sorted(name for token, name in firefox.certificates() if token == card.name)
    assert names == ["", card.name, card.name, card.name]  # the one for card authentication names no holder
    assert firefox.prompts() == before
    assert firefox.slot().status == NOT_LOGGED_IN
    bench.remove("front")
    firefox.wait(firefox.certificates, lambda found: card.name not in dict(found), "no certificates of the card")
    assert firefox.prompts() == before


def test_card_goes_while_the_pin_is_asked_for(
    bench: Simulator, firefox: Firefox, card: CardRequest, ca: TestCA, tmp_path: Path
) -> None:
    """No second prompt follows, the page fails, and with the card back it works."""
    before = firefox.prompts()
    gate = tmp_path / "gate"
    firefox.hold_prompts(gate)
    with TlsServer(ca) as server:
        firefox.load(server.url)
        firefox.wait_for_prompt(True)
        bench.remove("front")
        gate.touch()
        firefox.wait_for_prompt(False)
        firefox.hold_prompts(None)
        assert firefox.page(server.url).startswith(ERROR)
        assert firefox.prompts() == before + 1
        firefox.wait_for_status(NOT_PRESENT)
        bench.insert("front", card)
        firefox.wait_for_card(card.name)
        assert firefox.open(server.url) == f"client: {card.name}"


def test_card_out_on_a_connection_that_is_kept(
    bench: Simulator, firefox: Firefox, card: CardRequest, ca: TestCA
) -> None:
    """The next request never reaches the server; an empty reader gets the page where no certificate is required."""
    with TlsServer(ca, keep_alive=True) as server:
        assert firefox.open(server.url) == f"client: {card.name}"
        answered = server.requests
        bench.remove("front")
        firefox.wait_for_status(NOT_PRESENT)
        assert firefox.open(server.url).startswith(ERROR)
        assert server.requests == answered
    with TlsServer(ca, required=False) as server:
        assert firefox.open(server.url) == "client: nobody"


def test_simulator_that_comes_late_and_browser_that_dies(ca: TestCA, tmp_path: Path) -> None:
    """A browser that finds no simulator sees no slots, then those of one that comes; killed, it leaves nothing."""
    folder = tmp_path / "late"
    with Firefox(module_path(), {"CARDTEAR_SOCKET": str(folder / "p11.sock")}, ca.certificate) as second:
        assert second.slots() == []
        with Simulator(folder) as simulator, TlsServer(ca) as server:
            assert str(simulator.module_socket) == str(folder / "p11.sock")
            simulator.plug("front")
            simulator.insert("front", CardRequest(name="Alice"))
            second.wait_for_card("Alice")
            assert second.open(server.url) == "client: Alice"
            assert len(simulator.status()["applications"]) == 1
            os.kill(second.process_id, 9)
            wait_until(lambda: not simulator.status()["applications"])
