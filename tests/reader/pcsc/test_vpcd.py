# SPDX-License-Identifier: MIT
"""The adapter to pcscd, against a vpcd of the test's own: when it is connected, what it answers, how it ends."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from cardtear.reader import CardRemoved, Change, Reader, Testbed
from cardtear.reader.pcsc import slot_adapter, vpcd_dialogue
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.pcsc.vpcd_wire import BROKEN_OFF, Decoder, VpcdControl, encode

from ...shared.waiting import call_with_deadline, wait_until

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
        """Wait for a connection, as vpcd does when pcscd looks."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(DEADLINE)

    def see_empty(self) -> None:
        """Look, and find the slot empty."""
        self.accept()
        self.send(bytes([VpcdControl.ATR]))
        assert self.gone()

    def power_up(self) -> bytes:
        """Wait for a card, see it and power it up, as pcscd does; its ATR."""
        self.accept()
        assert self.atr()
        assert self.atr()
        self.send(bytes([VpcdControl.ON]))
        return self.atr()

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

    def leaves(self) -> bool:
        """Look, and find that the card has gone."""
        self.send(bytes([VpcdControl.ATR]))
        return self.gone()

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

    def control(self, wanted: VpcdControl) -> None:
        """A control without an answer; the ATR after it proves that it was carried out."""
        self.send(bytes([wanted]))
        assert self.atr()

    def atr(self) -> bytes:
        return self.ask(bytes([VpcdControl.ATR]))

    def drop(self) -> None:
        """End the connection, as an ejected card sees it."""
        assert self._connection is not None
        self._connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._listener.close()


@pytest.fixture(autouse=True)
def no_pcscd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind this vpcd there is no queue of programs to stand in."""
    monkeypatch.setattr(slot_adapter, "_new_transactions", lambda: None)


@pytest.fixture
def vpcd() -> Iterator[Vpcd]:
    vpcd = Vpcd()
    yield vpcd
    vpcd.close()


@contextmanager
def adapter_of(reader: Reader, port: int) -> Iterator[VpcdAdapter]:
    adapter = VpcdAdapter(reader.testbed, port, reader)  # type: ignore[arg-type]
    try:
        yield adapter
    finally:
        closer = threading.Thread(target=adapter.close, daemon=True)
        closer.start()
        closer.join(DEADLINE)
        assert not closer.is_alive(), "the adapter does not close"


@pytest.fixture
def adapter(front: Reader, vpcd: Vpcd) -> Iterator[VpcdAdapter]:
    with adapter_of(front, vpcd.port) as adapter:
        yield adapter


@pytest.mark.usefixtures("adapter")
def test_connected_while_a_card_is_in(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    assert vpcd.nobody_comes()
    insertion = front.insert(echo)
    assert vpcd.power_up() == insertion.atr
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"
    front.remove()
    assert vpcd.leaves()
    assert vpcd.nobody_comes()


def test_a_card_that_is_in_already(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    insertion = front.insert(echo)
    with adapter_of(front, vpcd.port):
        vpcd.accept()
        assert vpcd.atr() == insertion.atr
    assert vpcd.gone()


@pytest.mark.usefixtures("adapter")
def test_only_its_own_reader(bench: Testbed, echo: Any, new_card: Any, front: Reader, vpcd: Vpcd) -> None:
    back = bench.plug("back")
    back.insert(echo)
    assert vpcd.nobody_comes()
    front.insert(new_card())
    vpcd.accept()
    back.remove()
    bench.unplug("back")
    assert vpcd.atr()


@pytest.mark.usefixtures("adapter")
def test_a_swap_is_another_connection(front: Reader, echo: Any, new_card: Any, vpcd: Vpcd) -> None:
    """pcscd looks before anything else happens, and sees an empty slot."""
    front.insert(echo)
    vpcd.power_up()
    other = new_card("other")
    front.swap(other)
    assert vpcd.leaves()
    vpcd.power_up()
    vpcd.ask(COMMAND)
    assert other.active.commands == [COMMAND]


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize("swaps", [1, 2, 5])
@pytest.mark.parametrize(
    "sent",
    [COMMAND, bytes([VpcdControl.RESET]), bytes([VpcdControl.ON]), bytes([VpcdControl.OFF])],
    ids=["APDU", "reset", "on", "off"],
)
def test_a_swap_that_a_program_notices_first(
    front: Reader, echo: Any, new_card: Any, vpcd: Vpcd, sent: bytes, swaps: int
) -> None:
    """What it sends fails, and reaches neither card; pcscd sees the slot empty once before the card, all the same."""
    front.insert(echo)
    vpcd.power_up()
    cards = [new_card(str(number)) for number in range(swaps)]
    for card in cards:
        front.swap(card)
    vpcd.send(sent)
    assert vpcd.gone()
    vpcd.see_empty()
    vpcd.power_up()
    assert [card.active is not None and card.active.commands for card in cards] == [False] * (swaps - 1) + [[]]
    assert echo.active is None
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_the_answer_to_a_power_on_is_no_look(front: Reader, echo: Any, new_card: Any, vpcd: Vpcd) -> None:
    """The ATR that a program waits for fails, and the slot is empty when pcscd looks."""
    front.insert(echo)
    vpcd.power_up()
    vpcd.send(bytes([VpcdControl.RESET]))
    wait_for_reset(echo)
    front.swap(new_card("other"))
    assert vpcd.leaves()
    vpcd.see_empty()
    assert vpcd.power_up()


def wait_for_reset(card: Any) -> None:
    """Wait until the card is activated for the second time."""
    wait_until(lambda: card.activations >= 2)


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize(
    "sent",
    [COMMAND, bytes([VpcdControl.RESET]), bytes([VpcdControl.ON]), bytes([VpcdControl.OFF])],
    ids=["APDU", "reset", "a program's power-on", "off"],
)
def test_a_card_that_pcscd_takes_for_another(front: Reader, echo: Any, vpcd: Vpcd, sent: bytes) -> None:
    """One of a simulator that was killed just now: the new card gets nothing until pcscd has powered it up."""
    front.insert(echo)
    vpcd.accept()
    assert vpcd.atr()
    vpcd.send(sent)
    assert vpcd.gone()
    assert (echo.activations, echo.active.commands) == (1, [])
    vpcd.see_empty()
    vpcd.power_up()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_a_card_that_pcscd_looks_at_again(
    front: Reader, echo: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without having powered it up in between, and not at once, as when it starts."""
    front.insert(echo)
    vpcd.accept()
    assert vpcd.atr()
    assert vpcd.atr()
    with monkeypatch.context() as later:
        later.setattr(vpcd_dialogue, "_AT_ONCE", 0.0)
        assert vpcd.leaves()
    vpcd.see_empty()
    assert vpcd.power_up()


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize("comes_back", [False, True])
def test_pulled_before_pcscd_has_looked(
    front: Reader, echo: Any, vpcd: Vpcd, caplog: pytest.LogCaptureFixture, comes_back: bool
) -> None:
    """Nobody was told of the card: no word about vpcd, and the next one is shown at the first look."""
    front.insert(echo)
    vpcd.accept()
    front.remove()
    if comes_back:
        front.insert(echo)
        assert vpcd.atr()
    else:
        assert vpcd.leaves()
        assert vpcd.nobody_comes()
    assert "waits for vpcd" not in caplog.text


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize("looks", [1, 2, 3, 4, 5])
def test_pulled_while_it_is_shown(
    front: Reader, echo: Any, new_card: Any, vpcd: Vpcd, caplog: pytest.LogCaptureFixture, looks: int
) -> None:
    """At each step of pcscd's: no word about vpcd, which is there."""
    front.insert(echo)
    vpcd.accept()
    for control in (VpcdControl.ATR, VpcdControl.ATR, VpcdControl.ON, VpcdControl.ATR, VpcdControl.ATR)[:looks]:
        vpcd.send(bytes([control]))
        if control is VpcdControl.ATR:
            assert vpcd.receive()
    front.swap(new_card("other"))
    assert vpcd.leaves()
    if looks == 3:  # that was the answer to the power-on
        vpcd.see_empty()
    assert vpcd.power_up()
    assert "waits for vpcd" not in caplog.text


@pytest.mark.usefixtures("adapter")
def test_removal_cuts_off_an_apdu_at_once(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """PC/SC programs learn of it while the card's own thread is still at work."""
    front.insert(echo)
    vpcd.power_up()
    echo.paused = True
    vpcd.send(COMMAND)
    assert echo.busy.wait(DEADLINE)
    front.remove()
    assert vpcd.gone()
    echo.paused = False
    echo.go_on.set()
    front.insert(echo)
    vpcd.see_empty()
    vpcd.power_up()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_reset_and_power(bench: Testbed, front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """A reset is one at once; no power is felt when it comes back; the first power-on finds a fresh card."""
    front.insert(echo)
    changes: list[Change] = []
    bench.subscribe(lambda event: changes.append(event.change))
    vpcd.power_up()
    vpcd.control(VpcdControl.ON)
    vpcd.control(VpcdControl.OFF)
    assert changes == []
    vpcd.control(VpcdControl.ON)
    assert changes == [Change.RESET]
    vpcd.control(VpcdControl.RESET)
    vpcd.control(VpcdControl.OFF)
    vpcd.control(VpcdControl.RESET)
    vpcd.control(VpcdControl.ON)
    assert changes == 3 * [Change.RESET]


@pytest.mark.usefixtures("adapter")
def test_a_card_that_vpcd_lost_was_without_power(bench: Testbed, front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    changes: list[Change] = []
    bench.subscribe(lambda event: changes.append(event.change))
    vpcd.power_up()
    vpcd.drop()
    vpcd.accept()
    vpcd.control(VpcdControl.ON)
    assert changes == [Change.RESET]


@pytest.mark.usefixtures("adapter")
def test_another_programs_reset_changes_the_atr(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    vpcd.accept()
    before = vpcd.atr()
    front.reset()
    assert vpcd.atr() != before


@pytest.mark.usefixtures("adapter")
def test_strange_messages_are_for_the_card(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """An empty body and unknown single bytes get the card's answer: vpcd waits for one."""
    front.insert(echo)
    vpcd.power_up()
    for body in (b"", b"\x03", b"\xff", b"\0\0", bytes(65533)):
        assert vpcd.ask(body) == body + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_several_messages_at_once(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    insertion = front.insert(echo)
    vpcd.power_up()
    assert vpcd._connection is not None
    vpcd._connection.sendall(encode(bytes([VpcdControl.ON])) + encode(bytes([VpcdControl.ATR])) + encode(COMMAND)[:3])
    assert vpcd.receive() == insertion.atr
    vpcd._connection.sendall(encode(COMMAND)[3:])
    assert vpcd.receive() == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_a_slow_vpcd(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    """Byte by byte, and with others of our own at the card in between."""
    insertion = front.insert(echo)
    vpcd.power_up()
    assert vpcd._connection is not None
    for byte in encode(COMMAND):
        vpcd._connection.sendall(bytes([byte]))
        assert insertion.transmit(COMMAND) == COMMAND + b"\x90\x00"
    assert vpcd.receive() == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_vpcd_goes_and_comes_back(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    for _ in range(3):
        vpcd.accept()
        assert vpcd.atr()
        vpcd.drop()
    vpcd.power_up()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


def test_vpcd_comes_later(front: Reader, echo: Any) -> None:
    first = Vpcd()
    first.close()
    front.insert(echo)
    with adapter_of(front, first.port):
        vpcd = Vpcd(first.port)
        try:
            vpcd.accept()
            assert vpcd.atr()
        finally:
            vpcd.close()


def test_pcscd_is_woken(front: Reader, echo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is started for its first program: the adapter is one until it ends, and does not insist later on."""
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(tmp_path / "pcscd.comm"))
    first = Vpcd()
    first.close()
    front.insert(echo)
    with socket.socket(socket.AF_UNIX) as activator:
        activator.bind(str(tmp_path / "pcscd.comm"))
        activator.listen()
        activator.settimeout(DEADLINE)
        with adapter_of(front, first.port):
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
    """The pause between two attempts ends with the adapter."""
    absent = Vpcd()
    absent.close()
    front.insert(echo)
    with adapter_of(front, absent.port):
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
        with adapter_of(front, port):
            front.remove()
            front.insert(echo)


def test_close_in_the_middle_of_an_apdu(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    with adapter_of(front, vpcd.port):
        vpcd.power_up()
        vpcd.send(COMMAND)
        assert vpcd.receive() == COMMAND + b"\x90\x00"
        echo.paused = True
        vpcd.send(COMMAND)
        assert echo.busy.wait(DEADLINE)
        echo.go_on.set()


@pytest.mark.usefixtures("adapter")
def test_many_fast_cycles_end_consistent(front: Reader, echo: Any, vpcd: Vpcd) -> None:
    front.insert(echo)
    for _ in range(200):
        front.remove()
        front.insert(echo)
    while True:
        try:
            vpcd.power_up()
            assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"
        except ConnectionError:
            continue
        break
    assert echo.active.commands == [COMMAND]


@pytest.mark.usefixtures("adapter")
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
    """Whatever is sent and however it ends, the adapter comes again and the card answers."""
    front.insert(new_card())
    vpcd.accept()
    assert vpcd._connection is not None
    vpcd._connection.sendall(stream)
    vpcd.drop()
    while True:
        vpcd.accept()
        try:
            assert vpcd.atr()  # or pcscd sees the slot empty first
            break
        except ConnectionError:
            continue
    assert vpcd.atr()
    vpcd.control(VpcdControl.ON)
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_a_message_that_does_not_end(
    front: Reader, echo: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other end is dropped with a word, and tried again."""
    monkeypatch.setattr(slot_adapter, "UNFINISHED", 0.05)
    front.insert(echo)
    vpcd.accept()
    assert vpcd._connection is not None
    vpcd._connection.sendall(b"SSH-2.0-OpenSSH")
    with pytest.raises(ConnectionResetError):
        vpcd._connection.recv(1)
    assert "does not end" in caplog.text
    vpcd.power_up()
    assert vpcd.ask(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_who_hangs_up_at_once_is_not_called_all_the_time(front: Reader, echo: Any, vpcd: Vpcd, caplog: Any) -> None:
    """The pauses grow, and there is one word about it."""
    front.insert(echo)
    start = monotonic()
    for _ in range(5):
        vpcd.accept()
        vpcd.drop()
    assert monotonic() - start > 0.3
    assert caplog.text.count("waits for vpcd") == 1


@pytest.mark.usefixtures("adapter")
def test_others_wait_for_a_program_that_speaks(
    front: Reader, echo: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as its commands follow each other closely, and no longer than the longest time."""
    monkeypatch.setattr(vpcd_dialogue, "SILENCE", 1000.0)
    monkeypatch.setattr(vpcd_dialogue, "LONGEST", 0.2)
    insertion = front.insert(echo)
    vpcd.power_up()
    start = monotonic()
    vpcd.ask(COMMAND)
    assert call_with_deadline(insertion.transmit, COMMAND) == COMMAND + b"\x90\x00"
    assert monotonic() - start > 0.15


@pytest.mark.usefixtures("adapter")
def test_a_program_that_speaks_loses_its_card(
    front: Reader, echo: Any, new_card: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that is kept for it can be pulled all the same, and the next one is everybody's."""
    monkeypatch.setattr(vpcd_dialogue, "SILENCE", DEADLINE)
    insertion = front.insert(echo)
    vpcd.power_up()
    vpcd.ask(COMMAND)
    front.remove()
    with pytest.raises(CardRemoved):
        insertion.transmit(COMMAND)
    assert vpcd.leaves()
    assert front.insert(new_card()).transmit(COMMAND) == COMMAND + b"\x90\x00"


@pytest.mark.usefixtures("adapter")
def test_no_descriptors(front: Reader, echo: Any, vpcd: Vpcd, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """It is said, and tried again until there are some."""
    tried = threading.Semaphore(0)

    def none_left(*_: Any) -> socket.socket:
        tried.release()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as full:
        full.setattr(VpcdAdapter, "_new_socket", none_left)
        front.insert(echo)
        for _ in range(3):
            assert tried.acquire(timeout=DEADLINE)
    vpcd.accept()
    assert vpcd.atr()
    assert caplog.text.count("Too many open files") == 1
