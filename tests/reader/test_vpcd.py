# SPDX-License-Identifier: MIT
"""The door to pcscd, against a vpcd of the test's own: when it is connected, what it answers, how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from cardtear.reader import Bench, CardRemoved, Change, Reader, slot_door, vpcd_dialogue
from cardtear.reader.vpcd import VpcdDoor
from cardtear.reader.vpcd_wire import BROKEN_OFF, Control, Decoder, encode

DEADLINE = 10.0
COMMAND = bytes.fromhex("00A4040000")


class Vpcd:
    """The reader's side of the protocol: listens, and speaks to the card that connects."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(DEADLINE)
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None

    def accept(self) -> None:
        """Wait for a card."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(DEADLINE)

    def nobody_comes(self) -> bool:
        """Whether no card is connected by now."""
        self._listener.settimeout(0.05)
        try:
            self._listener.accept()[0].close()
        except TimeoutError:
            return True
        finally:
            self._listener.settimeout(DEADLINE)
        return False

    def send(self, body: bytes) -> None:
        """As vpcd does it: the length and the body apart."""
        assert self._connection is not None
        message = encode(body)
        self._connection.sendall(message[:2])
        self._connection.sendall(message[2:])

    def receive(self) -> bytes:
        """The next message."""
        assert self._connection is not None
        decoder = Decoder()
        while data := self._connection.recv(1 << 16):
            for body in decoder.feed(data):
                return body
        raise ConnectionError("the card has gone")

    def gone(self) -> bool:
        """Wait for the card's end: the beginning of an answer, then a reset, which vpcd takes for a failure."""
        assert self._connection is not None
        assert self._connection.recv(len(BROKEN_OFF), socket.MSG_WAITALL) == BROKEN_OFF
        with pytest.raises(ConnectionResetError):
            self._connection.recv(1)
        return True

    def ask(self, body: bytes) -> bytes:
        self.send(body)
        return self.receive()

    def control(self, wanted: Control) -> None:
        """A control without an answer; the ATR after it proves that it was carried out."""
        self.send(bytes([wanted]))
        assert self.atr()

    def atr(self) -> bytes:
        return self.ask(bytes([Control.ATR]))

    def drop(self) -> None:
        """End the connection, as an ejected card sees it."""
        assert self._connection is not None
        self._connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._listener.close()


@pytest.fixture
def vpcd() -> Iterator[Vpcd]:
    vpcd = Vpcd()
    yield vpcd
    vpcd.close()


@contextmanager
def door_of(reader: Reader, port: int) -> Iterator[VpcdDoor]:
    door = VpcdDoor(reader.bench, port, reader)
    try:
        yield door
    finally:
        closer = threading.Thread(target=door.close, daemon=True)
        closer.start()
        closer.join(DEADLINE)
        assert not closer.is_alive(), "the door does not close"


@pytest.fixture
def door(front: Reader, vpcd: Vpcd) -> Iterator[VpcdDoor]:
    with door_of(front, vpcd.port) as door:
        yield door


@pytest.mark.usefixtures("door")
def test_connected_while_a_card_is_in(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    assert vpcd.nobody_comes()
    insertion = front.insert(echo)
    vpcd.accept()
    assert vpcd.atr() == insertion.atr
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"
    front.remove()
    assert vpcd.gone()
    assert vpcd.nobody_comes()


def test_a_card_that_is_in_already(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    insertion = front.insert(echo)
    with door_of(front, vpcd.port):
        vpcd.accept()
        assert vpcd.atr() == insertion.atr
    assert vpcd.gone()


@pytest.mark.usefixtures("door")
def test_only_its_own_reader(bench: Bench, echo: Any, new_card: Any, front: Reader, vpcd: Vpcd) -> None:
    back = bench.plug("back")
    back.insert(echo)
    assert vpcd.nobody_comes()
    front.insert(new_card())
    vpcd.accept()
    back.remove()
    bench.unplug("back")
    assert vpcd.atr()


@pytest.mark.usefixtures("door")
def test_a_swap_is_another_connection(front: Reader, echo: Any, new_card: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    vpcd.accept()
    assert vpcd.atr()
    other = new_card("other")
    front.swap(other)
    assert vpcd.gone()
    vpcd.accept()
    vpcd.ask(COMMAND)
    assert other.active.commands == [COMMAND]


@pytest.mark.usefixtures("door")
def test_removal_cuts_off_an_apdu_at_once(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """PC/SC programs learn of it while the card's own thread is still at work."""
    front.insert(echo)
    vpcd.accept()
    echo.paused = True
    vpcd.send(COMMAND)
    assert echo.busy.wait(DEADLINE)
    front.remove()
    assert vpcd.gone()
    echo.paused = False
    echo.go_on.set()
    front.insert(echo)
    vpcd.accept()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("door")
def test_reset_and_power(bench: Bench, front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """A reset is one at once; no power is felt when it comes back; the first power-on finds a fresh card."""
    front.insert(echo)
    changes: list[Change] = []
    bench.subscribe(lambda event: changes.append(event.change))
    vpcd.accept()
    vpcd.control(Control.ON)
    vpcd.control(Control.ON)
    vpcd.control(Control.OFF)
    assert changes == []
    vpcd.control(Control.ON)
    assert changes == [Change.RESET]
    vpcd.control(Control.RESET)
    vpcd.control(Control.OFF)
    vpcd.control(Control.RESET)
    vpcd.control(Control.ON)
    assert changes == 3 * [Change.RESET]


@pytest.mark.usefixtures("door")
def test_a_card_that_vpcd_lost_was_without_power(bench: Bench, front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    changes: list[Change] = []
    bench.subscribe(lambda event: changes.append(event.change))
    vpcd.accept()
    vpcd.control(Control.ON)
    vpcd.drop()
    vpcd.accept()
    vpcd.control(Control.ON)
    assert changes == [Change.RESET]


@pytest.mark.usefixtures("door")
def test_another_programs_reset_changes_the_atr(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    vpcd.accept()
    before = vpcd.atr()
    front.reset()
    assert vpcd.atr() != before


@pytest.mark.usefixtures("door")
def test_strange_messages_are_for_the_card(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """An empty body and unknown single bytes get the card's answer: vpcd waits for one."""
    front.insert(echo)
    vpcd.accept()
    for body in (b"", b"\x03", b"\xff", b"\0\0", bytes(65533)):
        assert vpcd.ask(body) == body + b"\x90\x00"


@pytest.mark.usefixtures("door")
def test_several_messages_at_once(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    insertion = front.insert(echo)
    vpcd.accept()
    assert vpcd._connection is not None
    vpcd._connection.sendall(encode(bytes([Control.ON])) + encode(bytes([Control.ATR])) + encode(COMMAND)[:3])
    assert vpcd.receive() == insertion.atr
    vpcd._connection.sendall(encode(COMMAND)[3:])
    assert vpcd.receive() == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("door")
def test_a_slow_vpcd(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """Byte by byte, and with others of our own at the card in between."""
    insertion = front.insert(echo)
    vpcd.accept()
    assert vpcd._connection is not None
    for byte in encode(COMMAND):
        vpcd._connection.sendall(bytes([byte]))
        assert insertion.transmit(COMMAND) == COMMAND + b"\x90\x00"
    assert vpcd.receive() == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("door")
def test_vpcd_goes_and_comes_back(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    for _ in range(3):
        vpcd.accept()
        assert vpcd.atr()
        vpcd.drop()
    vpcd.accept()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


def test_vpcd_comes_later(front: Reader, echo: Any) -> None:
    first = Vpcd()
    first.close()
    front.insert(echo)
    with door_of(front, first.port):
        vpcd = Vpcd(first.port)
        try:
            vpcd.accept()
            assert vpcd.atr()
        finally:
            vpcd.close()


def test_pcscd_is_woken(front: Reader, echo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is started for its first program: the door is one until it ends, and does not insist later on."""
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(tmp_path / "pcscd.comm"))
    first = Vpcd()
    first.close()
    front.insert(echo)
    with socket.socket(socket.AF_UNIX) as activator:
        activator.bind(str(tmp_path / "pcscd.comm"))
        activator.listen()
        activator.settimeout(DEADLINE)
        with door_of(front, first.port):
            program, _ = activator.accept()
            vpcd = Vpcd(first.port)
            vpcd.accept()
            assert vpcd.atr()
            vpcd.close()
            vpcd = Vpcd(first.port)
            vpcd.accept()
            assert vpcd.atr()
            activator.settimeout(0)
            with pytest.raises(BlockingIOError):
                activator.accept()
            vpcd.close()
        program.settimeout(DEADLINE)
        assert program.recv(1) == b""
        program.close()


def test_close_without_vpcd(front: Reader, echo: Any) -> None:
    """The pause between two attempts ends with the door."""
    absent = Vpcd()
    absent.close()
    front.insert(echo)
    with door_of(front, absent.port):
        pass
    assert front.insertion is not None


def test_close_while_nobody_accepts(front: Reader, echo: Any) -> None:
    """Connections to a full queue hang; neither a removal nor the end may wait for them."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    with listener, socket.create_connection(("127.0.0.1", port)):
        front.insert(echo)
        with door_of(front, port):
            front.remove()
            front.insert(echo)


def test_close_in_the_middle_of_an_apdu(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    with door_of(front, vpcd.port):
        vpcd.accept()
        vpcd.send(COMMAND)
        assert vpcd.receive() == COMMAND + b"\x90\x00"
        echo.paused = True
        vpcd.send(COMMAND)
        assert echo.busy.wait(DEADLINE)
        echo.go_on.set()


@pytest.mark.usefixtures("door")
def test_many_fast_cycles_end_consistent(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    for _ in range(200):
        front.remove()
        front.insert(echo)
    while True:
        vpcd.accept()
        try:
            assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"
        except ConnectionError:
            continue
        break
    assert echo.active.commands == [COMMAND]


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    "stream",
    [
        b"\0",
        b"\xff\xff\x04",
        b"\0\0" * 500,
        b"\0\1\x04" * 500,
        b"GET / HTTP/1.1\r\n\r\n" * 5000,
        bytes(range(256)) * 100,
    ],
    ids=["half a length", "cut off", "empty", "many", "HTTP", "bytes"],
)
def test_nonsense_does_no_harm(front: Reader, new_card: Any, vpcd: Vpcd, stream: bytes) -> None:
    """Whatever is sent and however it ends, the door comes again and the card answers."""
    front.insert(new_card())
    vpcd.accept()
    assert vpcd._connection is not None
    vpcd._connection.sendall(stream)
    vpcd.drop()
    vpcd.accept()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("door")
def test_a_message_that_does_not_end(
    front: Reader, echo: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other end is dropped with a word, and tried again."""
    monkeypatch.setattr(slot_door, "UNFINISHED", 0.05)
    front.insert(echo)
    vpcd.accept()
    assert vpcd._connection is not None
    vpcd._connection.sendall(b"SSH-2.0-OpenSSH")
    with pytest.raises(ConnectionResetError):
        vpcd._connection.recv(1)
    assert "does not end" in caplog.text
    vpcd.accept()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("door")
def test_who_hangs_up_at_once_is_not_called_all_the_time(front: Reader, echo: Any, vpcd: Vpcd, caplog: Any) -> None:
    """The pauses grow, and there is one word about it."""
    front.insert(echo)
    start = monotonic()
    for _ in range(5):
        vpcd.accept()
        vpcd.drop()
    assert monotonic() - start > 0.3
    assert caplog.text.count("waits for vpcd") == 1


@pytest.mark.usefixtures("door")
def test_others_wait_for_a_program_that_speaks(
    front: Reader, echo: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as its commands follow each other closely, and no longer than the longest time."""
    monkeypatch.setattr(vpcd_dialogue, "SILENCE", DEADLINE)
    monkeypatch.setattr(vpcd_dialogue, "LONGEST", 0.2)
    insertion = front.insert(echo)
    vpcd.accept()
    start = monotonic()
    vpcd.ask(COMMAND)
    assert insertion.transmit(COMMAND) == COMMAND + b"\x90\x00"
    assert 0.15 < monotonic() - start < DEADLINE


@pytest.mark.usefixtures("door")
def test_a_program_that_speaks_loses_its_card(
    front: Reader, echo: Any, new_card: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that is kept for it can be pulled all the same, and the next one is everybody's."""
    monkeypatch.setattr(vpcd_dialogue, "SILENCE", DEADLINE)
    insertion = front.insert(echo)
    vpcd.accept()
    vpcd.ask(COMMAND)
    front.remove()
    assert vpcd.gone()
    with pytest.raises(CardRemoved):
        insertion.transmit(COMMAND)
    assert front.insert(new_card()).transmit(COMMAND) == COMMAND + b"\x90\x00"
