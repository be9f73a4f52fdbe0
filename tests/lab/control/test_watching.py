# SPDX-License-Identifier: MIT
"""What watches from outside must not change what happens: traces that nobody can write or read, and reports."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cardtear.csrc import module_path
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKR, CKS

from ...shared.host import probes
from ...shared.host.host import Host
from ...shared.waiting import take_time

pytest_plugins = ["pytester"]

DEADLINE = 60.0
CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")
PROGRAM = """
import sys
from cardtear.lab.clients.pkcs11 import Module
m = Module({library!r})
m.initialize()
for turn in range({turns}):
    session = m.open_session(0)
    m.login(session)
    m.sign_init(session, m.find(session, {{0: 3, 0x102: bytes([4])}})[0], 0x1041)
    assert m.sign(session, bytes(32))
    m.logout(session)
    m.close_session(session)
m.finalize()
print("well", file=open("{done}", "w"))
sys.exit(7)
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., list[str]]:
    """A program that signs some times, says `well` in the file `done` and exits with 7."""

    def make(turns: int = 3) -> list[str]:
        source = PROGRAM.format(library=str(module_path()), turns=turns, done=tmp_path / "done")
        return [sys.executable, "-c", source]

    return make


@pytest.mark.parametrize("options", [["--trace"], ["--trace", "--json"]], ids=["time line", "JSON"])
def test_a_trace_on_a_full_device(tmp_path: Path, program: Callable[..., list[str]], options: list[str]) -> None:
    """The program works as without a trace, and its exit code is ours."""
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("needs to be root")
    with (tmp_path / "full").open("w") as full:
        command = [*CARDTEAR, "run", *options, "--", *program()]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, timeout=DEADLINE, check=False)
    assert done.returncode == 7
    assert (tmp_path / "done").read_text() == "well\n"


@pytest.mark.parametrize("options", [["--trace"], ["--trace", "--json"]], ids=["time line", "JSON"])
def test_a_reader_of_the_trace_that_goes(tmp_path: Path, program: Callable[..., list[str]], options: list[str]) -> None:
    """As `2>&1 | head -1`."""
    reading, writing = os.pipe()
    with subprocess.Popen([*CARDTEAR, "run", *options, "--", *program()], stderr=writing) as process:
        os.close(writing)
        assert os.read(reading, 1)
        os.close(reading)
        assert process.wait(DEADLINE) == 7
    assert (tmp_path / "done").read_text() == "well\n"


def test_a_reader_of_the_trace_that_does_not_read(tmp_path: Path, program: Callable[..., list[str]]) -> None:
    """The pipe is full after some calls of many; nobody waits for it, neither a call nor the end."""
    reading, writing = os.pipe()
    with subprocess.Popen([*CARDTEAR, "run", "--trace", "--", *program(100)], stderr=writing) as process:
        os.close(writing)
        assert process.wait(DEADLINE) == 7
    os.close(reading)
    assert (tmp_path / "done").read_text() == "well\n"


@pytest.mark.parametrize("reader", ["does not read", "goes"])
def test_a_log_that_nobody_reads(tmp_path: Path, reader: str) -> None:
    """Who logs does not wait, and neither does the end of the program."""
    reading, writing = os.pipe()
    script = "import logging, sys; from cardtear.lab.processes import log; log.to_standard_error()\n"
    script += "for _ in range(5000): logging.warning('a warning of some length, of which many fill a pipe')\n"
    script += "open(sys.argv[1], 'w').write('well'); sys.exit(7)"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "done"], stderr=writing) as process:
        os.close(writing)
        if reader == "goes":
            assert os.read(reading, 1)
            os.close(reading)
        assert process.wait(DEADLINE) == 7
    if reader != "goes":
        os.close(reading)
    assert (tmp_path / "done").read_text() == "well"


def test_logout_in_every_trace(simulator: Simulator, host: Host) -> None:
    """`cardtear trace` beside it, as a time line, shortened, and as JSON; the session is logged out."""
    session = host.call(probes.user_session)
    environment = {**os.environ, **simulator.environment}
    subprocess.run([*CARDTEAR, "logout", "front"], env=environment, check=True, timeout=DEADLINE)
    assert host.call(Module.session_state, session) == CKS.RO_PUBLIC_SESSION
    for option in ("--no-follow", "--short", "--json"):
        command = [*CARDTEAR, "trace", "--no-follow", *([] if option == "--no-follow" else [option])]
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=True)
        word = '"change": "logout"' if option == "--json" else "Alice's card in front is logged out"
        assert shown.stdout.count(word) == 1
        assert shown.stderr == ""


def test_a_trace_command_on_a_full_device(simulator: Simulator, tmp_path: Path) -> None:
    """One line says so."""
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("needs to be root")
    environment = {**os.environ, **simulator.environment}
    for options in ([], ["--json"]):
        with (tmp_path / "full").open("w") as full:
            done = subprocess.run(
                [*CARDTEAR, "trace", "--no-follow", *options],
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, "cardtear: standard output: No space left on device\n")


@pytest.mark.parametrize("kind", ["goes", "does not read", "sends nonsense"])
def test_a_bad_follower_on_the_control_channel(simulator: Simulator, host: Host, kind: str) -> None:
    """Calls and another follower know nothing of it."""
    with (
        Control(simulator.control_socket) as good,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad,
    ):
        bad.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        bad.connect(str(simulator.control_socket))
        bad.sendall(b'{"do": "trace"}\n')
        assert bad.recv(1)
        entries = good.stream("trace")
        if kind == "goes":
            bad.close()
        if kind == "sends nonsense":
            bad.sendall(b"\0\xff" * 1000)
        session = host.call(probes.user_session)
        for _ in range(300):
            assert host.call(Module.session_state, session) == CKS.RO_USER_FUNCTIONS
        simulator.remove("front")
        assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
        good.limit(DEADLINE)
        shown = []
        for entry in entries:
            shown.append(entry)
            if entry["kind"] == "event":
                break
    first, last = shown[0]["number"], shown[-1]["number"]
    assert sorted(each["number"] for each in shown) == list(range(first, last + 1))
    assert sum(each["kind"] == "call" and each["name"] == "C_GetSessionInfo" for each in shown) == 300


def test_logout_in_a_scenario_that_fails(tmp_path: Path) -> None:
    """The time line has it; no traceback."""
    scenario = tmp_path / "fails.yaml"
    steps = "within: 300ms\nsteps:\n  - logout: front\n  - expect: {count: events, of: remove, exactly: 1}\n"
    scenario.write_text(f"about: Logged out.\n{steps}")
    done = subprocess.run([*CARDTEAR, "play", scenario], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert done.stdout.count("is logged out") == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["raises", "slow"])
def test_the_progress_of_a_scenario(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """What hears of the steps does not change what comes of them."""
    from cardtear.lab.scenario import loads, play

    def progress(_result: object) -> None:
        if kind == "raises":
            raise KeyError("step")
        take_time(0.2)

    outcome = play(loads("about: Two steps.\nsteps:\n  - reset: front\n  - remove: front\n"), progress=progress)
    assert outcome.passed, outcome.message
    assert ("is told nothing more" in caplog.text) == (kind == "raises")


def test_reports_of_pytest(pytester: pytest.Pytester) -> None:
    """A failing test that logs out, one whose simulator is gone, and one whose simulator hangs: each has its report."""
    pytester.makepyfile(
        """
        import os, signal

        def simulator(bench):
            import socket, struct
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(bench.environment["CARDTEAR_CONTROL"])
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                return struct.unpack("3i", credentials)[0]

        def test_logout(card, reader):
            reader.logout()
            assert False

        def test_gone(card, bench):
            os.kill(simulator(bench), signal.SIGKILL)
            assert False

        def test_fine(card, reader):
            reader.logout()

        def test_broken(card, reader, monkeypatch):
            import cardtear.lab.trace.timeline
            monkeypatch.setattr(cardtear.lab.trace.timeline.Timeline, "add", None)
            assert False
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", timeout=DEADLINE)
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (1, 3)  # the pool may have a word about the one that is gone
    text = result.stdout.str()
    assert text.count("Alice's card in front is logged out") == 1
    assert "the simulator cannot be asked" in text
    assert "the time line cannot be shown" in text
    assert "INTERNALERROR" not in text
