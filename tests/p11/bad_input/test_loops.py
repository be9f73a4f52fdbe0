# SPDX-License-Identifier: MIT
"""Every decoder that gets bytes from another process, with the loop around it: whatever comes, in whatever pieces, the
loop ends with its sender, or goes on with what makes sense, and others notice nothing."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from cardtear.csrc import module_path
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control import client
from cardtear.lab.control.client import Control, ControlFailure
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import lines as lab_lines
from cardtear.lab.scenario import clients
from cardtear.lab.scenario.clients import ClientProcess
from cardtear.lab.simulator.verbs import TABLE
from cardtear.lab.testing.pool import Pool
from cardtear.p11.constants import CKR
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
from ...shared.waiting import wait_until

DEADLINE = 20.0

PIECES = st.integers(1, 64)
SOME = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({name for row in TABLE.values() for name, *_ in row.parameters} | {"id", "on", "then"}))
HARMLESS = sorted(TABLE.keys() - {"shutdown", "crash", "restart", "trace", "events"})
REQUESTS = st.builds(
    lambda verb, arguments: {"do": verb, **arguments},
    st.sampled_from(HARMLESS),
    st.dictionaries(NAMES, JSON, max_size=4),
)
LINES = st.lists(
    st.one_of(
        st.binary(max_size=30).map(lambda noise: noise.replace(b"\n", b"") + b"\n"),
        REQUESTS.map(lambda request: json.dumps(request).encode() + b"\n"),
        JSON.map(lambda value: json.dumps(value).encode() + b"\n"),
        st.integers(1, 3000).map(lambda depth: depth * b"[" + b"\n"),
    ),
    max_size=5,
)


def send(connection: socket.socket, data: bytes, size: int) -> None:
    """In pieces."""
    for at in range(0, len(data), size):
        connection.sendall(data[at : at + size])


def threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


# The control channel


@SOME
@given(LINES, st.binary(max_size=10), PIECES)
def test_control_lines(bare_simulator: Simulator, lines: list[bytes], rest: bytes, size: int) -> None:
    """Each whole line has one answer, which is never that of a fault of ours; the connection ends with the sender."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(str(bare_simulator.control_socket))
        reader = threading.Thread(target=lambda: answers.extend(connection.makefile("rb")), daemon=True)
        answers: list[bytes] = []
        reader.start()
        send(connection, b"".join(lines) + rest.replace(b"\n", b""), size)
        connection.shutdown(socket.SHUT_WR)
        reader.join(DEADLINE)
        assert not reader.is_alive()
    assert len(answers) - len(lines) in (0, 1)
    for answer in map(json.loads, answers):
        assert answer["ok"] or answer["error"]["code"] != "internal-error", answer
    wait_until(lambda: threads("control") == 0)


ANSWERS = st.lists(
    st.one_of(st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode() + b"\n"), st.just(b"\n")),
    max_size=4,
)


@SOME
@given(ANSWERS, st.sampled_from(["do", "stream"]))
def test_what_answers_a_script(tmp_path: Path, answers: list[bytes], how: str) -> None:
    """Whatever a simulator says, also in the middle of a line in which it dies: a clear failure."""
    path = tmp_path / "control.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"".join(answers))

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with Control(path) as client, contextlib.suppress(ControlFailure):
            client.limit(DEADLINE)
            if how == "do":
                client.do("ping")
            else:
                list(client.stream("trace"))
        server.join(DEADLINE)


@pytest.mark.parametrize("begun", [b"{", b'{"do": "ping"}', b'{"do": "ping"}\n {'])
def test_a_line_that_is_never_whole(bare_simulator: Simulator, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    """It is answered and the connection ends, also if a byte comes now and then; who says nothing stays."""
    monkeypatch.setattr(lab_lines, "LINE_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as idle, socket.socket(socket.AF_UNIX) as connection:
        for each in (idle, connection):
            each.settimeout(DEADLINE)
            each.connect(str(bare_simulator.control_socket))
        connection.sendall(begun)
        stop = threading.Event()

        def dribble() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.send(b" ")

        dribbler = threading.Thread(target=dribble)
        dribbler.start()
        answers = []
        try:
            # a byte that the simulator has not read when it closes the connection resets it: behind the answer
            with contextlib.suppress(ConnectionResetError):
                answers.extend(map(json.loads, connection.makefile("rb")))
        finally:
            stop.set()
            dribbler.join(DEADLINE)
        assert [answer["ok"] for answer in answers] == [True] * begun.count(b"\n") + [False]
        assert "whole within" in answers[-1]["error"]["message"]
        idle.sendall(b'{"do": "ping"}\n')
        assert json.loads(idle.recv(4096))["result"] == "pong"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b'{"ok": true, "res', "no-answer"),
        (b" " * 5000, "bad-answer"),
        (b'{"ok": true, "result": null}\n{"entry"', "no-answer"),
        (b'{"ok": true, "result": null}\n' + b" " * 5000, "bad-answer"),
    ],
)
def test_an_answer_that_is_never_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, code: str) -> None:
    """From a simulator that goes on living: a script is told so, and has kept no more than a line may have."""
    monkeypatch.setattr(lab_lines, "LINE_SECONDS", 0.2)
    monkeypatch.setattr(client, "ANSWER_LIMIT", 4096)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        with Control(tmp_path / "control.sock") as script:
            server, _ = listener.accept()
            with server:
                server.sendall(said)
                with pytest.raises(ControlFailure) as refused:
                    list(script.stream("trace"))
    assert refused.value.code == code


# The simulators of a test run, and the clients of a scenario


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        pool.make_folder()
        yield pool


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
def test_pool_lines(pool: Pool, lines: list[bytes]) -> None:
    """Each line has an answer, and the simulators of the run live on."""
    process, host = pool.process_id, pool._host
    assert host is not None
    assert host.stdin is not None
    assert host.stdout is not None
    for line in lines:
        host.stdin.write(line)
        host.stdin.flush()
        assert "error" in json.loads(host.stdout.readline())
    assert pool.make_folder().is_dir()
    assert pool.process_id == process


def test_a_pool_whose_process_is_gone_in_the_middle_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it has ended is what is said; the next one is started."""
    monkeypatch.setattr(sys, "executable", str(_script(tmp_path / "broken", "read -r line; printf '{\"fold'")))
    with Pool() as pool:
        with pytest.raises(Exception, match="the simulators' process has ended"):
            pool.make_folder()
        monkeypatch.undo()
        assert pool.make_folder().is_dir()


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


PICKLES = st.one_of(
    st.binary(max_size=40),
    JSON.map(pickle.dumps),
    st.tuples(st.integers(-1, 3), JSON).map(pickle.dumps),
    st.just(b"\x80\x04cnosuch\nname\n."),
)


@SOME
@given(st.lists(PICKLES, max_size=3), st.booleans(), st.binary(max_size=6))
def test_what_a_client_answers(messages: list[bytes], is_framed: bool, rest: bytes) -> None:
    """Whatever comes out of its pipe: calls that are under way are lost when it ends, and not a moment later."""
    ours, theirs = socket.socketpair()
    with theirs:
        client = ClientProcess(Connection(ours.detach()), None, lambda: None)
        pending = client.call("main", "C_Sign", [])
        with contextlib.suppress(OSError):
            for message in messages:
                theirs.sendall((len(message).to_bytes(4, "big") if is_framed else b"") + message)
            theirs.sendall(rest)
        theirs.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: client.is_gone)
    assert pending.is_over


def test_what_connects_as_a_child_of_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise, a name of which only a part comes, and nobody: the child is heard all the same."""
    monkeypatch.setattr(clients, "_NAMING", 1)
    processes = clients.Clients(tmp_path, lambda: None)
    address = processes.await_child("child")
    noise = [b"", b"\0", (5).to_bytes(4, "big") + b"\x80\x04", (8).to_bytes(4, "big") + bytes(8), b"\xff" * 40]
    try:
        with contextlib.ExitStack() as crowd:
            for each in noise:
                connection = crowd.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(address)
                connection.sendall(each)
                if each != noise[2]:
                    connection.close()
            child = crowd.enter_context(socket.socket(socket.AF_UNIX))
            child.connect(address)
            with Connection(os.dup(child.fileno())) as named:
                named.send("child")
            wait_until(lambda: "child" in processes.by_name)
    finally:
        processes.close()


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PICKLES, min_size=1, max_size=3), st.booleans())
def test_what_a_client_is_asked(messages: list[bytes], is_framed: bool) -> None:
    """A client ends with whoever asks it, whatever that is."""
    ours, theirs = socket.socketpair()
    command = [
        sys.executable,
        "-m",
        "cardtear.lab.clients.call_process.process",
        str(theirs.fileno()),
        str(module_path()),
        "app",
    ]
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE, text=True) as client, ours:
        theirs.close()
        assert Connection(os.dup(ours.fileno())).recv() is None
        with contextlib.suppress(OSError):
            for message in messages:
                ours.sendall((len(message).to_bytes(4, "big") if is_framed else b"") + message)
            ours.shutdown(socket.SHUT_WR)
        assert "Traceback" not in client.communicate(timeout=DEADLINE)[1]


# The module, and what it finds on its socket


@SOME
@given(
    st.one_of(
        st.binary(max_size=20),
        st.builds(
            lambda *words: b"".join(each.to_bytes(4, sys.byteorder) for each in words),
            st.sampled_from([0, 8, 2**32 - 1]),
            st.sampled_from([4, 5, 6]),
            st.integers(0, 9),
        ),
    ),
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 2**32 - 1).map(lambda length: length.to_bytes(4, sys.byteorder)),
        st.binary(max_size=24).map(lambda body: len(body).to_bytes(4, sys.byteorder) + body),
    ),
    PIECES,
)
def test_what_answers_a_module(idle_host: Host, tmp_path: Path, welcome: bytes, reply: bytes, size: int) -> None:
    """Each call comes back, with an error or without slots; the application lives."""
    path = tmp_path / "p11.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(4096)
                        send(connection, welcome, size)
                        connection.settimeout(0.02)  # one that says nothing more is another test's
                        connection.recv(4096)
                        send(connection, reply, size)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        try:
            value = idle_host.rv(Module.initialize, str(path))
            assert value in (CKR.OK, CKR.FUNCTION_FAILED)

            def calls(m: Module) -> Any:
                return [
                    probes.rv(m.slots),
                    probes.rv(m.open_session, 0),
                    probes.rv(m.is_present, 0),
                    probes.rv(m.session_state, 1),
                ]

            assert all(each != CKR.OK or value == CKR.OK for each in idle_host.call(calls))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            idle_host.call(lambda m: [probes.rv(m.finalize) for _ in range(2)])
        server.join(DEADLINE)


@pytest.fixture
def idle_host(new_host: NewHost) -> Any:
    """A host that has not initialised the module."""
    return new_host(None, initialize=False, CARDTEAR_QUIET="1")
