# SPDX-License-Identifier: MIT
"""A pcscd that hangs up on this user's programs, as one that asks polkit does, is told apart from all others."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cardtear.reader import Reader, pcscd_call, tcp_peer
from cardtear.reader.vpcd import VpcdDoor
from cardtear.reader.vpcd_wire import Control

from .test_vpcd import Vpcd

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))


@contextmanager
def pcscd(folder: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """A socket where programs look for pcscd, and what happens to each connection."""
    path = folder / "pcscd.comm"
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def hang_up(_connection: socket.socket) -> None:
    """As pcscd does when polkit says no."""


def hear_and_hang_up(connection: socket.socket) -> None:
    connection.recv(100)


def answer(connection: socket.socket) -> None:
    """As pcscd does to one whom it lets in."""
    assert len(connection.recv(100)) == 20
    connection.sendall(bytes(12))


def _wait(gone: threading.Event) -> None:
    assert gone.wait(10)


@pytest.mark.parametrize("refuse", [hang_up, hear_and_hang_up])
def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[socket.socket], None]) -> None:
    with pcscd(tmp_path, monkeypatch, refuse):
        said = pcscd_call.refusal()
    assert said is not None
    assert f"user {os.getuid()}" in said
    assert "--disable-polkit" in said
    assert "--own-pcscd" in said


def test_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pcscd(tmp_path, monkeypatch, answer):
        assert pcscd_call.refusal() is None


def test_nobody_and_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a refusal."""
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(tmp_path / "nobody"))
    assert pcscd_call.refusal() is None
    monkeypatch.setattr(pcscd_call, "_PATIENCE", 0.05)
    gone = threading.Event()
    with pcscd(tmp_path, monkeypatch, lambda _: _wait(gone)):
        assert pcscd_call.refusal() is None
        gone.set()


def test_the_door_says_it(
    front: Reader, echo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when pcscd has the card."""
    front.insert(echo)
    vpcd = Vpcd()
    with closing(vpcd), pcscd(tmp_path, monkeypatch, hang_up), closing(VpcdDoor(front.bench, vpcd.port, front)) as door:
        vpcd.accept()
        for _ in range(2):  # as pcscd looks before it powers a card up
            vpcd.atr()
        vpcd.control(Control.ON)
        vpcd.atr()
        assert door.wait_until_shown(10)
        for _ in range(3):
            vpcd.atr()
        assert caplog.text.count("refuses the programs of user") == 1
        assert f"reader front is in pcscd, port {vpcd.port}, but" in caplog.text


def test_the_doctor_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pcscd(tmp_path, monkeypatch, hang_up):
        told = subprocess.run((CARDTEAR, "doctor", "--json"), capture_output=True, text=True, check=False, timeout=30)
    (found,) = (each for each in json.loads(told.stdout) if each["what"] == "pcscd with vpcd")
    assert "refuses the programs of user" in found["detail"]
    assert found["works"] is ("one of your own: " in found["detail"])


@pytest.mark.needs("smartcard")
def test_a_card_from_pcsc_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pcscd(tmp_path, monkeypatch, hang_up):
        command = (CARDTEAR, "serve", "--from-pcsc", "any", "--folder", str(tmp_path / "sockets"))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            try:
                assert "no PC/SC for the reader front" in (line := server.stderr.readline())
                assert "refuses the programs of user" in line
            finally:
                server.terminate()


@pytest.mark.parametrize(("uid", "wanted"), [(0, True), (os.getuid(), True), (989, True), (988, False), (1000, False)])
def test_the_account_of_the_service(monkeypatch: pytest.MonkeyPatch, uid: int, wanted: bool) -> None:
    """pcscd may run as one of the system's; no person is that, whatever he is called."""
    for service in (989, 1000):
        entry = pwd.struct_passwd(("pcscd", "x", service, service, "", "/", "/bin/false"))
        monkeypatch.setattr(pwd, "getpwnam", lambda _, entry=entry: entry)
        assert tcp_peer.is_allowed(uid) is (wanted and (uid != 989 or service == 989))
