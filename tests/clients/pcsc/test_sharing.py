# SPDX-License-Identifier: MIT
"""One card in use by programs of PC/SC and by an application of our module at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from cardtear.card.tables import INS
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKR
from cardtear.reader import CallMoment, Moment, When
from cardtear.reader.pcsc import vpcd_dialogue
from cardtear.reader.trace import ApduEntry

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
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
def host(shown: Simulator, new_host: NewHost) -> Any:
    """An application of our module."""
    return new_host(shown)


@pytest.fixture
def user(host: Host) -> int:
    """Its session, with the user logged in."""
    return int(host.call(probes.user_session))


def test_a_reset_takes_the_login_of_the_application(card: pcsc.Card, host: Host, user: int) -> None:
    key = host.call(probes.key, user, b"\1")
    card.reconnect(pcsc.RESET)
    assert host.rv(probes.sign, user, key) == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, user)
    assert len(host.call(probes.sign, user, key)) == 256


@pytest.mark.needs("smartcard")
def test_a_reset_takes_the_login_of_the_program(card: pcsc.Card, shown: Simulator) -> None:
    """It is told by pcscd, as of another program's reset."""
    assert card.transmit(VERIFY) == b"\x90\x00"
    shown.reset("front")
    with pytest.raises(pcsc.PcscError, match="80100068"):
        card.transmit(SELECT)
    card.reconnect(pcsc.LEAVE)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


def test_a_logout_is_shared(card: pcsc.Card, host: Host, user: int) -> None:
    """Either side's: there is one PIN, verified or not."""
    key = host.call(probes.key, user, b"\1")
    assert card.transmit(PIN_STATUS) == b"\x90\x00"
    assert card.transmit(GIVE_UP) == b"\x90\x00"
    assert host.rv(probes.sign, user, key) == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, user)
    assert card.transmit(PIN_STATUS) == b"\x90\x00"
    host.call(Module.logout, user)
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


def test_wrong_pins_count_for_both(card: pcsc.Card, host: Host, user: int) -> None:
    key = host.call(probes.key, user, b"\1")
    assert card.transmit(WRONG) == b"\x63\xc2"
    assert host.rv(probes.sign, user, key) == CKR.USER_NOT_LOGGED_IN
    assert host.rv(Module.login, user, "999999") == CKR.PIN_INCORRECT
    assert card.transmit(PIN_STATUS) == b"\x63\xc1"


def test_another_application_of_the_card(card: pcsc.Card, host: Host, user: int) -> None:
    """Selected by the program, it costs ours the login, as on a real card, and nothing else."""
    key = host.call(probes.key, user, b"\1")
    assert card.transmit(bytes.fromhex("00A4040008A000000151000000"))[-2:] == b"\x90\x00"
    assert host.rv(probes.sign, user, key) == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, user)
    assert len(host.call(probes.sign_with, user, b"\1")) == 256


def test_removal_ends_both(shown: Simulator, card: pcsc.Card, host: Host, user: int) -> None:
    """While the program's command is under way."""
    with shown.testbed.watching(lambda _moment: shown.remove("front")), pytest.raises(pcsc.PcscError):  # type: ignore[arg-type]
        card.transmit(PIN_STATUS)
    assert host.rv(Module.session_state, user) == CKR.SESSION_HANDLE_INVALID


@pytest.mark.parametrize("first", [VERIFY, LONG], ids=["PIN", "long answer"])
def test_a_program_is_not_interrupted(
    card: pcsc.Card, host: Host, user: int, shown: Simulator, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PIN and the signature that needs it, the parts of an answer: our application waits until it is silent."""
    key = host.call(probes.key, user, b"\1")
    monkeypatch.setattr(vpcd_dialogue, "SILENCE", 5.0)
    monkeypatch.setattr(vpcd_dialogue, "LONGEST", 5.0)
    second = SIGN if first is VERIFY else bytes.fromhex("00C0000000")
    begun = threading.Event()

    def watch(moment: Moment) -> None:
        if isinstance(moment, CallMoment) and moment.name == "C_Sign" and moment.when is When.BEFORE:
            begun.set()

    with shown.testbed.watching(watch):
        card.transmit(first)
        waiting = host.start(probes.sign, user, key)
        assert begun.wait(pcsc.DEADLINE)
        for _ in range(50):  # long enough for a signature, were nobody in its way
            host.call(Module.slots)
        assert not waiting.done()
        assert card.transmit(second)[-2:-1] in (b"\x90", b"\x61")
    monkeypatch.setattr(vpcd_dialogue, "SILENCE", 0.0)
    card.transmit(PIN_STATUS)
    assert len(waiting.result(pcsc.DEADLINE)) == 256
    sent = [entry.command[1] for entry in shown.testbed.trace.entries() if isinstance(entry, ApduEntry)]
    ours = [INS.GENERAL_AUTHENTICATE, INS.GENERAL_AUTHENTICATE, INS.GET_RESPONSE]
    assert sent[-6:] == [first[1], second[1], INS.VERIFY, *ours]


def test_both_at_work(card: pcsc.Card, host: Host, user: int) -> None:
    """Signatures of both at the same time: none fails."""
    key = host.call(probes.key, user, b"\1")
    failed = threading.Event()

    def work() -> None:
        for _ in range(30):
            if card.transmit(VERIFY) != b"\x90\x00" or card.transmit(SIGN)[-2:] != b"\x90\x00":
                failed.set()

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(10):
        assert len(host.call(probes.sign, user, key)) == 256
    thread.join(pcsc.DEADLINE)
    assert not thread.is_alive()
    assert not failed.is_set()
