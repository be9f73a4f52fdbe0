# SPDX-License-Identifier: MIT
"""One browser in front of one simulator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.clients.firefox import Firefox
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def ca(_own_places: None) -> TestCA:
    """The CA that the cards and the server are certified by."""
    return paths.test_ca()


@pytest.fixture(scope="session")
def bench(_own_places: None) -> Iterator[Simulator]:
    """One simulator for all tests with a browser."""
    with Simulator() as simulator:
        simulator.plug("front")
        yield simulator


@pytest.fixture(scope="session")
def browser(bench: Simulator, ca: TestCA) -> Iterator[Firefox]:
    """One browser for all of them."""
    with Firefox(module_path(), bench.environment, ca.certificate) as firefox:
        yield firefox


@pytest.fixture
def card(request: pytest.FixtureRequest) -> CardRequest:
    """A card that nobody has seen before: the browser cannot take one of another test's for it."""
    return CardRequest(name=f"Alice {next(_NUMBERS)}", profile=getattr(request, "param", "piv"))


@pytest.fixture
def firefox(bench: Simulator, browser: Firefox, card: CardRequest) -> Iterator[Firefox]:
    """The browser, with that card in the reader, to which nobody is logged in."""
    if bench.testbed.reader("front").insertion is None:
        bench.insert("front", card)
    else:
        bench.swap("front", card)
    browser.wait_for_card(card.name)
    yield browser
    browser.hold_prompts(None)
    browser.choose_certificates(None)
    browser.answer_with("123456")
