# SPDX-License-Identifier: MIT
"""Room for host software: records, the card's capacity, and what a write costs on a card that holds much."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.image.store import Store
from cardtear.card.tables import (
    OBJECT_LIMIT,
    OBJECTS,
    PRIVATE_RECORDS,
    PUBLIC_RECORDS,
    RECORD_LIMIT,
    Algorithm,
    object_rules,
)
from hypothesis import given
from hypothesis import strategies as st

SOME = (0, 1, 127, 128, 8191)


def coded(tag: int) -> bytes:
    return tlv.encode(0x5C, tag.to_bytes(4 if tag > 0xFFFFFF else 3, "big"))


def put(terminal: Any, tag: int, value: bytes) -> int:
    status: int = terminal.command(0xDB, 0x3F, 0xFF, coded(tag) + tlv.encode(0x53, value))[1]
    return status


def get(terminal: Any, tag: int) -> tuple[bytes, int]:
    answer, status = terminal.command(0xCB, 0x3F, 0xFF, coded(tag))
    return (tlv.read(answer)[1] if status == 0x9000 else b""), status


def test_the_tags_of_records() -> None:
    """8192 of each kind, all different, in order, coded in four bytes."""
    for records, first, last in ((PUBLIC_RECORDS, 0x5FFF8000, 0x5FFFBF7F), (PRIVATE_RECORDS, 0x5FFFC000, 0x5FFFFF7F)):
        tags = list(records)
        assert len(tags) == len(records) == len(set(tags)) == 64 * 128
        assert tags == sorted(tags)
        assert (tags[0], tags[-1], records[-1]) == (first, last, last)
        assert all(tag in records for tag in tags)
        assert all(tlv.read(tlv.encode(tag, b"1")) == (tag, b"1", 6) for tag in tags)
        assert records[126:130] == [first + 126, first + 127, first + 256, first + 257]
        with pytest.raises(IndexError):
            records[len(records)]
    assert not set(PUBLIC_RECORDS) & set(PRIVATE_RECORDS)


@given(st.integers(0, 2**32) | st.integers(0x5FFF7F00, 0x60000100))
def test_a_tag_has_rules_if_it_is_in_a_table_or_a_range(tag: int) -> None:
    public = 0x5FFF80 <= tag >> 8 <= 0x5FFFBF and tag & 0xFF < 0x80
    private = 0x5FFFC0 <= tag >> 8 <= 0x5FFFFF and tag & 0xFF < 0x80
    assert (tag in PUBLIC_RECORDS, tag in PRIVATE_RECORDS) == (public, private)
    assert (object_rules(tag) is not None) == (public or private or tag in OBJECTS)


def test_rules_of_records(card: PivCard, power: Callable[..., Any]) -> None:
    """Written with the PIN or the management key; read by anybody, or with the PIN only."""
    for n in SOME:
        public, private = PUBLIC_RECORDS[n], PRIVATE_RECORDS[n]
        terminal = power(card)
        assert [put(terminal, tag, b"x") for tag in (public, private)] == [0x6982, 0x6982]
        assert [get(terminal, tag)[1] for tag in (public, private)] == [0x6A82, 0x6982]
        terminal.manage()
        assert [put(terminal, tag, b"managed") for tag in (public, private)] == [0x9000, 0x9000]
        assert [get(terminal, tag) for tag in (public, private)] == [(b"managed", 0x9000), (b"", 0x6982)]
        terminal = power(card)
        terminal.verify()
        assert get(terminal, private) == (b"managed", 0x9000)
        assert [put(terminal, tag, b"verified") for tag in (public, private)] == [0x9000, 0x9000]
        assert [get(terminal, tag)[0] for tag in (public, private)] == [b"verified", b"verified"]
        assert [put(terminal, tag, b"") for tag in (public, private)] == [0x9000, 0x9000]
        assert [get(terminal, tag)[1] for tag in (public, private)] == [0x6A82, 0x6A82]
    for tag in (0x5FFF8080, 0x5FFFC0FF, 0x5FFF7F00, 0x60008000):
        assert put(terminal, tag, b"x") == get(terminal, tag)[1] == 0x6A82


@pytest.mark.parametrize("size", [1, 12 * 1024, 12 * 1024 + 1, 32_768, 60_000])
def test_a_long_record(card: PivCard, power: Callable[..., Any], size: int) -> None:
    """Chained in short APDUs, and in one extended APDU each way."""
    terminal, value = power(card), os.urandom(size)
    terminal.verify()
    assert put(terminal, PUBLIC_RECORDS[5], value) == 0x9000
    assert get(terminal, PUBLIC_RECORDS[5]) == (value, 0x9000)
    data = coded(PUBLIC_RECORDS[6]) + tlv.encode(0x53, value)
    assert terminal.send(bytes.fromhex("00DB3FFF00") + len(data).to_bytes(2, "big") + data) == (b"", 0x9000)
    name = coded(PUBLIC_RECORDS[6])
    whole = terminal.send(bytes.fromhex("00CB3FFF0000") + bytes([len(name)]) + name + b"\0\0")
    assert whole == (tlv.encode(0x53, value), 0x9000)


def test_too_long(terminal: Any) -> None:
    terminal.manage()
    assert put(terminal, PUBLIC_RECORDS[0], bytes(RECORD_LIMIT)) == 0x9000
    assert put(terminal, PUBLIC_RECORDS[0], bytes(RECORD_LIMIT + 1)) == 0x6A84
    assert get(terminal, PUBLIC_RECORDS[0]) == (bytes(RECORD_LIMIT), 0x9000)
    for tag in (0x5FC105, 0x5FFF23, 0x5FFF00):
        assert put(terminal, tag, bytes(OBJECT_LIMIT + 1)) == 0x6A84


# Capacity


def small(new_card: Callable[..., PivCard], power: Callable[..., Any], free: int) -> tuple[PivCard, Any]:
    """A blank card with so many bytes left, and a terminal that has proved everything."""
    taken = new_card("blank", name="Full").store.state.used
    card = new_card("blank", name="Full", serial=f"{free:X}", capacity=taken + free)
    assert card.store.state.used == taken
    terminal = power(card)
    terminal.verify()
    terminal.manage()
    return card, terminal


def test_a_full_card(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """What does not fit changes nothing; a replaced object makes room for its successor."""
    card, terminal = small(new_card, power, 1000)
    a, b = PUBLIC_RECORDS[0], PUBLIC_RECORDS[1]
    assert put(terminal, a, bytes(1001)) == 0x6A84
    assert get(terminal, a)[1] == 0x6A82
    assert put(terminal, a, bytes(600)) == 0x9000
    assert put(terminal, b, bytes(401)) == 0x6A84
    assert put(terminal, b, bytes(400)) == 0x9000
    assert put(terminal, a, bytes(601)) == 0x6A84
    assert get(terminal, a) == (bytes(600), 0x9000)
    assert put(terminal, a, b"\1" * 600) == 0x9000
    assert put(terminal, a, bytes(100)) == 0x9000
    assert put(terminal, b, bytes(900)) == 0x9000
    assert put(terminal, a, b"") == 0x9000
    card.close()
    again = Store(card.store.path)
    assert (again.state.used, again.state.capacity) == (card.store.state.used, card.store.state.capacity)
    again.close()


def test_keys_take_room(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    card, terminal = small(new_card, power, 200)
    assert terminal.command(0x47, 0, 0x9A, bytes.fromhex("AC03800106"))[1] == 0x6A84
    assert terminal.command(0x47, 0, 0x9A, bytes.fromhex("AC03800111"))[1] == 0x9000
    before = terminal.command(0xF7, 0, 0x9A)
    assert terminal.command(0x47, 0, 0x9C, bytes.fromhex("AC03800111"))[1] == 0x6A84
    assert terminal.command(0xFE, Algorithm.P256, 0x9C, tlv.encode(6, b"\1" * 32))[1] == 0x6A84
    assert terminal.command(0x47, 0, 0x9A, bytes.fromhex("AC03800106"))[1] == 0x6A84
    assert terminal.command(0xF7, 0, 0x9A) == before
    assert terminal.command(0xF6, 0x9C, 0x9A)[1] == 0x9000
    assert terminal.command(0xF6, 0xFF, 0x9C)[1] == 0x9000
    assert terminal.command(0xFE, Algorithm.P256, 0x9D, tlv.encode(6, b"\1" * 32))[1] == 0x9000
    assert card.store.state.used <= card.store.state.capacity


def test_a_full_card_counts_wrong_pins(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    _, terminal = small(new_card, power, 0)
    assert put(terminal, PUBLIC_RECORDS[0], b"x") == 0x6A84
    assert terminal.verify(b"000000\xff\xff") == 0x63C2
    assert terminal.verify() == 0x9000


@pytest.mark.timing
def test_a_write_costs_the_same_however_much_is_there(
    new_card: Callable[..., PivCard], power: Callable[..., Any]
) -> None:
    """PUT DATA of 1 KB beside 500 objects of 1 KB takes at most 1.5 times as long as on an empty card."""
    cards = [new_card("blank", name=name) for name in ("Empty", "Laden")]
    terminals = [power(card) for card in cards]
    for terminal in terminals:
        terminal.verify()
    for n in range(500):
        assert put(terminals[1], PUBLIC_RECORDS[n], os.urandom(1024)) == 0x9000
    times: list[list[float]] = [[], []]
    for _ in range(100):
        for terminal, taken in zip(terminals, times, strict=True):
            value = os.urandom(1024)
            start = perf_counter()
            assert put(terminal, PUBLIC_RECORDS[1000], value) == 0x9000
            taken.append(perf_counter() - start)
    assert median(times[1]) <= 1.5 * median(times[0]), [median(each) for each in times]
