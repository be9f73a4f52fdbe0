# SPDX-License-Identifier: MIT
"""The fuzzers themselves, each with an amount that a test run can bear; scripts/fuzz has more."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import random
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from cardtear.card import apdu
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.card import Activation
from cardtear.card.image.state import CardState, Reference
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, open_card, ready_image
from cardtear.card.tables import INS, PIN
from fuzzing import flood, killing
from fuzzing.targets import TARGETS
from hypothesis import given
from hypothesis import strategies as st

DEADLINE = 110
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SOME = 100_000
MOST_BYTES = 2 << 20


def fuzz(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzzing", *words]
    return subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=DEADLINE, check=False)


def card_of(folder: Path, profile: str) -> PivCard:
    return open_card(ready_image(CardRequest(profile), folder, TestCA.load_or_create(folder / "ca")))


@pytest.fixture
def card(tmp_path: Path) -> PivCard:
    return card_of(tmp_path, "piv-ec")


# Killed processes


@pytest.mark.parametrize("words", [("--count", "200"), ("--count", "15", "--encrypted")])
def test_killed_at_any_moment(words: tuple[str, ...]) -> None:
    """What each killed process leaves is the card before a command or after it, and no try comes back."""
    result = fuzz("kill", *words)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"{words[1]} processes killed" in result.stdout


def model() -> CardState:
    references = {number: Reference(b"12345678", 15, 15) for number in (0x80, 0x81)}
    return CardState("Alice", "blank", b"\x3b\x00", bytes(8), references)


def after(seed: str, answers: int) -> CardState:
    state = model()
    for _ in itertools.islice(killing.commands(random.Random(seed), state), answers + 1):
        pass
    return state


@pytest.mark.parametrize("answers", [0, 1, 20])
def test_what_else_a_killed_process_leaves_is_found(answers: int) -> None:
    """Neither a step back nor two ahead, half of a change, nor a try that came back passes for a sound card."""
    seed = "7816/1"
    killing._compare(seed, model(), after(seed, answers), answers)
    killing._compare(seed, model(), after(seed, answers + 1), answers)
    wrong = [after(seed, answers) for _ in range(2)]
    held = wrong[0].references[PIN]
    wrong[0].references[PIN] = Reference(held.value, held.remaining + 1, held.maximum)
    wrong[1].objects[0x5FFF8000] = b"half of it"
    for state in wrong:
        with pytest.raises(killing.ImageDamage, match="neither before nor after"):
            killing._compare(seed, model(), state, answers)


def test_each_kind_of_command_comes() -> None:
    """And what costs a try, the next state has one less."""
    state = model()
    seen = set()
    for command in itertools.islice(killing.commands(random.Random(1), state), 500):
        seen.add((command.ins, command.status))
        before = deepcopy(state)
        if (command.ins, command.status) == (0x20, 0x63):
            command.effect(before)
            assert before.references[PIN].remaining == state.references[PIN].remaining - 1
    assert seen == {(0x20, 0x63), (0x20, 0x90), (0x24, 0x90), (0x2C, 0x90), (0xDB, 0x90), (0xFE, 0x90), (0xF6, 0x90)}


# Floods


@pytest.mark.parametrize("profile", ["piv-ec", "yubikey"])
def test_a_flood(tmp_path: Path, profile: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every instruction, with P1, P2 and data at random: an answer each, no internal error, no memory kept."""
    caplog.set_level(logging.CRITICAL + 1, logger="cardtear")
    card = card_of(tmp_path, profile)
    flood.flood(card, 1, 20_000)
    before = flood.resident()
    answers = flood.flood(card, 2, SOME)
    assert flood.resident() - before < MOST_BYTES
    assert answers.total() == SOME
    assert {0x90, 0x67, 0x68, 0x69, 0x6A, 0x6D, 0x6E} <= answers.keys()
    card.close()
    open_card(card.store.path).close()


def test_all_headers_come() -> None:
    """In 2**16 of them each instruction, each P1 and each P2; in 2**24 none comes twice, for the step is odd."""
    some = list(itertools.islice(flood.headers(3), 1 << 16))
    assert len(set(some)) == len(some)
    assert [len(set(column)) for column in zip(*some, strict=True)] == [256, 256, 256]


class Failing:
    """A card that falls at one instruction, or does not recover."""

    name = "Failing"
    is_dead = False
    revision = 0

    def __init__(self, inner: PivCard, answer: bytes) -> None:
        self.inner, self.answer = inner, answer

    def activate(self, sensor: object = None, is_contactless: bool = False) -> Activation:
        activation, answer = self.inner.activate(), self.answer

        class Activated:
            atr = b""

            def transmit(self, command: bytes) -> bytes:
                return answer if command[1:2] == bytes([INS.GET_DATA]) else activation.transmit(command)

        return Activated()

    def deactivate(self) -> None:
        self.inner.deactivate()


@pytest.mark.parametrize("answer", [b"\x6f\x00", b"\x6d\x00", b"\0\0"])
def test_a_card_that_falls_is_found(card: PivCard, answer: bytes) -> None:
    with pytest.raises(flood.CardFailure):
        flood.flood(Failing(card, answer), 1, 2000)  # type: ignore[arg-type]


# Guided


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_targets_with_bytes_at_random(name: str, data: st.DataObject) -> None:
    """Near what they know, and far from it."""
    target = TARGETS[name]
    for seed in target.seeds:
        target.feed(seed)
    known = data.draw(st.sampled_from(target.seeds))
    cut = data.draw(st.integers(0, len(known)))
    target.feed(known[:cut] + data.draw(st.binary(max_size=64)) + known[cut:])


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not made for this Python")
def test_guided_by_coverage(tmp_path: Path) -> None:
    """It runs, and new inputs that reach new code are kept."""
    corpus = tmp_path / "corpus"
    result = fuzz("guided", "request", "--count", "20000", "--seed", "1", "--corpus", str(corpus))
    assert result.returncode == 0, result.stderr
    assert len(list(corpus.iterdir())) > len(TARGETS["request"].seeds) + 3


def test_a_decoder_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = apdu.parse
    monkeypatch.setattr(apdu, "parse", lambda raw: parse(raw)._replace(p1=1))
    with pytest.raises(AssertionError):
        TARGETS["apdu"].feed(bytes(5))
