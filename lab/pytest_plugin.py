# SPDX-License-Identifier: MIT
"""The pytest plugin: a simulator, its reader and card, an NSS database and a browser as fixtures (docs/pytest.md).

pytest loads this file for every project on the machine: nothing is imported here that a run without our fixtures
would have to pay for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from ..card.profiles import CardRequest
    from .firefox import Firefox
    from .nss_database import NssDatabase
    from .pool import Pool
    from .remote import RemoteReader, RemoteSimulator

_TIME_LINES = pytest.StashKey[list["RemoteSimulator"]]()

READER = "front"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What kind of card and middleware the fixtures have, for the whole run."""
    group = parser.getgroup("cardtear", "cardtear (virtual smart card)")
    group.addoption("--cardtear-profile", metavar="NAME", help="profile of the card of the fixture `card`")
    group.addoption(
        "--cardtear-quirks",
        metavar="NAME_OR_SETTING",
        action="append",
        help="quirks of the middleware, as cardtear serve --quirks; several times",
    )
    group.addoption(
        "--cardtear-pcsc",
        metavar="NAME",
        nargs="?",
        const="",
        help="show the readers to programs of PC/SC, too; the word is in their names (docs/pytest.md)",
    )
    parser.addini("cardtear_pcsc", "show the readers to programs of PC/SC, too, with this in their names")
    parser.addini("cardtear_profile", "profile of the card of the fixture `card`", default="piv")
    parser.addini("cardtear_quirks", "quirks of the middleware, one a line", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known."""
    config.addinivalue_line(
        "markers",
        "cardtear(quirks=[...], pcsc=True, **parameters): other quirks for a test, its readers in PC/SC, or another "
        "card: profile='piv-ec', name='Bob'",
    )


@pytest.fixture(scope="session")
def cardtear_pool() -> Iterator[Pool]:
    """Where simulators come from: `cardtear_pool.start()`, for fixtures of other scopes than `bench`."""
    from .pool import Pool

    with Pool() as pool:
        yield pool


@pytest.fixture
def bench(
    cardtear_pool: Pool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RemoteSimulator]:
    """A simulator of the test's own, without readers; what the test starts or loads finds it by its environment."""
    quirks = _marked(request).get("quirks") or request.config.getoption("--cardtear-quirks")
    quirks = list(quirks or request.config.getini("cardtear_quirks"))
    simulator = cardtear_pool.start(quirks, _pcsc(request))
    try:
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        request.node.stash.setdefault(_TIME_LINES, []).append(simulator)
        yield simulator
    finally:
        request.node.stash.get(_TIME_LINES, []).clear()
        simulator.close()


@pytest.fixture
def reader(bench: RemoteSimulator) -> RemoteReader:
    """The reader `front`, plugged in; empty unless the test has `card` too."""
    return bench.plug(READER)


@pytest.fixture
def card(reader: RemoteReader, request: pytest.FixtureRequest) -> CardRequest:
    """The card in `reader`: its parameters, as `card.pin`. It can be inserted again."""
    from ..card.profiles import CardRequest

    config = request.config
    profile = config.getoption("--cardtear-profile") or config.getini("cardtear_profile")
    marked = {name: value for name, value in _marked(request).items() if name not in ("quirks", "pcsc")}
    card = CardRequest(**{"profile": profile, **marked})
    reader.insert(card)
    if _pcsc(request) is not None:
        reader.wait_for_pcsc()
    return card


@pytest.fixture(scope="session")
def module_path() -> Path:
    """The PKCS #11 module."""
    from ..csrc import module_path

    return module_path()


@pytest.fixture
def nss_db(card: CardRequest, module_path: Path, tmp_path: Path) -> NssDatabase:
    """An NSS database with the module in it, in front of `card`."""
    from .nss_database import NssDatabase, missing_tools

    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: libnss3-tools)")
    folder = tmp_path / "nss"
    folder.mkdir()
    return NssDatabase.create(folder, module_path, card.pin)


@pytest.fixture
def firefox(cardtear_pool: Pool, bench: RemoteSimulator, card: CardRequest, module_path: Path) -> Iterator[Firefox]:
    """A headless Firefox that knows `card`, with the test CA trusted and each PIN prompt answered."""
    from . import places
    from .firefox import Firefox

    if missing := Firefox.missing_parts():
        pytest.skip(f"not installed: {', '.join(missing)}")
    ca, folder = places.test_ca().certificate, cardtear_pool.make_folder()
    with Firefox(module_path, bench.environment, ca, card.pin, folder=folder) as browser:
        cardtear_pool.adopt(browser.process_id)
        _wait_for_the_card(browser, card)
        yield browser


def _wait_for_the_card(browser: Firefox, card: CardRequest) -> None:
    """The browser knows a token a moment before it knows its certificates, and asks for no client certificate then."""
    from ..card.profiles import PROFILES

    profile = PROFILES[card.profile]
    if profile.piv:
        browser.wait_for_token(card.name)
    if profile.keys and card.public_objects and card.friendly:

        def is_known(certificates: list[tuple[str, str]]) -> bool:
            return any(token == card.name for token, _ in certificates)

        browser.wait(browser.certificates, is_known, f"certificates of {card.name}'s card")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test's report has the time line of its simulators: calls, APDUs and events as they came."""
    report = yield
    if report.failed:
        for simulator in item.stash.get(_TIME_LINES, []):
            from .report import time_line

            report.sections.append(("cardtear time line", time_line(simulator)))
    return report


def _pcsc(request: pytest.FixtureRequest) -> str | None:
    """What is in the names of the readers in PC/SC; None if they are to be in none. Skips where there is none."""
    from .pcscd import READER

    config = request.config
    given = config.getoption("--cardtear-pcsc")
    if given is None:
        given = config.getini("cardtear_pcsc") or None
    wanted = _marked(request).get("pcsc", given is not None)
    if not wanted:
        return None
    from . import doctor, own_pcscd

    reason = own_pcscd.why_not()
    if reason is not None and not doctor.vpcd_listens():
        pytest.skip(f"{reason}, and no pcscd with vpcd is running")
    return given or READER


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the marker says, the closest to the test last."""
    marks: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("cardtear"))):
        marks |= mark.kwargs
    return marks
