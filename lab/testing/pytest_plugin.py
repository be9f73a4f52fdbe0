# SPDX-License-Identifier: MIT
"""The pytest plugin: a simulator, its reader and card, an NSS database and a browser as fixtures (docs/pytest.md).

pytest loads this file for every project on the machine: nothing is imported here that a run without our fixtures
would have to pay for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ...card.issuing.profiles import CardRequest
    from ..clients.firefox import Firefox
    from ..clients.nss_database import NssDatabase
    from ..control.remote import RemoteReader, RemoteSimulator
    from .pool import Pool

_TIME_LINES = pytest.StashKey[list["RemoteSimulator"]]()

READER = "front"
_PROFILE = "piv"


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
    parser.addini("cardtear_profile", "profile of the card of the fixture `card`", default=_PROFILE)
    parser.addini("cardtear_quirks", "quirks of the middleware, one a line", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "cardtear(quirks=[...], pcsc=True, **parameters): other quirks for a test, its readers in PC/SC, or another "
        "card: profile='piv-ec', name='Bob'",
    )
    _check_options(config)


def _check_options(config: pytest.Config) -> None:
    """Refuse now what would be an error of every test. Raises UsageError."""
    if quirks := _quirks(config):
        from ...p11.quirks import Quirks

        with _refusing("--cardtear-quirks"):
            Quirks.parse(quirks)
    if (profile := _profile(config)) != _PROFILE:
        from ...card.issuing.profiles import CardRequest

        with _refusing("--cardtear-profile"):
            CardRequest(profile)
    if name := config.getoption("--cardtear-pcsc") or config.getini("cardtear_pcsc"):
        from ...reader.pcsc.reader_conf import check_name

        with _refusing("--cardtear-pcsc"):
            check_name(name)


@contextlib.contextmanager
def _refusing(option: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise pytest.UsageError(f"{option}: {error}") from None


def _quirks(config: pytest.Config) -> list[str]:
    return list(config.getoption("--cardtear-quirks") or config.getini("cardtear_quirks"))


def _profile(config: pytest.Config) -> str:
    return str(config.getoption("--cardtear-profile") or config.getini("cardtear_profile"))


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
    from .pool import PoolError

    _wanted_card(request)  # what is wrong in a marker is an error of every test that has it
    quirks = _marked(request).get("quirks") or _quirks(request.config)
    try:
        simulator = cardtear_pool.start([quirks] if isinstance(quirks, str) else list(quirks), _pcsc(request))
    except PoolError as error:
        pytest.fail(f"cardtear: {error}", pytrace=False)
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
    card = _wanted_card(request)
    reader.insert(card)
    if _pcsc(request) is not None:
        reader.wait_for_pcsc()
    return card


@pytest.fixture(scope="session")
def module_path() -> Path:
    """The PKCS #11 module."""
    from ...csrc import module_path

    return module_path()


@pytest.fixture
def nss_db(card: CardRequest, module_path: Path, tmp_path: Path) -> NssDatabase:
    """An NSS database with the module in it, in front of `card`."""
    from ..clients.nss_database import NssDatabase, missing_tools

    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: libnss3-tools)")
    folder = tmp_path / "nss"
    folder.mkdir()
    return NssDatabase.create(folder, module_path, card.pin)


@pytest.fixture
def firefox(cardtear_pool: Pool, bench: RemoteSimulator, card: CardRequest, module_path: Path) -> Iterator[Firefox]:
    """A headless Firefox that knows `card`, with the test CA trusted and each PIN prompt answered."""
    from ..clients.firefox import Firefox
    from ..processes import paths

    if missing := Firefox.missing_parts():
        pytest.skip(f"not installed: {', '.join(missing)}")
    ca, folder = paths.test_ca().certificate, cardtear_pool.make_folder()
    with Firefox(module_path, bench.environment, ca, card.pin, folder=folder) as browser:
        cardtear_pool.adopt(browser.process_id)
        _wait_for_the_card(browser, card)
        yield browser


def _wait_for_the_card(browser: Firefox, card: CardRequest) -> None:
    """Wait for the certificates: the browser knows a token first, and asks for no client certificate until then."""
    from ...card.issuing.profiles import PROFILES

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
            from ..control.report import time_line

            report.sections.append(("cardtear time line", time_line(simulator)))
    return report


def _pcsc(request: pytest.FixtureRequest) -> str | None:
    """Return what the names of PC/SC's readers contain; None for no readers there. Skips without PC/SC."""
    from ...reader.pcsc.reader_conf import READER

    config = request.config
    given = config.getoption("--cardtear-pcsc")
    if given is None:
        given = config.getini("cardtear_pcsc") or None
    wanted = _marked(request).get("pcsc", given is not None)
    if not wanted:
        return None
    from ...reader.pcsc.pcscd_call import vpcd_listens
    from ..simulator import own_pcscd

    reason = own_pcscd.why_not()
    if reason is not None and not vpcd_listens():
        pytest.skip(f"{reason}, and no pcscd with vpcd is running")
    return given or READER


def _wanted_card(request: pytest.FixtureRequest) -> CardRequest:
    """Return the card of options and marker. Fails the test for one that cannot be made."""
    from ...card.issuing.profiles import CardRequest, ProfileError
    from ...p11.token_mechanisms import require_known

    marked = {name: value for name, value in _marked(request).items() if name not in _NOT_OF_CARDS}
    try:
        card = CardRequest(**{"profile": _profile(request.config), **marked})
        require_known(card)
    except ProfileError as error:
        pytest.fail(f"cardtear: {error}", pytrace=False)
    return card


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the marker's values, the closest to the test last. Fails the test for a value of the wrong type."""
    marks: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("cardtear"))):
        if mark.args:
            pytest.fail(
                f"cardtear: the marker takes names: what is {mark.args[0]!r}? as profile='piv-ec'", pytrace=False
            )
        marks |= mark.kwargs
    for name, (fits, words) in _NOT_OF_CARDS.items():
        if name in marks and not fits(marks[name]):
            pytest.fail(f"cardtear: {name!r} of the marker is {words}, not {marks[name]!r}", pytrace=False)
    return marks


def _are_words(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value))


_NOT_OF_CARDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "quirks": (_are_words, "a list of names and settings"),
    "pcsc": (lambda value: isinstance(value, bool), "True or False"),
}
"""What the marker takes besides the parameters of a card: what fits, and that in words."""
