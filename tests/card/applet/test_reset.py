# SPDX-License-Identifier: MIT
"""Cold and warm reset: what both take away, and what only a warm one answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import atr
from cardtear.card.applet.piv_card import PivCard
from cardtear.reader import Testbed

from ..conftest import Terminal


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_what_is_lost(new_card: Callable[..., PivCard], power: Callable[..., Any], is_warm: bool) -> None:
    """The selection, both PINs, the management key, an unfinished chain, and what GET RESPONSE would fetch."""
    card = new_card("piv-ec", global_pin="111111")
    terminal = power(card)
    terminal.verify()
    terminal.command(0x20, 0, 0, b"111111\xff\xff")
    terminal.manage()
    assert terminal.send("00CB3FFF055C035FC10100")[1] >> 8 == 0x61
    again = Terminal(card.activate(is_warm=is_warm))
    assert again.send("00C0000000") == (b"", 0x6985)
    assert again.send("00200080") == (b"", 0x6D00)
    again.select()
    assert again.send("00200080") == (b"", 0x63C3)
    assert again.send("00200000") == (b"", 0x63C3)
    assert again.send("00DB3FFF0A5C035FC10D5303010203") == (b"", 0x6982)
    assert again.send("10CB3FFF025C03") == (b"", 0x9000)
    last = Terminal(card.activate(is_warm=is_warm))
    last.select()
    assert last.send("00CB3FFF035FC10200") == (b"", 0x6A80)


def test_another_answer_to_a_warm_reset(new_card: Callable[..., PivCard]) -> None:
    """It counts for the transport, too: this one offers T=0 alone."""
    card = new_card("blank", warm_atr=atr.PIV["t0"].hex())
    bench = Testbed()
    insertion = bench.plug("front").insert(card)
    assert insertion.atr == atr.PIV["both"]
    assert insertion.reset() == atr.PIV["t0"]
    assert insertion.transmit(bytes.fromhex("00A4040005A00000030800")) == b"\x61\x52"
    assert insertion.reset(is_warm=False) == atr.PIV["both"]
    assert len(insertion.transmit(bytes.fromhex("00A4040005A00000030800"))) == 0x52 + 2
    bench.reader("front").remove()
    assert bench.reader("front").insert(card).atr == atr.PIV["both"]


def test_the_same_answer_to_both(new_card: Callable[..., PivCard]) -> None:
    for profile in ("blank", "yubikey"):
        card = new_card(profile)
        assert card.activate(is_warm=True).atr == card.activate().atr == card.atr


def test_a_contactless_reader_stays_one(new_card: Callable[..., PivCard]) -> None:
    """After a reset, and when it is plugged in again it is what it is plugged in as."""
    card, bench = new_card("blank"), Testbed()
    insertion = bench.plug("front", is_contactless=True).insert(card)
    for _ in range(2):
        insertion.transmit(bytes.fromhex("00A4040005A000000308"))
        assert insertion.transmit(bytes.fromhex("00200080")) == b"\x69\x82"
        assert insertion.atr == atr.contactless(card.atr)
        insertion.reset()
    bench.unplug("front")
    insertion = bench.plug("front").insert(card)
    insertion.transmit(bytes.fromhex("00A4040005A000000308"))
    assert insertion.transmit(bytes.fromhex("00200080")) == b"\x63\xc3"
