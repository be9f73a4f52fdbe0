# SPDX-License-Identifier: MIT
"""Readers whose cards come from PC/SC, where there is no PC/SC to speak of."""

from __future__ import annotations

import sys

import pytest
from cardtear.lab.from_pcsc import NoPyscard
from cardtear.lab.simulator import Simulator
from cardtear.reader import NoSuchReader


def test_without_pyscard(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; everything else works."""
    monkeypatch.setitem(sys.modules, "smartcard", None)
    for name in ("pcsc", "pcsc_card", "pcsc_channel"):
        monkeypatch.delitem(sys.modules, f"cardtear.reader.{name}", raising=False)
    simulator.plug("back")
    with pytest.raises(NoPyscard, match=r"pip install 'cardtear\[pcsc\]'"):
        simulator.attach_pcsc("back")
    simulator.detach_pcsc("back")
    simulator.remove("front")
    assert simulator.insert("back").name == "Alice"


def test_no_such_reader(simulator: Simulator) -> None:
    with pytest.raises(NoSuchReader):
        simulator.attach_pcsc("back")
