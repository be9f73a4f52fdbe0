# SPDX-License-Identifier: MIT
"""The decoder of command APDUs: every case, every cut, and whatever else comes along."""

from __future__ import annotations

import contextlib

import pytest
from cardtear.card.apdu import Command, parse
from cardtear.card.status import SW, CardError
from hypothesis import given
from hypothesis import strategies as st

HEADER = bytes.fromhex("00CB3FFF")

CASES = {
    "1": ("", b"", 0, False),
    "2 short": ("10", b"", 16, False),
    "2 short, all": ("00", b"", 256, False),
    "3 short": ("02 AABB", b"\xaa\xbb", 0, False),
    "4 short": ("02 AABB 10", b"\xaa\xbb", 16, False),
    "4 short, all": ("02 AABB 00", b"\xaa\xbb", 256, False),
    "2 extended": ("00 0100", b"", 256, True),
    "2 extended, all": ("00 0000", b"", 65536, True),
    "3 extended": ("00 0002 AABB", b"\xaa\xbb", 0, True),
    "4 extended": ("00 0002 AABB 0100", b"\xaa\xbb", 256, True),
    "4 extended, all": ("00 0002 AABB 0000", b"\xaa\xbb", 65536, True),
}


@pytest.mark.parametrize(("body", "data", "le", "extended"), CASES.values(), ids=CASES)
def test_case(body: str, data: bytes, le: int, extended: bool) -> None:
    assert parse(HEADER + bytes.fromhex(body)) == Command(0x00, 0xCB, 0x3F, 0xFF, data, le, extended)


TOO_SHORT = [
    "",
    "00",
    "00CB3F",
    "00CB3FFF 05 AABB",
    "00CB3FFF 00 01",
    "00CB3FFF 00 0002 AA",
    "00CB3FFF 00 0002 AABB 01",
]
TOO_LONG = ["00CB3FFF 02 AABB 0000", "00CB3FFF 00 0002 AABB 010000", "00CB3FFF 00 0000 AABB"]


@pytest.mark.parametrize("raw", TOO_SHORT + TOO_LONG)
def test_lengths_that_do_not_fit(raw: str) -> None:
    with pytest.raises(CardError) as caught:
        parse(bytes.fromhex(raw))
    assert caught.value.status == SW.WRONG_LENGTH


def encode(command: Command) -> bytes:
    """The other direction, written down independently."""
    head, data, le, size = bytes(command[:4]), command.data, command.le, 2 if command.extended else 1
    mark = b"\0" if command.extended and (data or le) else b""
    lc = len(data).to_bytes(size, "big") if data else b""
    return head + mark + lc + data + ((le % 256**size).to_bytes(size, "big") if le else b"")


byte = st.integers(0, 255)
short = st.builds(Command, byte, byte, byte, byte, st.binary(max_size=255), st.integers(0, 256), st.just(False))
extended = st.builds(
    Command, byte, byte, byte, byte, st.binary(min_size=1, max_size=600), st.integers(0, 65536), st.just(True)
)


@given(short | extended)
def test_what_is_encoded_is_decoded(command: Command) -> None:
    assert parse(encode(command)) == command


@given(short | extended, st.data())
def test_a_cut_or_longer_one_never_passes_for_the_same(command: Command, data: st.DataObject) -> None:
    whole = encode(command)
    changed = data.draw(
        st.one_of(
            st.integers(0, len(whole) - 1).map(lambda end: whole[:end]),
            st.binary(min_size=1, max_size=4).map(lambda more: whole + more),
        )
    )
    with contextlib.suppress(CardError):
        assert parse(changed) != command


@given(st.binary(max_size=300))
def test_any_bytes_give_a_command_or_a_status(raw: bytes) -> None:
    with contextlib.suppress(CardError):
        assert encode(parse(raw)) == raw
