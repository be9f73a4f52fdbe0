# SPDX-License-Identifier: MIT
"""Who may be at the other end of vpcd's ports: this user and root, whatever the other one tries and whenever."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from cardtear.reader import Reader
from cardtear.reader.pcsc import tcp_peer
from cardtear.reader.pcsc.network_namespace import NetworkNamespace
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.pcsc.vpcd_reversed import ReversedVpcdAdapter
from cardtear.reader.pcsc.vpcd_wire import VpcdControl, encode

from ...shared.waiting import wait_until

DEADLINE = 10.0
STRANGER = 64321
"""A user who has nothing."""

COMMAND = encode(bytes([VpcdControl.ON])) + encode(bytes.fromhex("00200080"))
"""Power, without which a card gets no command, and one."""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")


@contextmanager
def stranger(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another user's Python program, which has imported all it needs; it has to end by itself or with its input."""
    became = f"import encodings.idna, os, socket, sys; os.setgid({STRANGER}); os.setuid({STRANGER})\n{program}"
    command = (sys.executable, "-c", became, *map(str, arguments))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE) == 0


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_for_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until a text is logged."""
    wait_until(lambda: text in caplog.text, lambda: caplog.text)


def pause(seconds: float, *sockets: socket.socket) -> None:
    select.select(sockets, [], [], seconds)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@needs_root
@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("message", ["000104", "000400200080", "0001020001010004002000800004"], ids=str)
def test_a_stranger_connects(
    front: Reader, echo: Any, caplog: pytest.LogCaptureFixture, address: str, message: str
) -> None:
    """Refused with a line, and nothing has reached the card; the owner's own pcscd comes through after it."""
    front.insert(echo)
    port = free_port()
    program = (
        "connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "connection.sendall(bytes.fromhex(sys.argv[3]))\n"
        "try: print(connection.recv(100).hex(), flush=True)\n"
        "except OSError: print(flush=True)"
    )
    with closing(ReversedVpcdAdapter(front.testbed, port, front)):  # type: ignore[arg-type]
        with stranger(program, address, port, message) as process:
            assert line(process) == ""
        wait_for_log(caplog, f"user {STRANGER}")
        assert echo.active.commands == []
        with socket.create_connection((address, port)) as ours:
            ours.settimeout(DEADLINE)
            ours.sendall(COMMAND)
            assert ours.recv(100) == encode(bytes.fromhex("002000809000"))


@needs_root
@pytest.mark.parametrize("end", ["connection.close()", "connection.shutdown(socket.SHUT_WR)", "os._exit(0)"])
def test_a_stranger_is_gone_before_we_look(
    front: Reader, echo: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Its command waits in the queue, and nobody's name stands at the other end any more."""
    front.insert(echo)
    port = free_port()
    looked, gone = threading.Event(), threading.Event()
    find = tcp_peer._find

    def late(*addresses: Any) -> Any:
        looked.set()
        assert gone.wait(DEADLINE)
        return find(*addresses)

    monkeypatch.setattr(tcp_peer, "_find", late)
    program = (
        "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        f"connection.sendall(bytes.fromhex('{COMMAND.hex()}'))\n{end}\nprint(flush=True)\nsys.stdin.read()"
    )
    with closing(ReversedVpcdAdapter(front.testbed, port, front)):  # type: ignore[arg-type]
        with stranger(program, port) as process:
            line(process)
            assert looked.wait(DEADLINE)
            gone.set()
        with socket.create_connection(("127.0.0.1", port)) as ours:
            ours.settimeout(DEADLINE)
            ours.sendall(COMMAND)
            assert ours.recv(100) == encode(bytes.fromhex("002000809000"))
        assert len(echo.active.commands) == 1


LISTEN = """
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(flush=True)
connection, _ = listener.accept()
connection.sendall(bytes.fromhex(sys.argv[2]))
try: print(connection.recv(100).hex(), flush=True)
except OSError: print(flush=True)
"""


@needs_root
@pytest.mark.parametrize("message", ["", COMMAND.hex()], ids=["silent", "at once"])
def test_a_stranger_listens(front: Reader, echo: Any, caplog: pytest.LogCaptureFixture, message: str) -> None:
    """Where no pcscd is: he gets no card."""
    front.insert(echo)
    port = free_port()
    with stranger(LISTEN, port, message) as process:
        line(process)
        with closing(VpcdAdapter(front.testbed, port, front)) as adapter:  # type: ignore[arg-type]
            assert line(process) == ""
            wait_for_log(caplog, f"port {port}: its other end belongs to user {STRANGER}")
            assert not adapter.is_shown
    assert echo.active.commands == []


@needs_root
def test_a_stranger_listens_and_does_not_accept(front: Reader, echo: Any) -> None:
    """Nobody holds the other end then, or root seems to: it is waited for; removal and end are not held up."""
    front.insert(echo)
    port = free_port()
    program = (
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nprint(flush=True)\nsys.stdin.readline()\n"
        "for _ in range(2):\n"
        "    try: listener.accept()[0].sendall(bytes.fromhex(sys.argv[2]))\n"
        "    except ConnectionError: pass\n"
        "print(flush=True)\nsys.stdin.read()"
    )
    with stranger(program, port, COMMAND.hex()) as process:
        line(process)
        with closing(VpcdAdapter(front.testbed, port, front)) as adapter:  # type: ignore[arg-type]
            front.remove()
            insertion = front.insert(echo)
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            line(process)
            assert adapter.dialogue_with(insertion) is None or not adapter.is_shown
    assert echo.active.commands == []


def test_one_of_our_own_is_admitted() -> None:
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection((address, listener.getsockname()[1])),
            listener.accept()[0] as here,
        ):
            tcp_peer.admit(here, pause)


def test_another_user_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests are not root's, and there is nobody else."""
    monkeypatch.setattr(tcp_peer, "_find", lambda *_: tcp_peer._Entry(1, STRANGER, 1))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as here,
        pytest.raises(tcp_peer.Stranger, match=str(STRANGER)),
    ):
        tcp_peer.admit(here, pause)


def test_a_connection_to_itself() -> None:
    """A port to which nobody listens may connect to itself, and then keeps pcscd from it."""
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        connection.connect(connection.getsockname())
        with pytest.raises(ConnectionRefusedError):
            tcp_peer.admit(connection, pause)


def test_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert tcp_peer.listener(port) == os.getuid()
    assert tcp_peer.listener(port) is None


@needs_root
def test_the_other_end_in_another_network() -> None:
    """Its user is not in our tables, and whoever has that number there is not whom we mean."""
    try:
        network = NetworkNamespace()
    except OSError as error:
        pytest.skip(str(error))
    with closing(network), network.entered():
        listener = socket.create_server(("127.0.0.1", 0))
        there, here = socket.create_connection(listener.getsockname()), listener.accept()[0]
        tcp_peer.admit(here, pause)
    with listener, there, here, pytest.raises(tcp_peer.Stranger, match="another network"):
        tcp_peer.admit(here, pause)
