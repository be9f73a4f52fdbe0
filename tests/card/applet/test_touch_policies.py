# SPDX-License-Identifier: MIT
"""Keys that want to be touched, at card level: who waits, and what becomes of those who are not touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.applet.management import DEFAULT_MANAGEMENT_KEY
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.card import CardTorn
from cardtear.card.tables import Algorithm
from cardtear.card.touch import NO_TOUCH_INPUT
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ..conftest import Finger, Terminal

AUTHENTICATE = bytes.fromhex("7C24 8200 8120") + bytes(32)
SIGN = bytes((0, 0x87, Algorithm.P256, 0x9E, len(AUTHENTICATE))) + AUTHENTICATE + b"\0"


def status(terminal: Any) -> int:
    """The status word of a signature with the key that wants no PIN."""
    return int.from_bytes(terminal.transmit(SIGN)[-2:], "big")


@pytest.mark.parametrize(("policy", "asked"), [("never", 0), ("always", 3), ("cached", 1)])
def test_how_often_a_key_asks(new_card: Callable[..., PivCard], policy: str, asked: int) -> None:
    finger = Finger()
    powered = new_card("piv", touch=policy, touch_timeout=7.5).activate(finger)
    Terminal(powered).select()
    assert [status(powered) for _ in range(3)] == [0x9000] * 3
    assert finger.waits == [7.5] * asked


def test_nobody_is_there(new_card: Callable[..., PivCard]) -> None:
    """The PIN stays verified; without a sensor at all it is the same."""
    card = new_card("piv", touch="always")
    for sensor in (Finger(is_there=False), NO_TOUCH_INPUT):
        powered = card.activate(sensor)
        terminal = Terminal(powered)
        terminal.select()
        terminal.verify()
        assert status(powered) == 0x6982
        assert powered.transmit(bytes.fromhex("00200080")) == b"\x90\x00"


def test_a_malformed_command_wants_no_finger(new_card: Callable[..., PivCard]) -> None:
    finger = Finger()
    powered = new_card("piv", touch="always").activate(finger)
    Terminal(powered).select()
    without_response = bytes.fromhex("0087119E04 7C02 8100 00".replace(" ", ""))
    assert powered.transmit(without_response)[-2:] != b"\x90\x00"
    locked = bytes((0, 0x87, Algorithm.RSA2048, 0x9A, len(AUTHENTICATE))) + AUTHENTICATE + b"\0"
    assert powered.transmit(locked)[-2:] == b"\x69\x82"
    assert finger.waits == []


def test_torn_while_it_waits(new_card: Callable[..., PivCard]) -> None:
    card = new_card("piv", touch="always")

    class Torn(Finger):
        def wait(self, seconds: float) -> bool:
            card.deactivate()
            return False

    powered = card.activate(Torn())
    Terminal(powered).select()
    with pytest.raises(CardTorn):
        powered.transmit(SIGN)


def test_a_management_key_that_asks(new_card: Callable[..., PivCard]) -> None:
    """For the step that proves it: the first one of single or mutual authentication asks for none."""
    card = new_card("yubikey")
    terminal = Terminal(card.activate(Finger()))
    terminal.select()
    terminal.manage()
    value = DEFAULT_MANAGEMENT_KEY
    assert terminal.command(0xFF, 0xFF, 0xFE, bytes((0x0A, 0x9B, len(value))) + value)[1] == 0x9000
    finger = Finger()
    terminal = Terminal(card.activate(finger))
    terminal.select()
    assert terminal.command(0x87, 0x0A, 0x9B, bytes.fromhex("7C028100"))[1] == 0x9000
    assert terminal.command(0x87, 0x0A, 0x9B, bytes.fromhex("7C028000"))[1] == 0x9000
    assert finger.waits == []
    terminal.manage()
    assert finger.waits == [15.0]
    terminal = Terminal(card.activate(Finger(is_there=False)))
    terminal.select()
    template, _ = terminal.command(0x87, 0x0A, 0x9B, bytes.fromhex("7C028100"))
    encryptor = Cipher(algorithms.AES(value), modes.ECB()).encryptor()
    answer = bytes.fromhex("7C128210") + encryptor.update(template[4:])
    assert terminal.command(0x87, 0x0A, 0x9B, answer) == (b"", 0x6982)
    assert terminal.command(0xDB, 0x3F, 0xFF, bytes.fromhex("5C035FC10D5300"))[1] == 0x6982
