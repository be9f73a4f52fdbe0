# SPDX-License-Identifier: MIT
"""BER-TLV: whole, byte by byte, cut off and with something behind it."""

from __future__ import annotations

import pytest
from cardtear.card import tlv
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = [
    (0x53, b"", "5300"),
    (0x7E, b"\x01", "7E0101"),
    (0x5F2F, b"\x40\x00", "5F2F024000"),
    (0x5FC105, b"\xaa", "5FC10501AA"),
    (0x53, bytes(127), "537F" + "00" * 127),
    (0x53, bytes(128), "538180" + "00" * 128),
    (0x53, bytes(255), "5381FF" + "00" * 255),
    (0x53, bytes(256), "53820100" + "00" * 256),
    (0x53, bytes(65536), "5383010000" + "00" * 65536),
]
tags = st.sampled_from([0x00, 0x53, 0x5C, 0x70, 0x7C, 0x7E, 0x5F2F, 0x7F49, 0x7F61, 0x5FC105, 0x5FFF20])
objects = st.lists(st.tuples(tags, st.binary(max_size=300)), max_size=4)


@pytest.mark.parametrize(("tag", "value", "coded"), EXAMPLES, ids=lambda each: str(each)[:12])
def test_example(tag: int, value: bytes, coded: str) -> None:
    assert tlv.encode(tag, value) == bytes.fromhex(coded)
    assert tlv.decode(bytes.fromhex(coded)) == [(tag, value)]


def test_a_length_may_be_longer_than_it_needs_to_be() -> None:
    assert tlv.decode(bytes.fromhex("53820001AA 538400000001BB")) == [(0x53, b"\xaa"), (0x53, b"\xbb")]


@pytest.mark.parametrize("coded", ["5380AABB", "5385 0000000001 AA", "53FF", "5F", "5FC1", "53", "538201", "5302AA"])
def test_what_is_no_data_object(coded: str) -> None:
    with pytest.raises(tlv.TlvError):
        tlv.decode(bytes.fromhex(coded))


def test_values_are_joined() -> None:
    assert tlv.encode(0x7C, b"\x82\x00", b"\x81\x01\xaa") == bytes.fromhex("7C05 8200 8101AA")


@given(objects)
def test_what_is_encoded_is_decoded(fields: list[tuple[int, bytes]]) -> None:
    assert tlv.decode(b"".join(tlv.encode(tag, value) for tag, value in fields)) == fields


@given(tags, st.binary(max_size=300), st.binary(max_size=20))
def test_cut_anywhere_it_is_refused_and_trailing_bytes_are_left_alone(tag: int, value: bytes, more: bytes) -> None:
    whole = tlv.encode(tag, value)
    for end in range(len(whole)):
        with pytest.raises(tlv.TlvError):
            tlv.read(whole[:end])
    assert tlv.read(whole + more) == (tag, value, len(whole))


@given(st.binary(max_size=200))
def test_any_bytes_are_data_objects_or_refused(data: bytes) -> None:
    try:
        fields = tlv.decode(data)
    except tlv.TlvError:
        return
    assert sum(len(value) for _, value in fields) <= len(data)
    assert tlv.decode(b"".join(tlv.encode(tag, value) for tag, value in fields)) == fields
