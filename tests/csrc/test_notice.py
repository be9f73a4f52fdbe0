# SPDX-License-Identifier: MIT
"""The line on standard error of a program whose module finds no simulator."""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator

from ..shared.host import probes
from ..shared.host.host import NewHost

pytestmark = pytest.mark.needs("cc")

DEADLINE = 30


def run(program: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(
        [str(program), *arguments], env=environment, text=True, timeout=DEADLINE, check=False, **options
    )


def test_it_says_where_it_looked_and_what_to_do(new_program: Path, tmp_path: Path) -> None:
    """One line, whoever has said where to look."""
    path = tmp_path / "p11.sock"
    runtime = tmp_path / "cardtear" / "p11.sock"
    for result, where in (
        (run(new_program, env={"CARDTEAR_SOCKET": str(path)}), path),
        (run(new_program, str(path)), path),
        (run(new_program, env={"XDG_RUNTIME_DIR": str(tmp_path)}), runtime),
        (run(new_program), f"/tmp/cardtear-{os.getuid()}/p11.sock"),
    ):
        assert result.stdout == "0 slots\n"
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"cardtear: no simulator at {where} (No such file or directory)")
        assert "`cardtear serve`" in line
        assert "CARDTEAR_SOCKET" in line
        assert "CARDTEAR_QUIET=1" in line


def test_it_says_why(new_program: Path, tmp_path: Path) -> None:
    """What is there is no simulator, or a dead one's socket."""
    path = tmp_path / "p11.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.settimeout(DEADLINE)
        environment = {"CARDTEAR_SOCKET": str(path)}
        assert "(Connection refused)" in run(new_program, env=environment).stderr
        listener.listen()
        with subprocess.Popen(
            [str(new_program)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program:
            for _ in range(2):  # C_Initialize, C_GetSlotList
                connection, _ = listener.accept()
                connection.close()
            listener.close()
            assert "no simulator of this version" in program.communicate(timeout=DEADLINE)[1]


def test_once_in_a_process_and_its_children(new_program: Path, tmp_path: Path) -> None:
    """However often it initialises the module."""
    result = run(new_program, "fork", env={"CARDTEAR_SOCKET": str(tmp_path / "none")})
    assert result.stdout == 3 * "0 slots\n"
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(("value", "lines"), [("1", 0), ("yes", 0), ("", 1), ("0", 1)])
def test_a_variable_silences_it(new_program: Path, tmp_path: Path, value: str, lines: int) -> None:
    """Any value but an empty one and 0."""
    result = run(new_program, env={"CARDTEAR_SOCKET": str(tmp_path / "none"), "CARDTEAR_QUIET": value})
    assert len(result.stderr.splitlines()) == lines


def test_a_path_is_shown_as_text(new_program: Path, tmp_path: Path) -> None:
    """Whatever is in it, the terminal gets a line of printable characters."""
    path = f"{tmp_path}/\x1b[31m\n\u00e9"
    result = run(new_program, env={"CARDTEAR_SOCKET": path})
    assert rf"{tmp_path}/\x1b[31m\x0a\xc3\xa9 (" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_path_that_is_long(new_program: Path) -> None:
    """As long as a socket's can be, and of nothing that is printable."""
    result = run(new_program, env={"CARDTEAR_SOCKET": "/" + 106 * "\x01"})
    assert 106 * r"\x01" in result.stderr


def test_a_path_that_is_too_long(new_program: Path) -> None:
    """In the environment it is told like any place without a simulator; as an argument of C_Initialize it is bad."""
    long = "/" + 107 * "a"
    for environment, where in (
        ({"CARDTEAR_SOCKET": long}, long),
        ({"XDG_RUNTIME_DIR": long}, f"{long}/cardtear/p11.sock"),
    ):
        result = run(new_program, env=environment)
        assert result.stdout == "0 slots\n"
        assert result.stderr.startswith(
            f"cardtear: no simulator at {where} (no socket's path is longer than 107 bytes)"
        )
        assert len(result.stderr.splitlines()) == 1
    result = run(new_program, long)
    assert result.stdout != "0 slots\n"
    assert "longer than 107 bytes" in result.stderr


def test_not_when_there_was_one(new_host: NewHost, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """That it has gone is a removal, also for C_Initialize and for a child."""
    with Simulator(tmp_path / "run") as simulator:
        simulator.plug("front")
        host = new_host(simulator)
        assert host.call(Module.slots) == [0]
    assert host.call(Module.slots) == [0]
    host.call(lambda m: (m.finalize(), m.initialize(), m.slots()))
    assert host.call(probes.fork_and, probes.child_lists_its_slots) == 0
    assert capfd.readouterr().err == ""


# Where it cannot be written


def test_no_standard_error(new_program: Path, tmp_path: Path) -> None:
    """Closed, a pipe that nobody reads, a full one, a full device: the program goes on, and no signal ends it."""
    environment = {"CARDTEAR_SOCKET": str(tmp_path / "none")}
    ours, theirs = os.pipe()
    os.close(ours)
    closed = run(Path("/bin/sh"), "-c", 'exec "$0" 2>&-', str(new_program), env=environment, stderr=None)
    unread = run(new_program, env=environment, stderr=theirs)
    os.close(theirs)
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(theirs, bytes(4096))
    os.set_blocking(theirs, True)
    full = run(new_program, env=environment, stderr=theirs)
    os.close(ours)
    os.close(theirs)
    with open("/dev/full", "wb") as device:
        no_room = run(new_program, env=environment, stderr=device)
    limit = (4096, 4096)
    with (tmp_path / "limited").open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        limited = run(
            new_program,
            env=environment,
            stderr=file,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        )
    for result in (closed, unread, full, no_room, limited):
        assert (result.returncode, result.stdout) == (0, "0 slots\n")


def test_a_file_that_has_its_number_by_chance(new_program: Path, tmp_path: Path) -> None:
    """A program without a standard error has opened a file, which is none of our business."""
    result = run(
        Path("/bin/sh"),
        "-c",
        'exec "$0" file 2>&-',
        str(new_program),
        env={"CARDTEAR_SOCKET": str(tmp_path / "none")},
        cwd=tmp_path,
    )
    assert result.stdout == "0 slots\n"
    assert (tmp_path / "file").read_bytes() == b""


def test_a_terminal_of_another_job(new_program: Path, tmp_path: Path) -> None:
    """One that stops whoever writes from the background: the program is not stopped."""
    ours, theirs = pty.openpty()
    try:
        script = 'stty tostop; set -m; "$0" >out & wait $!; echo "ended $?" >>out'
        with subprocess.Popen(
            ["setsid", "-c", "sh", "-c", script, str(new_program)],
            env={"PATH": os.environ["PATH"], "CARDTEAR_SOCKET": str(tmp_path / "none")},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=tmp_path,
        ) as shell:
            shell.wait(DEADLINE)
        assert (tmp_path / "out").read_text() == "0 slots\nended 0\n"
        assert b"cardtear: no simulator" in os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
