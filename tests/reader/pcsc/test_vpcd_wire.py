# SPDX-License-Identifier: MIT
"""The vpicc protocol's bytes: whole, in pieces, cut off, with more behind."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cardtear.reader.pcsc import vpcd_wire
from cardtear.reader.pcsc.vpcd_wire import Decoder, VpcdControl, control, encode
from hypothesis import given
from hypothesis import strategies as st

BODIES = st.lists(st.binary(max_size=300), max_size=8)


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ("0001 00", "00"),
        ("0001 04", "04"),
        ("0000", ""),
        ("0005 00A4040000", "00A4040000"),
        ("0002 9000", "9000"),
    ],
)
def test_messages(message: str, body: str) -> None:
    assert encode(bytes.fromhex(body)) == bytes.fromhex(message)
    assert list(Decoder().feed(bytes.fromhex(message))) == [bytes.fromhex(body)]


@given(BODIES)
def test_whole(bodies: list[bytes]) -> None:
    assert list(Decoder().feed(b"".join(map(encode, bodies)))) == bodies


@given(BODIES, st.data())
def test_in_pieces(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode, bodies))
    cuts = data.draw(st.lists(st.integers(0, len(stream))))
    decoder = Decoder()
    pieces = [stream[start:end] for start, end in pairwise([0, *sorted(cuts), len(stream)])]
    assert [body for piece in pieces for body in decoder.feed(piece)] == bodies


@given(BODIES)
def test_byte_by_byte(bodies: list[bytes]) -> None:
    decoder = Decoder()
    stream = b"".join(map(encode, bodies))
    assert [body for byte in stream for body in decoder.feed(bytes([byte]))] == bodies


@given(st.binary(min_size=1, max_size=300), st.data())
def test_cut_off_and_completed(body: bytes, data: st.DataObject) -> None:
    message = encode(body)
    cut = data.draw(st.integers(0, len(message) - 1))
    decoder = Decoder()
    assert list(decoder.feed(message[:cut])) == []
    assert list(decoder.feed(message[cut:])) == [body]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_what_is_behind_a_message_belongs_to_the_next(body: bytes, other: bytes) -> None:
    decoder = Decoder()
    assert list(decoder.feed(encode(body) + encode(other)[:1])) == [body]
    assert list(decoder.feed(encode(other)[1:])) == [other]


def test_longest_body() -> None:
    body = bytes(vpcd_wire.BODY_LIMIT)
    assert list(Decoder().feed(encode(body))) == [body]
    with pytest.raises(ValueError, match="65536"):
        encode(body + b"\0")


def test_controls_are_single_bytes_of_known_value() -> None:
    known = {value: control(bytes([value])) for value in range(256)}
    assert {value for value, meaning in known.items() if meaning is not None} == {0, 1, 2, 4}
    assert known[2] is VpcdControl.RESET
    assert control(b"") is None
    assert control(b"\0\0") is None
