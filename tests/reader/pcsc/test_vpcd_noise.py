# SPDX-License-Identifier: MIT
"""Bytes that no vpcd sends, to the thread that is the card: it answers what makes sense, and is there again."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.reader import Reader, Testbed
from cardtear.reader.pcsc import slot_adapter, vpcd
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.pcsc.vpcd_reversed import ReversedVpcdAdapter
from cardtear.reader.pcsc.vpcd_wire import Decoder, VpcdControl, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ...shared.waiting import wait_until

DEADLINE = 20.0

MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([encode(bytes([each])) for each in VpcdControl]),
        st.binary(max_size=20).map(encode),
        st.sampled_from([b"\0\0", b"\xff\xff", b"\0\1", b"\0\0\0\0"]),
    ),
    max_size=6,
)


@pytest.fixture(autouse=True)
def no_pcscd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind this vpcd there is no queue of programs to stand in; and it may be asked again at once."""
    monkeypatch.setattr(slot_adapter, "_new_transactions", lambda: None)
    monkeypatch.setattr(vpcd, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(vpcd, "_LONGEST_PAUSE", 0.001)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where vpcd would be."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        yield listener


@pytest.fixture
def adapter(bench: Testbed, front: Reader, listener: socket.socket, new_card: Any) -> Iterator[VpcdAdapter]:
    adapter = VpcdAdapter(bench, listener.getsockname()[1], front)
    front.insert(new_card())
    yield adapter
    adapter.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MESSAGES, st.integers(1, 9))
def test_whatever_vpcd_sends(adapter: VpcdAdapter, listener: socket.socket, messages: list[bytes], size: int) -> None:
    """In pieces, and then the connection ends: the card connects again, and tells its ATR."""
    connection, _ = listener.accept()
    sent = b"".join(messages)
    with connection, contextlib.suppress(OSError):
        connection.settimeout(DEADLINE)
        for at in range(0, len(sent), size):
            connection.sendall(sent[at : at + size])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(DEADLINE)
        connection.sendall(encode(bytes([VpcdControl.ATR])))
        decoder = Decoder()
        answers: list[bytes] = []
        while not answers:
            data = connection.recv(1 << 16)
            assert data
            answers += decoder.feed(data)
        assert answers[0][:1] == b"\x3b"


@pytest.fixture
def reversed_door(bench: Testbed, front: Reader, new_card: Any) -> Iterator[ReversedVpcdAdapter]:
    """A card that waits for vpcd."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    adapter = ReversedVpcdAdapter(bench, port, front)
    front.insert(new_card())
    yield adapter
    adapter.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MESSAGES, st.integers(1, 9))
def test_whatever_a_vpcd_sends_that_connects(
    reversed_door: ReversedVpcdAdapter, messages: list[bytes], size: int
) -> None:
    """Likewise: the next one that connects is told the ATR."""
    sent = b"".join(messages)
    where = ("127.0.0.1", reversed_door.port)
    with socket.create_connection(where, DEADLINE) as connection, contextlib.suppress(OSError):
        for at in range(0, len(sent), size):
            connection.sendall(sent[at : at + size])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    with socket.create_connection(where, DEADLINE) as connection:
        connection.sendall(encode(bytes([VpcdControl.ATR])))
        answers: list[bytes] = []
        decoder = Decoder()
        while not answers:
            data = connection.recv(1 << 16)
            assert data
            answers += decoder.feed(data)
        assert answers[0][:1] == b"\x3b"


@pytest.mark.parametrize("begun", [b"\0", b"\xff\xff", encode(bytes([VpcdControl.ON])) + b"\0\5\0"])
def test_a_message_that_is_never_whole(
    adapter: VpcdAdapter, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Also if a byte comes now and then, the connection ends, and the card connects again."""
    monkeypatch.setattr(slot_adapter, "UNFINISHED", 0.2)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(0.02)
        connection.sendall(begun)

        def has_ended() -> bool:
            try:
                if begun == b"\xff\xff":
                    connection.send(b"\0")
                return not connection.recv(64)
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(has_ended)
    listener.accept()[0].close()
