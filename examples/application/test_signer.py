# SPDX-License-Identifier: MIT
"""The signer's own tests: what becomes of it when the card goes, wherever that may be.

`card`, `reader`, `bench` and `module_path` come with cardtear. Each test has a card of its own.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from cardtear import CardRequest, Trigger
from cardtear.lab.control.remote import RemoteReader, RemoteSimulator
from signer import AnotherCard, CardGone, Signer

DOCUMENT = b"I owe you five pounds"


class User:
    """Types the PIN, and counts how often."""

    def __init__(self, pin: str) -> None:
        self.pin = pin
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.pin


@pytest.fixture
def user(card: CardRequest) -> User:
    return User(card.pin)


@pytest.fixture
def signer(card: CardRequest, module_path: Path, user: User) -> Signer:
    return Signer(module_path, user)


def test_the_pin_is_asked_for_once(signer: Signer, user: User) -> None:
    assert len(signer.sign(DOCUMENT)) == 256
    assert len(signer.sign(DOCUMENT)) == 256
    assert user.asked == 1


def test_the_card_goes_between_two_signatures(
    signer: Signer, user: User, reader: RemoteReader, card: CardRequest
) -> None:
    signer.sign(DOCUMENT)
    reader.remove()
    for _ in range(2):
        with pytest.raises(CardGone):
            signer.sign(DOCUMENT)
    reader.insert(card)
    assert signer.sign(DOCUMENT)
    assert user.asked == 2


CALLS = ["C_OpenSession", "C_GetAttributeValue", "C_Login", "C_FindObjects", "C_SignInit", "C_Sign"]
MOMENTS = [
    *((call, when) for call in CALLS for when in ("before", "after")),
    ("C_Login", "during"),
    ("C_Sign", "during"),
]


@pytest.mark.parametrize(("call", "when"), MOMENTS)
def test_the_card_goes_at_a_call(
    signer: Signer, bench: RemoteSimulator, reader: RemoteReader, card: CardRequest, call: str, when: str
) -> None:
    """Whatever the call is, the signature is done or the signer says that the card is gone; and then it works again."""
    bench.arm(Trigger("remove", {"reader": reader.name}, call=call, when=when))
    with contextlib.suppress(CardGone):
        signer.sign(DOCUMENT)
        with pytest.raises(CardGone):  # the card went behind the last call
            signer.sign(DOCUMENT)
    assert reader.card is None
    reader.insert(card)
    assert signer.sign(DOCUMENT)


@pytest.mark.parametrize("nth", [1, 2])
def test_the_card_is_torn_out_of_a_signature(
    signer: Signer, bench: RemoteSimulator, reader: RemoteReader, card: CardRequest, nth: int
) -> None:
    """A signature with an RSA key is a chain of two commands (INS 87)."""
    bench.arm(Trigger("remove", {"reader": reader.name}, ins=0x87, nth=nth))
    with pytest.raises(CardGone):
        signer.sign(DOCUMENT)
    reader.insert(card)
    assert signer.sign(DOCUMENT)


def test_another_card_gets_no_pin(signer: Signer, user: User, reader: RemoteReader, card: CardRequest) -> None:
    signer.sign(DOCUMENT)
    reader.swap(CardRequest(name="Mallory"))
    with pytest.raises(CardGone):
        signer.sign(DOCUMENT)
    with pytest.raises(AnotherCard):
        signer.sign(DOCUMENT)
    assert user.asked == 1
    reader.swap(card)
    assert signer.sign(DOCUMENT)
