# SPDX-License-Identifier: MIT
"""Fixtures of the card's tests: cards of their own for each test, and a terminal that speaks to them."""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.management import DEFAULT_MANAGEMENT_KEY
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.card import Activation, Card
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, open_card, ready_image
from cardtear.card.tables import PIV_AID
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PIN = b"123456\xff\xff"


class Terminal:
    """What a reader's driver does: single APDUs, and whole commands in short APDUs with chaining and GET RESPONSE."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    def send(self, command: str | bytes) -> tuple[bytes, int]:
        """One APDU: the answer's data and its status word."""
        raw = bytes.fromhex(command) if isinstance(command, str) else command
        response = self.activation.transmit(raw)
        return response[:-2], int.from_bytes(response[-2:], "big")

    def command(self, ins: int, p1: int, p2: int, data: bytes = b"") -> tuple[bytes, int]:
        """A whole command and its whole answer."""
        while len(data) > 255:
            answer, status = self.send(bytes((0x10, ins, p1, p2, 255)) + data[:255])
            if status != 0x9000:
                return answer, status
            data = data[255:]
        answer, status = self.send(bytes((0, ins, p1, p2)) + (bytes([len(data)]) + data if data else b"") + b"\0")
        while status >> 8 == 0x61:
            more, status = self.send(bytes((0, 0xC0, 0, 0, status & 0xFF)))
            answer += more
        return answer, status

    def select(self) -> None:
        assert self.command(0xA4, 4, 0, PIV_AID)[1] == 0x9000

    def verify(self, pin: bytes = PIN) -> int:
        return self.command(0x20, 0, 0x80, pin)[1]

    def manage(self) -> None:
        """Prove the well-known management key, 3DES or AES-192: take a challenge and return it enciphered."""
        algorithm, cipher = 0x03, Cipher(TripleDES(DEFAULT_MANAGEMENT_KEY), modes.ECB())
        template, status = self.command(0x87, algorithm, 0x9B, bytes.fromhex("7C028100"))
        if status in (0x6A86, 0x6A80):
            algorithm, cipher = 0x0A, Cipher(algorithms.AES(DEFAULT_MANAGEMENT_KEY), modes.ECB())
            template, _ = self.command(0x87, algorithm, 0x9B, bytes.fromhex("7C028100"))
        answer = tlv.encode(0x7C, tlv.encode(0x82, cipher.encryptor().update(template[4:])))
        assert self.command(0x87, algorithm, 0x9B, answer) == (b"", 0x9000)

    def use_key(self, algorithm: int, slot: int, data: bytes, tag: int = 0x81) -> tuple[bytes, int]:
        """GENERAL AUTHENTICATE with a private key: the result out of its template, and the status word."""
        answer, status = self.command(0x87, algorithm, slot, tlv.encode(0x7C, b"\x82\x00", tlv.encode(tag, data)))
        return (dict(tlv.decode(tlv.read(answer)[1]))[0x82] if status == 0x9000 else answer), status

    def certificate(self, tag: int) -> bytes:
        """The DER of the certificate in a data object."""
        answer, status = self.command(0xCB, 0x3F, 0xFF, tlv.encode(0x5C, tag.to_bytes(3, "big")))
        assert status == 0x9000
        return dict(tlv.decode(tlv.read(answer)[1]))[0x70]


@contextlib.contextmanager
def _file_size(most: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def file_size() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """While `with file_size(bytes)` runs, this process writes no file beyond that: as if the disk were full."""
    return _file_size


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return TestCA.load_or_create(tmp_path_factory.mktemp("ca") / "ca")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def image(tmp_path: Path, ca: TestCA, cache: Path) -> Callable[..., Path]:
    """Makes a copy of a ready-made image: `image(profile, name=...)`. Its management key is the well-known one."""

    def copy(profile: str = "piv", **parameters: Any) -> Path:
        parameters.setdefault("management", "default")
        ready = ready_image(CardRequest(profile, **parameters), cache, ca)
        return Path(shutil.copy(ready, tmp_path / ready.name))

    return copy


@pytest.fixture
def new_card(image: Callable[..., Path]) -> Iterator[Callable[..., PivCard]]:
    """Opens a card of its own for a test: `new_card(profile, name=...)`."""
    cards: list[PivCard] = []

    def make(profile: str = "piv", **parameters: Any) -> PivCard:
        cards.append(open_card(image(profile, **parameters)))
        return cards[-1]

    yield make
    for card in cards:
        card.close()


@pytest.fixture
def card(new_card: Callable[..., PivCard]) -> PivCard:
    """A card of profile `piv` without power."""
    return new_card()


class Finger:
    """Somebody who touches the card whenever it asks; `waits` are the seconds that it would have waited."""

    def __init__(self, is_there: bool = True) -> None:
        self.is_there = is_there
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.is_there

    def was_touched(self, seconds: float) -> bool:
        return self.is_there and bool(self.waits)


@pytest.fixture
def power() -> Callable[..., Terminal]:
    """Resets a card and selects PIV: `power(card)`."""

    def activate(card: Card, select: bool = True, is_contactless: bool = False) -> Terminal:
        terminal = Terminal(card.activate(Finger(), is_contactless))
        if select:
            terminal.select()
        return terminal

    return activate


@pytest.fixture
def terminal(card: PivCard, power: Callable[..., Terminal]) -> Terminal:
    """The standard card with PIV selected and nothing proved."""
    return power(card)


@pytest.fixture
def blank(new_card: Callable[..., PivCard]) -> PivCard:
    return new_card("blank")


@pytest.fixture
def manager(blank: PivCard, power: Callable[..., Any]) -> Any:
    """A blank card with the management key proved."""
    terminal = power(blank)
    terminal.manage()
    return terminal
