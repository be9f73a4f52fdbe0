# SPDX-License-Identifier: MIT
"""The card torn out or the process killed in the middle of things: the image is whole, and no try comes back."""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import atr, tlv
from cardtear.card.applet import keys, references
from cardtear.card.applet.management import DEFAULT_MANAGEMENT_KEY
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.card import CardTorn
from cardtear.card.image.state import CardState, Reference, StoredKey
from cardtear.card.image.store import Store, create_image
from cardtear.card.issuing.profiles import open_card
from cardtear.card.tables import MANAGEMENT_KEY, PIN, PUK, Algorithm
from cryptography.hazmat.primitives.asymmetric import rsa

DEADLINE = 30
GENERATE_P256 = bytes.fromhex("AC03800111")
RIGHT, WRONG = (bytes.fromhex(f"002000800831323334353{last}FFFF") for last in "67")


def end_power(card: PivCard) -> None:
    card.deactivate()


def reset(card: PivCard) -> None:
    card.activate()


@pytest.mark.parametrize("tear", [end_power, reset])
def test_torn_while_a_key_is_generated(
    card: PivCard, terminal: Any, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tear: Callable[..., None]
) -> None:
    """The command stands still inside of the generation while another thread takes the power away."""
    inside, go_on = threading.Event(), threading.Event()
    generate = keys.generate

    def slowly(algorithm: Algorithm) -> keys.Key:
        inside.set()
        assert go_on.wait(DEADLINE)
        return generate(algorithm)

    monkeypatch.setattr(keys, "generate", slowly)
    terminal.manage()
    before = terminal.command(0xF7, 0, 0x9A)
    outcome: list[str] = []

    def command() -> None:
        try:
            terminal.command(0x47, 0, 0x9A, GENERATE_P256)
            outcome.append("answered")
        except CardTorn:
            outcome.append("torn")

    thread = threading.Thread(target=command)
    thread.start()
    assert inside.wait(DEADLINE)
    tear(card)
    go_on.set()
    thread.join(DEADLINE)
    assert outcome == ["torn"]
    assert power(card).command(0xF7, 0, 0x9A) == before


def test_torn_while_a_real_key_is_generated(card: PivCard, terminal: Any, power: Callable[..., Any]) -> None:
    """Nothing is held up artificially: RSA-3072 takes long enough, and the tear does not wait for it."""
    terminal.manage()
    before = terminal.command(0xF7, 0, 0x9A)
    outcome: list[str] = []

    def command() -> None:
        try:
            terminal.command(0x47, 0, 0x9A, bytes.fromhex("AC03800105"))
            outcome.append("answered")
        except CardTorn:
            outcome.append("torn")

    thread = threading.Thread(target=command)
    thread.start()
    card.deactivate()
    thread.join(DEADLINE)
    assert outcome == ["torn"]
    assert power(card).command(0xF7, 0, 0x9A) == before


class Torn:
    """An activation whose card goes after so many APDUs."""

    def __init__(self, card: PivCard, apdus: int) -> None:
        self.card, self.activation, self.left = card, card.activation, apdus

    def transmit(self, command: bytes) -> bytes:
        if self.left == 0:
            self.card.deactivate()
        self.left -= 1
        assert self.activation is not None
        return self.activation.transmit(command)


def tear_at_changes(card: PivCard, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    """Take the power away right before each change of the image, or right after it."""

    def torn(change: Callable[..., None]) -> Callable[..., None]:
        def change_torn(store: Store, *arguments: Any) -> None:
            if not after:
                card.deactivate()
            change(store, *arguments)
            card.deactivate()

        return change_torn

    for name in ("commit", "count"):
        monkeypatch.setattr(Store, name, torn(getattr(Store, name)))


# Of a card of the profile, with PIN and management key proved: the commands that come first, the one that is torn.
BLOCK = [(0x20, 0, 0x80, b"000000\xff\xff")] * 3 + [(0x2C, 0, 0x80, b"00000000000000\xff\xff")] * 3
WELL_KNOWN = bytes.fromhex("010203040506070801020304050607080102030405060708")
COMMITS: dict[str, tuple[str, list[tuple[int, int, int, bytes]], tuple[int, int, int, bytes]]] = {
    "a wrong PIN": ("piv-ec", [], (0x20, 0, 0x80, b"000000\xff\xff")),
    "the right PIN after a wrong one": ("piv-ec", BLOCK[:1], (0x20, 0, 0x80, b"123456\xff\xff")),
    "another PIN": ("piv-ec", [], (0x24, 0, 0x80, b"123456\xff\xff654321\xff\xff")),
    "another PUK": ("piv-ec", [], (0x24, 0, 0x81, b"1234567887654321")),
    "a PIN by the PUK": ("piv-ec", BLOCK[:3], (0x2C, 0, 0x80, b"12345678654321\xff\xff")),
    "a wrong PUK": ("piv-ec", [], BLOCK[3]),
    "SET MANAGEMENT KEY": ("piv-ec", [], (0xFF, 0xFF, 0xFF, b"\x08\x9b\x10" + bytes(16))),
    "SET MANAGEMENT KEY with touch": ("yubikey", [], (0xFF, 0xFF, 0xFE, b"\x0a\x9b\x18" + WELL_KNOWN)),
    "SET PIN RETRIES": ("yubikey", [], (0xFA, 7, 9, b"")),
    "RESET": ("yubikey", [(0x47, 0, 0x9A, GENERATE_P256), *BLOCK], (0xFB, 0, 0, b"")),
    "GENERATE of the key that attests": ("yubikey", [], (0x47, 0, 0xF9, GENERATE_P256)),
    "MOVE away of the key that attests": ("yubikey", [], (0xF6, 0xFF, 0xF9, b"")),
    "PUT DATA of the discovery object": ("piv-ec", [], (0xDB, 0x3F, 0xFF, bytes.fromhex("7E03010203"))),
}


@pytest.mark.parametrize("what", COMMITS)
def test_torn_at_its_commit(
    new_card: Callable[..., PivCard], power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Right before the change is written, and right after: what is there is what was, or all of what shall be."""
    profile, first, command = COMMITS[what]
    card = new_card(profile)

    def prepared() -> Any:
        terminal = power(card)
        terminal.manage()
        if not first:  # the right PIN would give all tries back
            terminal.verify()
        return terminal

    terminal = prepared()
    for each in first:
        terminal.command(*each)

    for is_changed in (False, True):
        terminal = prepared() if is_changed else terminal
        before = copy.deepcopy(card.store.state)
        tear_at_changes(card, monkeypatch, after=is_changed)
        with pytest.raises(CardTorn):
            terminal.command(*command)
        monkeypatch.undo()
        assert (card.store.state != before) is is_changed
    after = card.store.state
    card.close()
    again = Store(card.store.path)
    again.close()
    assert again.state == after


P256_NUMBERS = bytes.fromhex("0620" + "01" * 32)
CHANGES = {
    "PUT DATA of 60000 bytes": (0xDB, 0x3F, 0xFF, bytes.fromhex("5C045FFF8000 5382EA60") + b"\2" * 60_000),
    "PUT DATA that deletes": (0xDB, 0x3F, 0xFF, bytes.fromhex("5C045FFF8000 5300")),
    "GENERATE": (0x47, 0x00, 0x9A, bytes.fromhex("AC06800111AA0103")),
    "IMPORT EC": (0xFE, 0x11, 0x9E, P256_NUMBERS),
    "IMPORT RSA": (0xFE, 0x07, 0x9E, b""),
    "MOVE": (0xF6, 0x82, 0x9A, b""),
    "MOVE away": (0xF6, 0xFF, 0x9A, b""),
}


def rsa_numbers() -> bytes:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    parts = enumerate((numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp), start=1)
    return b"".join(tlv.encode(tag, number.to_bytes(128, "big")) for tag, number in parts)


def apdus(data: bytes) -> int:
    """Of a command that is chained in short APDUs, and whose answer is not fetched."""
    return max(1, -(-len(data) // 255))


@pytest.mark.parametrize("what", CHANGES)
def test_torn_at_any_apdu(
    card: PivCard, terminal: Any, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Before each APDU, right before the change is written and right after: what is there is what was or what shall be.

    Of the many links of a long command only some are tried: the first and the last ones, and some between.
    """
    ins, p1, p2, data = CHANGES[what]
    data = rsa_numbers() if what == "IMPORT RSA" else data
    terminal.manage()
    assert terminal.command(0xDB, 0x3F, 0xFF, bytes.fromhex("5C045FFF8000 5301") + b"\1")[1] == 0x9000
    before = copy.deepcopy(card.store.state)
    count = apdus(data)
    for place in sorted({*range(min(count, 3)), *range(0, count, 40), count - 1}):
        terminal = power(card)
        terminal.manage()
        terminal.activation = Torn(card, place)
        with pytest.raises(CardTorn):
            terminal.command(ins, p1, p2, data)
        assert card.store.state == before
    changed = []
    for is_changed in (False, True):
        terminal = power(card)
        terminal.manage()
        tear_at_changes(card, monkeypatch, after=is_changed)
        with pytest.raises(CardTorn):
            terminal.command(ins, p1, p2, data)
        monkeypatch.undo()
        changed.append(card.store.state != before)
    assert changed == [False, True]
    after = card.store.state
    card.close()
    again = Store(card.store.path)
    again.close()
    assert again.state == after


def test_an_old_activation_answers_nothing_and_changes_nothing(card: PivCard, power: Callable[..., Any]) -> None:
    old = power(card)
    new = power(card)
    for _ in range(4):
        with pytest.raises(CardTorn):
            old.send(WRONG)
    assert new.send("00200080") == (b"", 0x63C3)
    assert new.send(RIGHT) == (b"", 0x9000)
    card.deactivate()
    with pytest.raises(CardTorn):
        new.send("00200080")


def test_torn_right_before_the_count_costs_no_try_and_compares_nothing(
    card: PivCard, terminal: Any, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was learnt, so nothing is due."""
    monkeypatch.delattr(references, "hmac")
    tear_at_changes(card, monkeypatch, after=False)
    with pytest.raises(CardTorn):
        terminal.send(WRONG)
    monkeypatch.undo()
    assert power(card).send("00200080") == (b"", 0x63C3)


@pytest.mark.parametrize("pin", [RIGHT, WRONG])
def test_torn_right_after_the_count_the_try_is_gone(
    card: PivCard, terminal: Any, power: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, pin: bytes
) -> None:
    """Also if the PIN was right, for that has not been found out yet."""
    tear_at_changes(card, monkeypatch, after=True)
    with pytest.raises(CardTorn):
        terminal.send(pin)
    monkeypatch.undo()
    assert power(card).send("00200080") == (b"", 0x63C2)


def test_a_torn_chain_is_forgotten(card: PivCard, terminal: Any, power: Callable[..., Any]) -> None:
    terminal.manage()
    assert terminal.send("10DB3FFF 05 5C035FC10D") == (b"", 0x9000)
    card.deactivate()
    again = power(card)
    assert again.send("00DB3FFF 03 530101") == (b"", 0x6A80)
    assert again.send("00C0000000") == (b"", 0x6985)


def test_tearing_does_not_wait_for_a_change(card: PivCard, power: Callable[..., Any]) -> None:
    """Not even while the image is being written; a new activation does."""
    power(card)
    with card.store._change:
        ended = threading.Thread(target=card.deactivate)
        ended.start()
        ended.join(DEADLINE)
        assert not ended.is_alive()
        begun = threading.Thread(target=card.activate)
        begun.start()
        assert card.activation is None
    begun.join(DEADLINE)
    assert card.activation is not None


def test_tries_never_come_back_whatever_the_moment(card: PivCard) -> None:
    """Many wrong PINs with the card torn and reset by another thread at any moment: every answer has been counted."""
    store = card.store
    store.own(owner := object())
    store.commit(owner, references={PIN: Reference(b"123456\xff\xff", 10_000, 10_000)})
    stop = threading.Event()
    chance = random.Random(7816)

    def shake() -> None:
        while not stop.wait(chance.uniform(0, 0.002)):
            card.deactivate()
            card.activate().transmit(bytes.fromhex("00A4040005A000000308"))

    shaker = threading.Thread(target=shake)
    shaker.start()
    answered = torn = 0
    over = threading.Timer(DEADLINE, stop.set)
    over.start()
    while (answered < 30 or torn < 30) and not stop.is_set():
        activation = card.activation
        try:
            answered += activation is not None and activation.transmit(WRONG)[0] == 0x63
        except CardTorn:
            torn += 1
    over.cancel()
    stop.set()
    shaker.join(DEADLINE)
    assert answered >= 30
    assert torn >= 30
    left = store.state.references[PIN].remaining
    assert answered <= 10_000 - left <= answered + torn
    card.close()
    assert open_card(store.path).store.state.references[PIN].remaining == left


# Killed

VERIFIER = """
import os, sys
from pathlib import Path
from cardtear.card.issuing.profiles import open_card
activation = open_card(Path(sys.argv[1])).activate()
activation.transmit(bytes.fromhex("00A4040005A000000308"))
os.write(1, b"!")
while True:
    assert activation.transmit(bytes.fromhex("0020008008313233343537FFFF"))[0] == 0x63
    os.write(1, b".")
"""

WRITER = """
import os, sys
from pathlib import Path
from cardtear.card.issuing.profiles import open_card
from cardtear.card.image.state import Reference
store = open_card(Path(sys.argv[1])).store
store.own(owner := object())
os.write(1, b"!")
count = store.state.references[0x80].remaining
while True:
    count += 1
    text = str(count).encode()
    references = {0x80: Reference(b"123456\\xff\\xff", count, count)}
    store.commit(owner, references, None, {0x5FFF21: text * 2000, 0x5FFF22: text})
    os.write(1, b".")
"""


def kill_after(script: str, image: Path, answers: int) -> int:
    """Run the script on the image, kill it in the middle of whatever follows so many dots; return how many came."""
    with subprocess.Popen([sys.executable, "-c", script, str(image)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = 0
        while seen <= answers:
            got = os.read(process.stdout.fileno(), 1000)
            assert got, "the script ended by itself"
            seen += len(got)
        process.send_signal(signal.SIGKILL)
        while got := os.read(process.stdout.fileno(), 1000):
            seen += len(got)
    return seen - 1


@pytest.fixture
def many_tries(tmp_path: Path) -> Path:
    """A card without keys that takes 10000 wrong PINs."""
    path = tmp_path / "many.card"
    references = {number: Reference(b"123456\xff\xff", 10_000, 10_000) for number in (PIN, PUK)}
    management = {MANAGEMENT_KEY: StoredKey(Algorithm.TDES, DEFAULT_MANAGEMENT_KEY)}
    create_image(path, CardState("Alice", "blank", atr.PIV["both"], bytes(8), references, management))
    return path


@pytest.mark.parametrize("answers", [0, 1, 7, 40])
def test_killed_in_the_middle_of_pin_tries(many_tries: Path, answers: int) -> None:
    """Killing the simulator saves no try: all that were answered are counted, and at most one more."""
    given = kill_after(VERIFIER, many_tries, answers)
    card = open_card(many_tries)
    used = 10_000 - card.store.state.references[PIN].remaining
    card.close()
    assert given <= used <= given + 1


@pytest.mark.parametrize("answers", [0, 3, 20, 50])
def test_killed_in_the_middle_of_a_change_that_touches_much(many_tries: Path, answers: int) -> None:
    given = kill_after(WRITER, many_tries, answers)
    card = open_card(many_tries)
    state = card.store.state
    count = state.references[PIN].remaining
    assert given <= count - 10_000 <= given + 1
    if count > 10_000:
        assert state.objects == {0x5FFF21: str(count).encode() * 2000, 0x5FFF22: str(count).encode()}
    card.close()
