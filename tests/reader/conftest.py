# SPDX-License-Identifier: MIT
"""A card of a few lines, whose work a test can hold up."""

from __future__ import annotations

import threading

import pytest
from cardtear.card.card import CardTorn
from cardtear.reader import Reader, Testbed


class EchoCard:
    """Answers every command with itself and 9000. While `paused`, a command sets `busy` and waits for `go_on`."""

    def __init__(self, name: str = "echo") -> None:
        self.name = name
        self.is_dead = False
        self.active: EchoActivation | None = None
        self.activations = 0
        self.paused = False
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def activate(self, sensor: object = None, is_contactless: bool = False, is_warm: bool = False) -> EchoActivation:
        self.activations += 1
        self.active = EchoActivation(self)
        return self.active

    def deactivate(self) -> None:
        self.active = None


class EchoActivation:
    """One activation of an EchoCard. `commands` are those that it has carried out."""

    def __init__(self, card: EchoCard) -> None:
        self.card = card
        self.atr = bytes((0x3B, 0x02, 0, card.activations & 0xFF))
        self.commands: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        if self.card.paused:
            self.card.busy.set()
            assert self.card.go_on.wait(10)
        if self.card.active is not self:
            raise CardTorn
        self.commands.append(command)
        return command + b"\x90\x00"


@pytest.fixture
def bench() -> Testbed:
    return Testbed()


@pytest.fixture
def front(bench: Testbed) -> Reader:
    """A reader without a card."""
    return bench.plug("front")


@pytest.fixture
def echo() -> EchoCard:
    return EchoCard()


@pytest.fixture
def new_card() -> type[EchoCard]:
    """Makes more cards, by name."""
    return EchoCard
