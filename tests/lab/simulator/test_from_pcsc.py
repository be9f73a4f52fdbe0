# SPDX-License-Identifier: MIT
"""Readers whose cards come from PC/SC, where there is no PC/SC to speak of."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from cardtear.card.applet.piv_card import ForeignCard
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.cli import tables
from cardtear.lab.control.client import ControlFailure
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.from_pcsc import NoCardInPcsc, NoPyscard
from cardtear.reader import NoSuchReader
from cardtear.reader.errors import ReaderOccupied
from cardtear.reader.reader import Insertion, Reader


def test_without_pyscard(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; everything else works."""
    monkeypatch.setitem(sys.modules, "smartcard", None)
    for name in ("pcsc_reader", "pcsc_card", "pcsc_channel"):
        monkeypatch.delitem(sys.modules, f"cardtear.reader.pcsc.{name}", raising=False)
    simulator.plug("back")
    with pytest.raises(NoPyscard, match=r"pip install 'cardtear\[pcsc\]'"):
        simulator.attach_pcsc("back")
    simulator.detach_pcsc("back")
    simulator.remove("front")
    assert simulator.insert("back").name == "Alice"


@pytest.mark.parametrize("name", ["", "any", "foo"])
def test_a_reader_that_holds_our_card(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It is refused for as long as the card lies there, by the control channel, too; nothing is attached."""
    pytest.importorskip("smartcard")
    monkeypatch.setattr("cardtear.reader.pcsc.pcsc_reader.PcscReader", _Door)
    monkeypatch.setattr(_Door, "card", None)
    remote = RemoteSimulator(simulator.environment)
    with pytest.raises(ReaderOccupied, match="'front' holds the card 'Alice' already; remove it first"):
        simulator.attach_pcsc("front", name)
    with pytest.raises(ControlFailure, match="holds the card 'Alice' already"):
        remote.attach_pcsc("front", name)
    assert simulator.status()["readers"][0]["from_pcsc"] is None
    simulator.remove("front")
    assert remote.attach_pcsc("front", name) is None
    assert simulator.status()["readers"][0]["from_pcsc"] == name
    simulator.insert("front", CardRequest())
    tables.status(simulator.status())
    assert f"from {name or 'any'}, waits" in capsys.readouterr().out
    remote.close()


def test_no_such_reader(simulator: Simulator) -> None:
    with pytest.raises(NoSuchReader):
        simulator.attach_pcsc("back")


class _Shared(ForeignCard):
    """A card that programs of PC/SC have, too."""

    is_lost = False

    def lock_for(self, insertion: Insertion) -> Any:
        return threading.RLock()


class _Door:
    """Stands for a reader of PC/SC, whose card is in ours by now."""

    card: Any = None

    def __init__(self, reader: Reader, wanted: str, exclusive: bool) -> None:
        self.ready = threading.Event()
        self.ready.set()
        self.wanted = wanted
        if self.card is not None:
            reader.insert(self.card)

    def close(self) -> None:
        """Nothing to do."""


def test_the_last_card_of_an_attached_reader(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is PC/SC's; when that is detached, ours is the last one again."""
    pytest.importorskip("smartcard")
    monkeypatch.setattr("cardtear.reader.pcsc.pcsc_reader.PcscReader", _Door)
    _Door.card = shared = _Shared("Real", b"\x3b\x00")
    simulator.swap("front", CardRequest(name="Zoe"))
    zoe = simulator.remove("front")
    assert simulator.attach_pcsc("front") == "Real"
    simulator.remove("front")
    assert simulator.insert("front") is shared
    _Door.card = None
    simulator.remove("front")
    simulator.detach_pcsc("front")
    assert simulator.insert("front") is zoe
    simulator.remove("front")
    simulator.attach_pcsc("front")
    with pytest.raises(NoCardInPcsc):
        simulator.insert("front")
