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
from cardtear.reader import Reader
from cardtear.reader.pcsc import pcscd_call, tcp_peer
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.pcsc.vpcd_reversed import ReversedVpcdAdapter
from cardtear.reader.pcsc.vpcd_slots import PcscSlots, VpcdSlots
from cardtear.reader.pcsc.vpcd_wire import VpcdControl, encode

from .test_vpcd import Vpcd

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))


@contextmanager
def listening(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket where programs look for pcscd."""
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener


@contextmanager
def pcscd(folder: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """A socket where programs look for pcscd, and what happens to each connection."""
    with listening(folder / "pcscd.comm", monkeypatch) as listener:

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


@pytest.mark.parametrize("is_removed", [False, True])
def test_one_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_removed: bool) -> None:
    """Its end hangs up on whoever is connected, and is no refusal."""
    path = tmp_path / "pcscd.comm"
    with listening(path, monkeypatch) as listener:

        def end() -> None:
            connection, _ = listener.accept()
            if is_removed:
                path.unlink()
            listener.close()
            connection.close()

        thread = threading.Thread(target=end)
        thread.start()
        assert pcscd_call.refusal() is None
        thread.join(10)


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
    with (
        closing(vpcd),
        pcscd(tmp_path, monkeypatch, hang_up),
        closing(VpcdAdapter(front.testbed, vpcd.port, front)) as adapter,  # type: ignore[arg-type]
    ):
        vpcd.accept()
        for _ in range(2):  # as pcscd looks before it powers a card up
            vpcd.atr()
        vpcd.control(VpcdControl.ON)
        vpcd.atr()
        assert adapter.wait_until_shown(10)
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


SERVICE = 987
"""What the machine's pcscd may run as."""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The account of the machine's pcscd, which has its socket in a folder of root's. Only root can make that."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    entry = pwd.struct_passwd(("pcscd", "x", SERVICE, SERVICE, "", "/", "/bin/false"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: entry)
    place = tmp_path / "run" / "pcscd.comm"
    place.parent.mkdir(mode=0o755)
    monkeypatch.setattr(pcscd_call, "_SOCKET", str(place))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        os.chown(place, SERVICE, SERVICE)
        yield place


def test_the_account_of_the_service(service: Path) -> None:
    """It may listen where the card is shown; nobody else may, and nothing more may it."""
    for uid, wanted in ((0, True), (os.getuid(), True), (SERVICE, True), (SERVICE + 1, False), (1000, False)):
        assert pcscd_call.may_listen(uid) is wanted
    assert not tcp_peer.is_ours(SERVICE)


@pytest.mark.parametrize("flaw", ["no account", "a person", "no socket", "another's", "a file", "open to all", "named"])
def test_what_is_no_service(service: Path, monkeypatch: pytest.MonkeyPatch, flaw: str) -> None:
    uid = SERVICE
    if flaw == "no account":
        monkeypatch.setattr(pwd, "getpwnam", lambda name: {}[name])
    elif flaw == "a person":
        uid = 1000
        entry = pwd.struct_passwd(("pcscd", "x", uid, uid, "", "/", "/bin/sh"))
        monkeypatch.setattr(pwd, "getpwnam", lambda _: entry)
        os.chown(service, uid, uid)
    elif flaw == "no socket":
        service.unlink()
    elif flaw == "another's":
        os.chown(service, SERVICE + 1, SERVICE)
    elif flaw == "a file":
        service.unlink()
        service.touch()
        os.chown(service, SERVICE, SERVICE)
    elif flaw == "open to all":
        service.parent.chmod(0o1777)
    else:  # an account of a like number, and a socket of that
        uid += 1
        os.chown(service, uid, uid)
    assert not pcscd_call.may_listen(uid)


ACCOUNT = f"""
import encodings.idna, os, socket, sys
os.setgid({SERVICE}); os.setuid({SERVICE})
{{}}
connection.sendall(bytes.fromhex("000104"))
try: print(connection.recv(100).hex(), flush=True)
except OSError: print(flush=True)
"""
LISTEN = """listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
connection, _ = listener.accept()"""
CONNECT = 'connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))'


def vpcd_of_the_service(does: str, port: int) -> subprocess.Popen[str]:
    """A process of that account that asks for the ATR, and says what it got."""
    command = (sys.executable, "-c", ACCOUNT.format(does), str(port))
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("own", [False, True])
def test_the_service_listens(service: Path, front: Reader, echo: Any, own: bool) -> None:
    """It gets the card, but not that which is for a pcscd of our own."""
    insertion = front.insert(echo)
    port = free_port()
    with vpcd_of_the_service(LISTEN, port) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        with closing(VpcdSlots(front.testbed, PcscSlots(port, daemon=Ours() if own else None))):  # type: ignore[arg-type]
            got = process.stdout.readline().strip()
    assert got == ("" if own else encode(insertion.atr).hex())


class Ours:
    """A pcscd that is this user's."""

    is_running = is_there = True

    def start(self) -> bool:
        return False

    def stop(self) -> bool:
        return False


def test_the_service_connects(service: Path, front: Reader, echo: Any, caplog: pytest.LogCaptureFixture) -> None:
    """In the reversed mode whoever connects is this user or root."""
    front.insert(echo)
    port = free_port()
    with closing(ReversedVpcdAdapter(front.testbed, port, front)), vpcd_of_the_service(CONNECT, port) as process:  # type: ignore[arg-type]
        assert process.stdout is not None
        assert process.stdout.readline().strip() == ""
    assert f"user {SERVICE}" in caplog.text
