# SPDX-License-Identifier: MIT
"""What can be a PIN on cards whose rules are their own, and with how many tries a card is born."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing.profiles import CardRequest, ProfileError
from cardtear.card.pin_rules import PIN_FORMATS, PinRules
from cardtear.card.tables import PIN, PUK
from hypothesis import given
from hypothesis import strategies as st


def padded(value: str) -> bytes:
    return value.encode().ljust(8, b"\xff")


def change(terminal: Any, old: str, new: str) -> int:
    status: int = terminal.command(0x24, 0, 0x80, padded(old) + padded(new))[1]
    return status


def unblock(terminal: Any, new: str, puk: str = "12345678") -> int:
    status: int = terminal.command(0x2C, 0, 0x80, padded(puk) + padded(new))[1]
    return status


CARDS: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"pin_min": 4, "pin": "9999"}, ["1234", "123456", "12345678"], ["123", "", "12a4"]),
    ({"pin_min": 4, "pin_max": 6, "pin": "9999"}, ["1234", "654321"], ["123", "1234567"]),
    ({"pin_min": 8, "pin": "12345678"}, ["87654321"], ["1234567"]),
    ({"pin_format": "any", "pin": "pass wd"}, ["123456", "~!PqRs ", "      "], ["short", "pi\x7fpipi", "p\u00e4sswd"]),
    ({"pin_format": "hex", "pin": "DeadBeef"}, ["0123abc", "ABCDEF"], ["ghijkl", "12345"]),
]


@pytest.mark.parametrize(("parameters", "good", "bad"), CARDS, ids=lambda each: str(each)[:30])
def test_rules(
    new_card: Callable[..., PivCard],
    power: Callable[..., Any],
    parameters: dict[str, Any],
    good: list[str],
    bad: list[str],
) -> None:
    """A new PIN that cannot be one is refused and costs nothing; one that can be is taken, in both commands."""
    terminal = power(new_card("blank", **parameters))
    pin = parameters["pin"]
    assert terminal.verify(padded(pin)) == 0x9000
    for each in bad:
        assert change(terminal, pin, each) == unblock(terminal, each) == terminal.verify(padded(each)) == 0x6A80
    assert terminal.send("00200080")[1] == 0x9000
    for each in good:
        assert change(terminal, pin, each) == 0x9000
        assert unblock(terminal, each) == 0x9000
        assert terminal.verify(padded(each)) == 0x9000
        pin = each
    assert terminal.send("00F7008100")[0].endswith(b"\3\3")


def test_the_rules_last(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    card = new_card("initial-pin")
    terminal = power(card)
    assert terminal.verify(padded("9999")) == 0x9000
    assert change(terminal, "9999", "8888") == 0x9000
    terminal = power(card)
    assert terminal.verify(padded("888")) == 0x6A80
    assert terminal.verify(padded("9999")) == 0x63C2
    assert terminal.verify(padded("8888")) == 0x9000


ALPHABETS = {
    "digits": b"0123456789",
    "hex": b"0123456789abcdefABCDEF",
    "any": bytes(range(0x20, 0x7F)),
}
likely = st.lists(st.sampled_from(b"0123456789afAFgz ~\x1f\x7f\xff"), max_size=8).map(
    lambda each: bytes(each).ljust(8, b"\xff")
)


@given(
    st.builds(PinRules, st.integers(4, 8), st.integers(4, 8), st.sampled_from(sorted(PIN_FORMATS))),
    likely | st.binary(max_size=16),
)
def test_a_pin_is_accepted_if_its_length_and_its_characters_fit(rules: PinRules, value: bytes) -> None:
    content = value.rstrip(b"\xff")
    fits = len(value) == 8 and rules.minimum <= len(content) <= rules.maximum
    assert rules.accept(PIN, value) is bool(fits and set(content) <= set(ALPHABETS[rules.form]))
    assert rules.accept(PUK, value) is (len(value) == 8)


@pytest.mark.parametrize(("left", "answer"), [(None, 0x63C5), (5, 0x63C5), (1, 0x63C1), (0, 0x6983)])
def test_born_with_tries(
    new_card: Callable[..., PivCard], power: Callable[..., Any], left: int | None, answer: int
) -> None:
    terminal = power(new_card("blank", pin_tries=5, puk_tries=2, pin_left=left))
    assert terminal.send("00200080") == (b"", answer)
    assert terminal.send("00F7008000")[0][-2:] == bytes((5, 5 if left is None else left))
    assert terminal.send("00F7008100")[0][-2:] == b"\2\2"
    assert terminal.verify() == (0x6983 if left == 0 else 0x9000)
    assert unblock(terminal, "123456") == 0x9000
    assert terminal.verify() == 0x9000


def test_the_final_try(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", pin_left=1, puk_left=1))
    assert terminal.verify(padded("000000")) == 0x63C0
    assert terminal.verify() == 0x6983
    assert unblock(terminal, "123456", "00000000") == 0x63C0
    assert unblock(terminal, "123456") == 0x6983


def test_both_locked(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", pin_left=0, puk_left=0))
    assert terminal.verify() == unblock(terminal, "123456") == change(terminal, "123456", "654321") == 0x6983


def test_a_pin_that_is_not_initialised(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """Nobody can enter it; the PUK sets it."""
    terminal = power(new_card("uninitialised"))
    assert terminal.send("00200080") == (b"", 0x6983)
    assert terminal.verify() == terminal.verify(b"\xff" * 8) == 0x6983
    assert change(terminal, "", "123456") == 0x6983
    assert unblock(terminal, "654321") == 0x9000
    assert terminal.verify(b"654321\xff\xff") == 0x9000


def test_fifteen_tries_at_most(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", pin_tries=15))
    assert [terminal.verify(b"000000\xff\xff") for _ in range(16)] == [*range(0x63CE, 0x63BF, -1), 0x6983]
    with pytest.raises(ProfileError):
        CardRequest(pin_tries=16)


EMPTY = b"\xff" * 8


@pytest.mark.parametrize(
    ("ins", "p2", "data", "reference"),
    [
        (0x20, 0x80, EMPTY, PIN),
        (0x24, 0x80, EMPTY + padded("654321"), PIN),
        (0x24, 0x80, EMPTY + EMPTY, PIN),
        (0x2C, 0x80, EMPTY + EMPTY, PUK),
    ],
)
def test_malformed_values_are_wrong_ones_to_yubicos_make(
    new_card: Callable[..., PivCard], power: Callable[..., Any], ins: int, p2: int, data: bytes, reference: int
) -> None:
    """So its tools block PIN and PUK before a reset; any other make takes them for no try."""
    for profile, answers in (("yubikey", [0x63C2, 0x63C1, 0x63C0, 0x6983]), ("blank", [0x6A80] * 4)):
        card = new_card(profile)
        terminal = power(card)
        assert [terminal.command(ins, 0, p2, data)[1] for _ in answers] == answers, profile
        assert card.store.state.references[reference].remaining == (0 if profile == "yubikey" else 3)


@pytest.mark.parametrize(
    ("ins", "proved", "reference"), [(0x24, padded("123456"), PIN), (0x2C, b"12345678", PUK)], ids=["change", "reset"]
)
def test_a_malformed_new_pin_costs_no_try(
    new_card: Callable[..., PivCard], power: Callable[..., Any], ins: int, proved: bytes, reference: int
) -> None:
    card = new_card("yubikey")
    terminal = power(card)
    assert terminal.command(ins, 0, 0x80, proved + EMPTY)[1] == 0x6A80
    assert card.store.state.references[reference].remaining == 3
    assert terminal.verify() == 0x9000
