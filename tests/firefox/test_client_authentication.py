# SPDX-License-Identifier: MIT
"""A real Firefox in front of a real TLS server, with a card that comes and goes."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import pytest
from cardtear.card.ca import TestCA
from cardtear.card.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.firefox import LOGGED_IN, NOT_LOGGED_IN, NOT_PRESENT, Firefox
from cardtear.lab.simulator import Simulator
from cardtear.lab.tls_server import TlsServer

pytestmark = pytest.mark.needs("firefox-esr", "marionette_driver")

ERROR = "about:neterror"
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


def test_removal_insertion_and_another_card(bench: Simulator, firefox: Firefox, ca: TestCA) -> None:
    """PIN once; card out: the page fails; card in: the PIN again; another card: the other name."""
    before = firefox.prompts()
    with TlsServer(ca) as server:
        assert firefox.open(server.url) == "client: Alice"
        assert firefox.open(server.url) == "client: Alice"
        assert firefox.prompts() == before + 1
        firefox.wait_for_status(LOGGED_IN)
        bench.remove("front")
        firefox.wait_for_status(NOT_PRESENT)
        assert firefox.open(server.url).startswith(ERROR)
        bench.insert("front", CardRequest(name="Alice"))
        firefox.wait_for_status(NOT_LOGGED_IN)
        assert firefox.open(server.url) == "client: Alice"
        assert firefox.prompts() == before + 2
        bench.swap("front", CardRequest(name="Bob"))
        firefox.wait_for_token("Bob")
        assert firefox.open(server.url) == "client: Bob"
        assert firefox.prompts() == before + 3


@pytest.mark.parametrize("profile", ["piv", "piv-ec"])
@pytest.mark.parametrize("version", VERSIONS)
def test_versions_and_keys(bench: Simulator, firefox: Firefox, ca: TestCA, version: str, profile: str) -> None:
    """TLS 1.2 and 1.3, RSA and EC."""
    name = f"{profile} {version}"
    bench.swap("front", CardRequest(name=name, profile=profile))
    firefox.wait_for_token(name)
    with TlsServer(ca, VERSIONS[version]) as server:
        assert firefox.open(server.url) == f"client: {name}"


def test_certificates_are_listed_without_a_pin(firefox: Firefox) -> None:
    """The token says that its certificates are public."""
    before = firefox.prompts()
    assert firefox.certificates().count(("Alice", "Alice")) == 4
    assert firefox.prompts() == before
    assert firefox.slots()[0]["status"] == NOT_LOGGED_IN


def test_card_goes_while_the_pin_is_asked_for(bench: Simulator, firefox: Firefox, ca: TestCA, tmp_path: Path) -> None:
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
        bench.insert("front", CardRequest(name="Alice"))
        firefox.wait_for_status(NOT_LOGGED_IN)
        assert firefox.open(server.url) == "client: Alice"


def test_card_out_on_a_connection_that_is_kept(bench: Simulator, firefox: Firefox, ca: TestCA) -> None:
    """The next request never reaches the server."""
    with TlsServer(ca, keep_alive=True) as server:
        assert firefox.open(server.url) == "client: Alice"
        answered = server.requests
        bench.remove("front")
        firefox.wait_for_status(NOT_PRESENT)
        assert firefox.open(server.url).startswith(ERROR)
        assert server.requests == answered


def test_no_certificate_where_none_is_required(bench: Simulator, firefox: Firefox, ca: TestCA) -> None:
    """An empty reader: the page comes, for nobody."""
    bench.remove("front")
    firefox.wait_for_status(NOT_PRESENT)
    with TlsServer(ca, required=False) as server:
        assert firefox.open(server.url) == "client: nobody"


def test_browser_that_dies_leaves_nothing(bench: Simulator, ca: TestCA) -> None:
    """A second browser, logged in, is killed: the simulator forgets it."""
    bench.insert("front", CardRequest(name="Alice"))
    try:
        with TlsServer(ca) as server, Firefox(module_path(), bench.environment, ca.certificate) as second:
            second.wait_for_token("Alice")
            # Its certificates are known to NSS a moment later than the token.
            second.wait(lambda: second.open(server.url), lambda page: page == "client: Alice", "Alice's page")
            applications = len(bench.status()["applications"])
            os.kill(second.process_id, 9)
            end = time.monotonic() + 20
            while len(bench.status()["applications"]) >= applications:
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        bench.remove("front")
