# SPDX-License-Identifier: MIT
"""Whatever comes in, an answer with a status word comes out, and afterwards the card still works."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing.profiles import open_card
from cardtear.card.tables import INS, SLOTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

byte = st.integers(0, 255)
likely = st.sampled_from([0x00, 0x10, 0x3F, 0x80, 0x81, 0xFF, 0x9B, 0x03, 0x06, 0x07, 0x11, 0x14, 0xE0, 0xE1, *SLOTS])
TEMPLATES = """
5C  5C035FC105  5C045FFF8000  5C045FFFC000  5C045FFFFF7F  5C035FFF21  53  530101
7C  7C028100  7C028000  82008101  7C048200810101  7C04820085
AC038001  AC03800111  AC038001E0  AC038001E1  AC06800111AA0103  AC06800111AB0102  AA0101  AB0102
"""
SCALARS = [bytes((tag, 32)) + b"\1" * 32 for tag in (6, 7, 8)]
template = st.sampled_from([*map(bytes.fromhex, TEMPLATES.split()), *SCALARS])
body = st.lists(template | st.binary(max_size=20), max_size=4).map(b"".join)


@st.composite
def commands(draw: st.DrawFn) -> bytes:
    """APDUs that get further than noise would."""
    head = bytes((draw(st.sampled_from([0x00, 0x10]) | byte), draw(st.sampled_from(INS) | byte)))
    head += bytes((draw(likely | byte), draw(likely | byte)))
    data = draw(body)
    length = bytes([len(data)]) if data else b""
    return head + length + data + draw(st.sampled_from([b"", b"\0", b"\x10"]))


def still_works(card: PivCard, power: Callable[..., Any]) -> None:
    terminal = power(card)
    assert terminal.send("00CB3FFF035C017E00")[1] == 0x9000
    assert terminal.send("00F7008000")[1] == 0x9000
    assert terminal.use_key(0x11, 0x9E, bytes(32))[1] == 0x9000


def check(card: PivCard, sequence: list[bytes], terminal: Any, caplog: pytest.LogCaptureFixture) -> None:
    for command in sequence:
        _, status = terminal.send(command)
        assert status >> 12 in (6, 9)
        assert status != 0x6F00, f"{command.hex()}: {caplog.text}"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.binary(max_size=300) | commands(), max_size=10))
def test_without_any_proof(
    card: PivCard, power: Callable[..., Any], caplog: pytest.LogCaptureFixture, sequence: list[bytes]
) -> None:
    check(card, sequence, power(card), caplog)
    still_works(card, power)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.binary(max_size=300) | commands(), max_size=10))
def test_over_the_contactless_interface(
    card: PivCard, power: Callable[..., Any], caplog: pytest.LogCaptureFixture, sequence: list[bytes]
) -> None:
    """Nothing that comes changes the card."""
    before = copy.deepcopy(card.store.state)
    check(card, sequence, power(card, is_contactless=True), caplog)
    assert card.store.state == before


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(st.binary(max_size=300) | commands(), max_size=10))
def test_by_the_byte_protocol(
    new_card: Callable[..., PivCard],
    power: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    sequence: list[bytes],
) -> None:
    """And a command with data is never answered with data."""
    card = new_card("blank", protocol="t0")
    terminal = power(card)
    check(card, sequence, terminal, caplog)
    for command in sequence:
        if len(command) > 6 and command[1] != INS.GET_RESPONSE:
            assert terminal.send(command)[0] == b""
    card.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=st.sampled_from(["piv-ec", "yubikey"]), sequence=st.lists(commands(), max_size=10))
def test_with_everything_proved(
    new_card: Callable[..., PivCard],
    power: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    profile: str,
    sequence: list[bytes],
) -> None:
    """The commands may change whatever they like; the card answers nevertheless."""
    card = new_card(profile)
    terminal = power(card)
    terminal.verify()
    terminal.manage()
    check(card, sequence, terminal, caplog)
    card.close()
    again = open_card(card.store.path)
    assert again.store.state == card.store.state
    again.close()


def test_every_instruction_with_every_p1(
    card: PivCard, power: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """65536 headers, each with a P2 and data at random, seeded so that a failure comes again."""
    caplog.set_level(logging.CRITICAL + 1, logger="cardtear")
    chance = random.Random(7816)
    terminal = power(card)
    for ins in range(256):
        for p1 in range(256):
            data = chance.randbytes(chance.choice((0, 0, 1, 5, 16)))
            p2 = chance.choice((0x80, 0x81, 0x9A, 0x9C, 0xFF, chance.randrange(256)))
            command = bytes((0, ins, p1, p2)) + (bytes([len(data)]) + data if data else b"")
            status = terminal.send(command)[1]
            assert status >> 12 in (6, 9), command.hex()
            assert status != 0x6F00, command.hex()
    still_works(card, power)
