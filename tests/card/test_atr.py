# SPDX-License-Identifier: MIT
"""Answers to reset: what is read out of those that are known, and that any bytes can be read."""

from __future__ import annotations

import pytest
from cardtear.card import atr
from hypothesis import given
from hypothesis import strategies as st

KNOWN = {
    "3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40": ((1,), "8073C021C057597562694B6579"),
    "3B 8D 80 01 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 F9": ((0, 1), "8073C021C057597562694B6579"),
    "3B 65 00 00 9C 02 02 07 02": ((0,), "9C02020702"),
    "3B DB 96 00 80 1F 03 00 31 C0 64 B0 F3 10 00 07 90 00 80": ((0, 15), "0031C064B0F31000079000"),
    "3B 00": ((0,), ""),
    "3B": ((), ""),
    "": ((), ""),
    "3B F0 11": ((), ""),
}
"""Of YubiKeys over contacts and contactless, of two Java cards, of a card that says nothing, and cut off."""


@pytest.mark.parametrize("answer", KNOWN)
def test_known_answers(answer: str) -> None:
    raw = bytes.fromhex(answer)
    protocols, historical = KNOWN[answer]
    assert tuple(each for each in atr.protocols(raw)) == tuple(each for each in protocols if each != 15)
    assert atr.historical(raw).hex().upper() == historical


def test_contactless() -> None:
    """A YubiKey's is known."""
    assert atr.contactless(atr.YUBIKEY) == bytes.fromhex("3B8D80018073C021C057597562694B6579F9")


@given(st.binary(max_size=40))
def test_any_bytes(answer: bytes) -> None:
    assert len(set(atr.protocols(answer))) == len(atr.protocols(answer))
    assert atr.historical(answer) in answer


@given(st.sampled_from([b"\x00", b"\x80\x01", b"\x90\x96\x80\x11\xfe"]), st.binary(max_size=15))
def test_what_is_built_is_read(interface: bytes, historical: bytes) -> None:
    answer = atr.build(interface, historical)
    assert atr.historical(answer) == historical
    assert len(answer) == 1 + len(interface) + len(historical) + (atr.protocols(answer) != (0,))
