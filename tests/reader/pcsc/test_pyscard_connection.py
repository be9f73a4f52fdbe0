# SPDX-License-Identifier: MIT
"""pyscard's classes over a virtual reader: what a program of pyscard sees, and what exceptions it gets."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.reader import ApduMoment, Change, Moment, When

pytestmark = pytest.mark.needs("smartcard")

SELECT = list(bytes.fromhex("00A4040005A000000308"))
VERIFY = [0, 0x20, 0, 0x80, 8, *b"123456\xff\xff"]
PIN_STATUS = [0, 0x20, 0, 0x80]
NOT_VERIFIED, VERIFIED = ([], 0x63, 0xC3), ([], 0x90, 0)


def load(name: str) -> Any:
    """A module of pyscard, for a test that has it."""
    return importlib.import_module(f"smartcard.{name}")


@pytest.fixture
def reader(simulator: Simulator) -> Any:
    """What pyscard calls a reader, with the standard card in it."""
    from cardtear.reader.pcsc.pyscard_connection import PyscardReader

    return PyscardReader(simulator.testbed.reader("front"))


@pytest.fixture
def connection(reader: Any) -> Iterator[Any]:
    """A connection, with PIV selected."""
    connection = reader.createConnection()
    connection.connect()
    assert connection.transmit(SELECT)[1:] == (0x90, 0)
    yield connection
    connection.disconnect()


def code_of(caught: Any) -> int:
    return int(caught.value.hresult)


def test_what_a_connection_tells(simulator: Simulator, reader: Any, connection: Any) -> None:
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert bytes(connection.getATR()) == insertion.atr
    assert str(reader) == connection.getReader() == "front"
    assert connection.getProtocol() in (connection.T0_protocol, connection.T1_protocol)
    assert connection.transmit(PIN_STATUS) == NOT_VERIFIED


def test_observers_see_commands_and_responses(reader: Any) -> None:
    events: list[tuple[str, Any]] = []

    class Observer(load("CardConnectionObserver").CardConnectionObserver):  # type: ignore[misc]
        def update(self, connection: Any, event: Any) -> None:
            events.append((event.type, event.args))

    connection = reader.createConnection()
    connection.addObserver(Observer())
    connection.connect()
    connection.transmit(PIN_STATUS)
    connection.reconnect()
    connection.disconnect()
    connection.disconnect()
    assert [kind for kind, _ in events] == ["connect", "command", "response", "reconnect", "disconnect"]
    assert events[1][1][0] == PIN_STATUS


def test_status_words_are_checked_by_pyscards_own_classes(connection: Any) -> None:
    checker = load("sw.ISO7816_4_SW1ErrorChecker").ISO7816_4_SW1ErrorChecker()
    connection.setErrorCheckingChain([load("sw.ErrorCheckingChain").ErrorCheckingChain([], checker)])
    with pytest.raises(load("sw.SWExceptions").CheckingErrorException):
        connection.transmit([0, 0xCB, 0x3F, 0xFF, 5, 0x5C, 3, 0x5F, 0xC1, 0x7F])


def test_without_a_card(simulator: Simulator, reader: Any) -> None:
    simulator.remove("front")
    connection = reader.createConnection()
    with pytest.raises(load("Exceptions").NoCardException) as caught:
        connection.connect()
    assert code_of(caught) == load("scard").SCARD_E_NO_SMARTCARD
    with pytest.raises(load("Exceptions").CardConnectionException, match="not connected"):
        connection.transmit(SELECT)
    with pytest.raises(load("Exceptions").CardConnectionException, match="not connected"):
        connection.getATR()


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
def test_a_removal_ends_the_connection(simulator: Simulator, reader: Any, connection: Any, when: When) -> None:
    """In the middle of a command, and for good: the card that is put back wants a new connection."""

    def pull(moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is when:
            simulator.remove("front")

    removed = load("scard").SCARD_W_REMOVED_CARD
    with simulator.testbed.watching(pull), pytest.raises(load("Exceptions").CardConnectionException) as caught:
        connection.transmit(PIN_STATUS)
    assert code_of(caught) == removed
    simulator.insert("front")
    for command in (connection.getATR, lambda: connection.transmit(SELECT)):
        with pytest.raises(load("Exceptions").CardConnectionException) as caught:
            command()
        assert code_of(caught) == removed
    with pytest.raises(load("Exceptions").NoCardException) as caught:
        connection.reconnect()
    assert code_of(caught) == removed
    connection.connect()
    assert connection.transmit(SELECT)[1:] == (0x90, 0)


def test_a_reset_by_others_asks_for_a_reconnect(simulator: Simulator, connection: Any) -> None:
    assert connection.transmit(VERIFY) == VERIFIED
    simulator.reset("front")
    for _ in range(2):
        with pytest.raises(load("Exceptions").CardConnectionException) as caught:
            connection.transmit(PIN_STATUS)
        assert code_of(caught) == load("scard").SCARD_W_RESET_CARD
    connection.reconnect(disposition=load("scard").SCARD_LEAVE_CARD)
    connection.transmit(SELECT)
    assert connection.transmit(PIN_STATUS) == NOT_VERIFIED


def test_who_leaves_the_card_says_what_becomes_of_it(simulator: Simulator, reader: Any) -> None:
    changes: list[Change] = []
    simulator.testbed.subscribe(lambda event: changes.append(event.change))
    first, second = reader.createConnection(), reader.createConnection()
    first.connect(disposition=load("scard").SCARD_LEAVE_CARD)
    first.transmit(SELECT)
    assert first.transmit(VERIFY) == VERIFIED
    first.disconnect()
    second.connect()
    second.transmit(SELECT)
    assert second.transmit(PIN_STATUS) == VERIFIED
    assert changes == []
    second.reconnect()
    assert changes == [Change.RESET]
    second.transmit(SELECT)
    assert second.transmit(PIN_STATUS) == NOT_VERIFIED
    second.disconnect()
    assert changes == [Change.RESET, Change.RESET]


def test_a_mute_card(simulator: Simulator, reader: Any, connection: Any) -> None:
    simulator.mute("front")
    with pytest.raises(load("Exceptions").CardConnectionException) as caught:
        connection.transmit(PIN_STATUS)
    assert code_of(caught) == load("scard").SCARD_E_NOT_TRANSACTED
    with pytest.raises(load("Exceptions").CardConnectionException) as caught:
        reader.createConnection().connect()
    assert code_of(caught) == load("scard").SCARD_W_UNRESPONSIVE_CARD
    connection.reconnect()
    assert connection.transmit(SELECT)[1:] == (0x90, 0)


def test_a_response_that_is_none(simulator: Simulator, connection: Any) -> None:
    """A fault on the line."""

    def cut(moment: Moment) -> bytes | None:
        return b"\x90" if isinstance(moment, ApduMoment) and moment.when is When.AFTER else None

    with simulator.testbed.watching(cut), pytest.raises(load("Exceptions").CardConnectionException, match="no valid"):
        connection.transmit(PIN_STATUS)
    assert connection.transmit(PIN_STATUS) == NOT_VERIFIED


@pytest.mark.parametrize(
    ("atr", "protocol"),
    [("3B00", "T0"), ("3B8001 81", "T1"), ("3B80 00", "T0"), ("3B", "T0"), ("FFFF", "T0"), ("3BF0", "T0")],
)
def test_the_protocol_is_the_atrs(simulator: Simulator, reader: Any, atr: str, protocol: str) -> None:
    """Also one that arrives broken."""
    simulator.swap("front", CardRequest(name="Bob"), atr=bytes.fromhex(atr.replace(" ", "")))
    connection = reader.createConnection()
    connection.connect()
    assert connection.getProtocol() == getattr(connection, f"{protocol}_protocol")
    assert connection.transmit(SELECT)[1:] == (0x90, 0)
    other = connection.T1_protocol if protocol == "T0" else connection.T0_protocol
    with pytest.raises(load("Exceptions").CardConnectionException) as caught:
        reader.createConnection().connect(other)
    assert code_of(caught) == load("scard").SCARD_E_PROTO_MISMATCH


def test_two_connections_share_the_card(reader: Any, connection: Any) -> None:
    second = reader.createConnection()
    second.connect(disposition=load("scard").SCARD_LEAVE_CARD)
    assert connection.transmit(VERIFY) == VERIFIED
    assert second.transmit(PIN_STATUS) == VERIFIED


@pytest.mark.parametrize("comes_back", [False, True])
def test_the_reader_is_unplugged(simulator: Simulator, reader: Any, connection: Any, comes_back: bool) -> None:
    """It is gone as a USB key is; plugged in again it is another one, for which old connections are no good."""
    scard = load("scard")
    CardConnectionException = load("Exceptions").CardConnectionException
    simulator.unplug("front")
    new = reader.createConnection()
    if comes_back:
        simulator.plug("front")
        simulator.insert("front")
        new.connect()
        assert new.transmit(SELECT)[1:] == (0x90, 0)
    else:
        with pytest.raises(CardConnectionException) as caught:
            new.connect()
        assert code_of(caught) == scard.SCARD_E_UNKNOWN_READER
    expected = {
        connection.getATR: scard.SCARD_E_READER_UNAVAILABLE,
        lambda: connection.transmit(PIN_STATUS): scard.SCARD_E_INVALID_VALUE,
        connection.reconnect: scard.SCARD_E_INVALID_VALUE,
    }
    for call, code in expected.items():
        with pytest.raises(CardConnectionException) as caught:
            call()
        assert code_of(caught) == code
    connection.disconnect()


def test_the_reader_is_unplugged_in_the_middle_of_a_command(simulator: Simulator, connection: Any) -> None:
    CardConnectionException = load("Exceptions").CardConnectionException
    with (
        simulator.testbed.watching(lambda _moment: simulator.unplug("front")),
        pytest.raises(CardConnectionException) as caught,
    ):
        connection.transmit(PIN_STATUS)
    assert code_of(caught) == load("scard").SCARD_E_READER_UNAVAILABLE
