# SPDX-License-Identifier: MIT
"""No descriptors, no memory, signals and forks: a call fails and says so, nothing is lost, and the next one is fine."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.calls import CALLS
from cardtear.p11.constants import CKR

from ..shared.host import probes
from ..shared.host.host import Host, NewHost
from ..shared.waiting import wait_until

pytestmark = pytest.mark.needs("cc")

DEADLINE = 60.0
WANTS = (CKR.HOST_MEMORY, CKR.FUNCTION_FAILED)


def is_whole(host: Host, session: int) -> bool:
    """Whether the session is there, the user logged in, and a key signs."""
    return len(host.call(probes.sign_with, session, b"\1")) == 256


def waiters(simulator: Simulator) -> int:
    return sum(len(each.waiters) for each in simulator._server.applications)


def occupy(simulator: Simulator, host: Host) -> Any:
    """A call that keeps the only free connection, so that every other call needs a new one."""
    before = waiters(simulator)
    waiting = host.start_rv(Module.wait_for_slot_event)
    wait_until(lambda: waiters(simulator) > before)
    return waiting


def test_no_descriptors_left(simulator: Simulator, host: Host, user_session: int) -> None:
    """Every function says so; afterwards all is as it was."""
    waiting = occupy(simulator, host)
    host.call(probes.limit_files, 3)
    for call in CALLS:
        if call.name not in ("C_Finalize", "C_WaitForSlotEvent") and (call.version, call.minor) == (2, 40):
            value = host.call(probes.call_with_junk, call.name, user_session)
            assert value in (*WANTS, CKR.ARGUMENTS_BAD, CKR.ATTRIBUTE_VALUE_INVALID), call.name
    assert host.rv(Module.wait_for_slot_event, block=False) in WANTS
    assert host.rv(Module.session_state, user_session) in WANTS
    host.call(probes.limit_files, 256)
    assert is_whole(host, user_session)
    assert not waiting.done()


def test_no_descriptors_for_finalize(simulator: Simulator, host: Host, user_session: int) -> None:
    """It needs none: the connections are closed."""
    waiting = occupy(simulator, host)
    host.call(probes.limit_files, 3)
    host.call(Module.finalize)
    assert waiting.result(DEADLINE) == CKR.CRYPTOKI_NOT_INITIALIZED
    wait_until(lambda: simulator.status()["applications"] == [])
    assert host.rv(Module.initialize) in WANTS
    host.call(probes.limit_files, 256)
    host.call(Module.initialize)
    assert is_whole(host, host.call(probes.user_session))


@pytest.mark.parametrize("free", [0, 1])
def test_no_descriptors_at_first(simulator: Simulator, new_host: NewHost, free: int) -> None:
    """None for the connection, or none for what comes with the welcome."""
    host = new_host(simulator, initialize=False)
    host.call(probes.limit_files, host.call(probes.least_descriptor) + free)
    assert host.rv(Module.initialize) in WANTS
    assert host.rv(Module.slots) == CKR.CRYPTOKI_NOT_INITIALIZED
    host.call(probes.limit_files, 256)
    host.call(Module.initialize)
    assert host.call(Module.slots) == [0]


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library in which socket() and connect() fail as a process asks for."""
    library = tmp_path_factory.mktemp("failing") / "failing.so"
    source = Path(__file__).parent / "failing.c"
    subprocess.run(("cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"), check=True)
    return library


def test_whatever_the_kernel_lacks(simulator: Simulator, new_host: NewHost, failing: Path) -> None:
    """In socket() and in connect(): nothing is taken for a simulator that has gone."""
    host = new_host(simulator, LD_PRELOAD=str(failing))
    session = host.call(probes.user_session)
    for function in ("socket", "connect"):
        for error in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            waiting = occupy(simulator, host)
            host.call(probes.call_of_process, f"fail_{function}", error)
            assert host.rv(Module.session_state, session) in WANTS
            assert host.rv(Module.slots) in WANTS
            host.call(probes.call_of_process, f"fail_{function}", 0)
            assert is_whole(host, session)
            assert not waiting.done()


def test_no_memory(simulator: Simulator, new_program: Path) -> None:
    """For a request, a reply, a connection: the reply is read all the same, for the connection goes on."""
    result = subprocess.run(
        [str(new_program), "memory"],
        env={**os.environ, **simulator.environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("refused, and nothing lost\n", "")


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many as root lets us."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("limit", [4096, 200])
def test_more_calls_at_once_than_there_ever_were(
    simulator: Simulator, new_host: NewHost, many_files: None, limit: int
) -> None:
    """1100 threads that wait: with descriptors for all of them, and for some; the card and its sessions stay."""
    host = new_host(simulator)
    session = host.call(probes.user_session)
    host.call(probes.limit_files, limit)
    waiting = host.start(probes.many_waiters, 1100)
    wait_until(lambda: host.call(probes.waiters_alive) == waiters(simulator))
    if limit > 1100:
        assert is_whole(host, session)
    host.call(probes.limit_files, 4096)
    assert is_whole(host, session)
    host.call(Module.finalize)
    values = waiting.result(DEADLINE)
    assert len(values) == 1100
    ended = values.count(CKR.CRYPTOKI_NOT_INITIALIZED)
    assert (ended == 1100) if limit > 1100 else (150 < ended < limit), ended
    assert set(values) <= {CKR.CRYPTOKI_NOT_INITIALIZED, *WANTS}


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Run a simulator as a program; gives its process, and how the module finds it."""
    command = (sys.executable, "-m", "cardtear.lab.cli.main", "serve", "--folder", str(folder), *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:
        try:
            assert served.stdout is not None
            assert "ready" in served.stdout.readline()
            yield served.pid, {"CARDTEAR_SOCKET": str(folder / "p11.sock")}
        finally:
            served.kill()


def test_a_simulator_without_descriptors(tmp_path: Path, new_host: NewHost) -> None:
    """It says that it has none, at once; who is there already stays, and it does not spin."""
    with serving(tmp_path / "run") as (process, environment):
        host = new_host(None, environment=environment)
        session = host.call(probes.user_session)
        used = len(os.listdir(f"/proc/{process}/fd"))
        resource.prlimit(process, resource.RLIMIT_NOFILE, (used + 6, used + 6))
        waiting = host.start(probes.many_waiters, 20)
        late = new_host(None, initialize=False, environment=environment)
        wait_until(lambda: late.rv(Module.initialize) in WANTS or late.call(Module.finalize))
        for _ in range(20):
            assert host.rv(Module.session_state, session) in (CKR.OK, *WANTS)
        before = cpu_seconds(process)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)  # without a call, so that nothing else costs it time
        assert cpu_seconds(process) - before < 0.25
        host.call(Module.finalize)
        assert set(waiting.result(DEADLINE)) <= {CKR.CRYPTOKI_NOT_INITIALIZED, *WANTS}
        wait_until(lambda: late.rv(Module.initialize) == CKR.OK)
        assert late.call(lambda m: m.token_info(0)[0]) == "Alice"


def test_a_simulator_without_room_for_threads(tmp_path: Path, new_host: NewHost) -> None:
    """It says so, also when it has never logged before, and goes on."""
    with serving(tmp_path / "run", "--profile", "blank") as (process, environment):
        host = new_host(None, environment=environment)
        session = host.call(probes.user_session)
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (7 << 20)  # a thread takes 8 MiB
        resource.prlimit(process, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        waiting = host.start(probes.many_waiters, 20)
        late = new_host(None, initialize=False, environment=environment)
        wait_until(lambda: late.rv(Module.initialize) in WANTS or late.call(Module.finalize))
        assert host.rv(Module.session_state, session) in (CKR.OK, *WANTS)
        resource.prlimit(process, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: late.rv(Module.initialize) == CKR.OK)
        assert host.rv(Module.session_state, session) == CKR.OK
        host.call(Module.finalize)
        assert set(waiting.result(DEADLINE)) <= {CKR.CRYPTOKI_NOT_INITIALIZED, *WANTS}


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_signals_while_it_connects(fake_class: Any, new_program: Path, tmp_path: Path) -> None:
    """One each millisecond, while the simulator is too busy to take the connection in."""
    path = tmp_path / "p11.sock"
    fake = fake_class(path, backlog=0)
    fake.answers["C_GetSlotList"] = lambda _present, room: (CKR.OK, (1 if room is None else [7],))
    with contextlib.ExitStack() as crowd:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection = crowd.enter_context(socket.socket(socket.AF_UNIX))
                connection.setblocking(False)
                connection.connect(str(path))
        environment = {"CARDTEAR_SOCKET": str(path)}
        with subprocess.Popen(
            [str(new_program), "signals"], env=environment, stdout=subprocess.PIPE, text=True
        ) as program:
            status = Path(f"/proc/{program.pid}/status")
            wait_until(lambda: int(status.read_text().partition("voluntary_ctxt_switches:")[2].split()[0]) > 50)
            crowd.close()
            fake.accept()
            output, _ = program.communicate(timeout=DEADLINE)
            assert output.startswith("1 slots")
    fake.close()


def test_forks_while_others_connect(simulator: Simulator, new_program: Path) -> None:
    """A child has none of the descriptors, whatever the other threads were doing."""
    environment = {**os.environ, **simulator.environment}
    command = [str(new_program), "fork-always"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (result.stdout, result.stderr) == ("0 more files in a child\n", "")
