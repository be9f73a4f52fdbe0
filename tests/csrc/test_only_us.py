# SPDX-License-Identifier: MIT
"""A program into which the library is loaded that lets nobody else in (only_us.c)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cardtear import csrc
from cardtear.csrc import only_us_path, only_us_preload

STRANGER = 64321
DEADLINE = 20

SERVER = """
import errno, select, socket, sys
waits, address, place = sys.argv[1] == "waits", sys.argv[2], sys.argv[3]
listener = socket.socket(socket.AF_UNIX if place else socket.AF_INET)
listener.bind(place or (address, 0))
listener.listen()
listener.setblocking(waits)
if place:
    import os
    os.chmod(place, 0o777)
print(place or "%s %d" % listener.getsockname(), flush=True)
for _ in range(3):
    select.select([listener], [], [])
    try: connection, _ = listener.accept()
    except ConnectionAbortedError: print("aborted", flush=True)
    else:
        with connection:
            connection.setblocking(True)
            try: print("got", connection.recv(9).decode(), flush=True)
            except OSError: print("ended", flush=True)
"""
CLIENT = """
import encodings.idna, os, socket, sys
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
place = sys.argv[2]
with socket.socket(socket.AF_UNIX if "/" in place else socket.AF_INET) as connection:
    connection.connect(place if "/" in place else ("127.0.0.1", int(place)))
    try:
        connection.sendall(b"hello")
        connection.recv(1)
    except ConnectionError: pass
"""


def say_hello(user: int, place: str) -> None:
    subprocess.run((sys.executable, "-c", CLIENT, str(user), place), timeout=DEADLINE, check=True)


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "LD_PRELOAD": str(only_us_path())}
    command = (sys.executable, "-c", SERVER, *arguments)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize(("waits", "refused"), [("waits", "aborted"), ("never waits", "ended")])
def test_a_stranger_gets_nothing(kind: str, waits: str, refused: str) -> None:
    """Neither what he has sent is read, nor is the listener lost."""
    with TemporaryDirectory() as folder, contextlib.ExitStack() as undo:
        Path(folder).chmod(0o755)
        place = f"{folder}/socket" if kind == "unix" else ""
        server = undo.enter_context(start(waits, "127.0.0.1", place))
        assert server.stdout is not None
        where = server.stdout.readline().split()[-1]
        heard = []
        for user in (STRANGER, 0, STRANGER):
            say_hello(user, where)
            heard.append(server.stdout.readline().strip())
        assert heard == [refused, "got hello", refused]


def test_it_listens_on_loopback_only() -> None:
    with start("waits", "0.0.0.0", "") as server:
        assert server.stdout is not None
        host, port = server.stdout.readline().split()
        assert host == "127.0.0.1"
        for _ in range(3):
            say_hello(os.getuid(), port)


def test_other_sockets_are_as_they_were() -> None:
    """A datagram's socket at all addresses is no listener."""
    program = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 0)); print(s.getsockname()[0])"
    environment = {**os.environ, "LD_PRELOAD": str(only_us_path())}
    command = (sys.executable, "-c", program)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert done.stdout == "0.0.0.0\n"


@pytest.mark.parametrize("name", ["plain", "a blank", "a:colon", "$LIB", "ä\n"])
def test_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Else the loader would leave it out with a line that nobody reads, and the program would be open to all."""
    library = tmp_path / name / only_us_path().name
    library.parent.mkdir()
    shutil.copy(only_us_path(), library)
    monkeypatch.setattr(csrc, "only_us_path", lambda: library)
    ended = subprocess.run(
        ("grep", "-c", library.name, "/proc/self/maps"),
        env={**os.environ, "LD_PRELOAD": only_us_preload()},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ended.stderr == ""
    assert int(ended.stdout) > 0
