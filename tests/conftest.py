# SPDX-License-Identifier: MIT
"""Fixtures of all tests: a simulator, host processes, and a deadline for everything."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path, module_sources
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.scenario.needs import lacking
from hypothesis import settings

from .shared.host import probes
from .shared.host.host import Host, NewHost
from .shared.nss import Nss

TEST_DEADLINE = 120
"""Seconds after which a test that hangs ends the run, with every thread's stack on the terminal."""

# A run in the background of a shell, or under nohup, ignores these; the programs that tests start would do so, too.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# An example that takes a while on a busy machine is no fault; what hangs has the deadline above.
settings.register_profile("cardtear", deadline=None)
settings.load_profile("cardtear")


TERMINAL = pytest.StashKey[int]()
"""A descriptor of standard error as it is while no output is caught, which of a test that hangs nobody would show."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the terminal for the stacks of a test that hangs."""
    config.stash[TERMINAL] = os.dup(2)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`needs` names programs, Python modules and commands that have to succeed, without which a test skips."""
    if reason := lacking(name for mark in item.iter_markers("needs") for name in mark.args):
        pytest.skip(reason)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what measures time, unless `-m` speaks of it: only on a machine that does nothing else it is true."""
    if re.search(r"\btiming\b", config.option.markexpr):
        return
    if timed := [item for item in items if item.get_closest_marker("timing")]:
        config.hook.pytest_deselected(items=timed)
        items[:] = [item for item in items if not item.get_closest_marker("timing")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CARDTEAR_REQUIRE_CLIENTS nothing may be missing: whatever skips has failed."""
    report = yield
    if report.skipped and os.environ.get("CARDTEAR_REQUIRE_CLIENTS"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may skip: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _deadline(pytestconfig: pytest.Config) -> Iterator[None]:
    faulthandler.dump_traceback_later(TEST_DEADLINE, exit=True, file=pytestconfig.stash[TERMINAL])
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's own is touched; the ready-made cards of a run are made once."""
    home = tmp_path_factory.mktemp("home", numbered=True)
    names = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
    before = {name: os.environ.get(name) for name in names}
    for name in names:
        folder = home / name.lower()
        folder.mkdir(mode=0o700)
        os.environ[name] = str(folder)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def bare_simulator() -> Iterator[Simulator]:
    """A simulator without readers."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(bare_simulator: Simulator) -> Simulator:
    """A simulator with the reader `front` and the standard card in it."""
    bare_simulator.plug("front")
    bare_simulator.insert("front")
    return bare_simulator


@pytest.fixture
def new_host() -> Iterator[NewHost]:
    """Makes host processes; `new_host(simulator)` has the module initialised."""
    hosts: list[Host] = []

    def make(
        simulator: Simulator | None = None,
        initialize: bool = True,
        library: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        **variables: str,
    ) -> Host:
        its_own = simulator.environment if simulator is not None else {}
        host = Host(library or module_path(), {**its_own, **environment, **variables})
        hosts.append(host)
        if initialize:
            host.call(Module.initialize)
        return host

    yield make
    for host in hosts:
        if host.process.poll() is None:
            host.close()


@pytest.fixture(scope="session")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module as it is, but with one second of patience for a simulator that does not answer. Needs cc."""
    library = tmp_path_factory.mktemp("impatient") / "libcardtear-pkcs11.so"
    sources = list(map(str, module_sources()))
    patience = ("-DPATIENCE_MS=1000", "-DIMPATIENCE_MS=500")
    build = ("cc", "-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", *patience)
    subprocess.run((*build, "-o", str(library), *sources), check=True, timeout=60)
    return library


@pytest.fixture
def host(simulator: Simulator, new_host: NewHost) -> Host:
    """A host process with the module initialised, connected to `simulator`."""
    return new_host(simulator)


@pytest.fixture
def ro_session(host: Host) -> int:
    """A read-only public session in the host."""
    return host.call(Module.open_session, 0)


@pytest.fixture
def user_session(host: Host) -> int:
    """A read-only session in the host with the user logged in."""
    return host.call(probes.user_session)


@pytest.fixture
def new_nss(bare_simulator: Simulator, tmp_path: Path) -> Callable[..., Nss]:
    """Puts a card of the given parameters into `front`, and makes an NSS database with the module in it."""

    def make(pin: str = "123456", **parameters: Any) -> Nss:
        bare_simulator.plug("front")
        bare_simulator.insert("front", CardRequest(**parameters))
        folder = tmp_path / "nss"
        folder.mkdir()
        return Nss(folder, bare_simulator, pin)

    return make
