# SPDX-License-Identifier: MIT
"""pyscard's monitors of readers and cards, and its connections, in pcscd's sight."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import INS
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

from . import pcsc
from .daemon import OwnPcscd
from .dialogue import Program
from .pcsc import READER, SECOND_READER

pytestmark = pytest.mark.needs("smartcard")

SIGN = "00 87 11 9E 26 7C 24 82 00 81 20" + 32 * " 00" + " 00"


@pytest.fixture
def monitor(shown: Simulator, pcscd: OwnPcscd) -> Iterator[Program]:
    """The program, with the card in."""
    with Program(sys.executable, str(Path(__file__).with_name("pyscard_monitor.py")), **pcscd.environment) as program:
        first = [program.hear() for _ in range(3)]
        assert sorted(line.split(" 3B")[0] for line in first) == [
            "card in",
            f"reader in {READER}",
            f"reader in {SECOND_READER}",
        ]
        yield program


def test_monitors(monitor: Program, shown: Simulator) -> None:
    """Each removal and insertion is seen, of a card with another ATR too."""
    for atr in (None, bytes.fromhex("3B80018181")[:-1] + b"\x81"):
        old = shown.testbed.reader("front").insertion
        assert old is not None
        shown.remove("front")
        assert monitor.hear() == f"card out {old.atr.hex(' ').upper()}"
        shown.insert("front", CardRequest(name="Bob"), atr=atr)
        new = shown.testbed.reader("front").insertion
        assert new is not None
        assert monitor.hear() == f"card in {new.atr.hex(' ').upper()}"


def test_a_signature_loses_its_card(monitor: Program, shown: Simulator) -> None:
    """An exception of pyscard's, and a connection that works when the card is back."""
    assert monitor.ask("connect") == "connected"
    assert monitor.ask(pcsc.SELECT.hex(" ")).endswith("90 00")
    assert monitor.ask(SIGN).endswith("90 00")
    shown.arm(Trigger("remove", {"reader": "front"}, ins=INS.GENERAL_AUTHENTICATE))
    monitor.say(SIGN)
    heard = sorted((monitor.hear(), monitor.hear()))
    assert heard[0].startswith("card out")
    assert heard[1].startswith("error CardConnectionException")
    assert monitor.ask(SIGN).startswith("error CardConnectionException")
    assert monitor.ask("connect").startswith("error NoCardException")
    shown.insert("front")
    assert monitor.hear().startswith("card in")
    assert monitor.ask("connect") == "connected"
    assert monitor.ask(pcsc.SELECT.hex(" ")).endswith("90 00")
    assert monitor.ask(SIGN).endswith("90 00")
