# SPDX-License-Identifier: MIT
"""One browser in front of one simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cardtear.card.ca import TestCA
from cardtear.card.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab import places
from cardtear.lab.firefox import NOT_LOGGED_IN, NOT_PRESENT, Firefox
from cardtear.lab.simulator import Simulator


@pytest.fixture(scope="session")
def ca(_own_places: None) -> TestCA:
    """The CA that the cards and the server are certified by."""
    return places.test_ca()


@pytest.fixture(scope="session")
def bench(_own_places: None) -> Iterator[Simulator]:
    """One simulator for all tests with a browser; each begins with the standard card freshly inserted."""
    with Simulator() as simulator:
        simulator.plug("front")
        yield simulator


@pytest.fixture(scope="session")
def browser(bench: Simulator, ca: TestCA) -> Iterator[Firefox]:
    """One browser for all of them."""
    with Firefox(module_path(), bench.environment, ca.certificate) as firefox:
        yield firefox


@pytest.fixture
def firefox(bench: Simulator, browser: Firefox) -> Iterator[Firefox]:
    """The browser, with a card to which nobody is logged in."""
    bench.insert("front", CardRequest(name="Alice"))
    browser.wait_for_status(NOT_LOGGED_IN)
    yield browser
    browser.choose_certificates(None)
    browser.answer_with("123456")
    bench.unplug("front")
    bench.plug("front")
    browser.wait_for_status(NOT_PRESENT)
