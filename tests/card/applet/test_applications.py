# SPDX-License-Identifier: MIT
"""Another application on a card: a purse of a few lines, beside PIV and the card manager."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.apdu import Command
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.status import SW, CardError

PURSE, PIV, MANAGER = "A00000030800FF", "A000000308000010", "A000000151"


class Purse:
    """90 01 00 00 tells how much is in it, 90 02 00 XX puts so much in. It is the provider's of PIV."""

    aid = bytes.fromhex(PURSE)

    def __init__(self) -> None:
        self.amount = 0

    def select(self) -> bytes:
        return bytes.fromhex("6F098407") + self.aid

    def deselect(self) -> None:
        self.amount = 0

    def execute(self, command: Command) -> bytes:
        if command.cla != 0x90:
            raise CardError(SW.CLA_NOT_SUPPORTED)
        if command.ins == 1:
            return bytes([self.amount])
        if command.ins == 2 and self.amount + command.p2 < 256:
            self.amount += command.p2
            return b""
        raise CardError(SW.INS_NOT_SUPPORTED)


@pytest.fixture
def terminal(image: Callable[..., Path], power: Callable[..., Any]) -> Any:
    card = PivCard(image("blank"), applets=lambda: [Purse()])
    yield power(card, select=False)
    card.close()


def select(terminal: Any, aid: str, occurrence: int = 0) -> int:
    name = bytes.fromhex(aid)
    status: int = terminal.send(bytes((0, 0xA4, 4, occurrence, len(name))) + name + b"\0")[1]
    return status


def test_it_works_beside_the_others(terminal: Any) -> None:
    assert select(terminal, PURSE) == 0x9000
    assert terminal.send("90020005") == (b"", 0x9000)
    assert terminal.send("9001000000") == (b"\5", 0x9000)
    assert terminal.send("00CB3FFF035C017E00") == (b"", 0x6E00)
    assert select(terminal, PIV) == 0x9000
    assert terminal.send("9001000000") == (b"", 0x6E00)
    assert terminal.send("00CB3FFF035C017E00")[1] == 0x9000
    assert select(terminal, PURSE) == 0x9000
    assert terminal.send("9001000000") == (b"\0", 0x9000)


def test_a_name_that_fits_two(terminal: Any) -> None:
    """The first, then the next, then there is none (ISO/IEC 7816-4, 7.1.1)."""
    assert select(terminal, "A000000308") == 0x9000
    assert terminal.send("00CB3FFF035C017E00")[1] == 0x9000
    assert select(terminal, "A000000308", 2) == 0x9000
    assert terminal.send("9001000000") == (b"\0", 0x9000)
    assert select(terminal, "A000000308", 2) == 0x6A82
    assert terminal.send("9001000000") == (b"\0", 0x9000)
    assert select(terminal, "A000000308") == 0x9000


def test_each_activation_has_its_own(image: Callable[..., Path], power: Callable[..., Any]) -> None:
    card = PivCard(image("blank"), applets=lambda: [Purse()])
    for _ in range(2):
        terminal = power(card, select=False)
        assert select(terminal, PURSE) == 0x9000
        assert terminal.send("9001000000") == (b"\0", 0x9000)
        assert terminal.send("90020005") == (b"", 0x9000)
    card.close()


def test_the_card_manager_is_there_first(terminal: Any) -> None:
    assert terminal.send("80CA9F7F2D")[1] == 0x9000
    assert select(terminal, PIV) == 0x9000
    assert select(terminal, MANAGER) == 0x9000
    assert terminal.send("80CA9F7F2D")[1] == 0x9000
