# SPDX-License-Identifier: MIT
"""One card in use by programs of PC/SC and by an application of our module at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.tables import INS
from cardtear.lab.simulator import Simulator
from cardtear.p11.constants import CKR
from cardtear.reader import vpcd_dialogue
from cardtear.reader.trace import ApduEntry

from . import pcsc
from .pcsc import READER, SELECT

VERIFY = bytes.fromhex("0020008008") + b"123456\xff\xff"
WRONG = bytes.fromhex("0020008008") + b"000000\xff\xff"
PIN_STATUS = bytes.fromhex("00200080")
GIVE_UP = bytes.fromhex("0020FF80")
SIGN = bytes.fromhex("0087119C267C2482008120") + bytes(32) + b"\0"
"""Needs the PIN in the command before."""
LONG = bytes.fromhex("00CB3FFF055C035FC10500")
"""A certificate, in several answers."""


@pytest.fixture
def card(shown: Simulator, context: pcsc.Context) -> pcsc.Card:
    """A program of PC/SC at the card."""
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    return card


@pytest.fixture
def host(shown: Simulator, new_host: Callable[..., Any]) -> Any:
    """An application of our module."""
    return new_host(shown)


@pytest.fixture
def user(host: Any) -> int:
    """Its session, with the user logged in."""
    return int(host.eval("user_session(m)"))
