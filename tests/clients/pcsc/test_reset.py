# SPDX-License-Identifier: MIT
"""A card that is reset by a script: programs of PC/SC hear of it as of another program's reset."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR
from cardtear.reader import Change
from cardtear.reader.pcsc import transactions

from ...shared.host import probes
from ...shared.host.host import NewHost
from ...shared.waiting import assert_waits_on, call_with_deadline, wait_until
from . import pcsc
from .daemon import OwnPcscd
from .pcsc import DEADLINE, READER, SELECT

pytestmark = pytest.mark.needs("smartcard")

WAS_RESET, REMOVED, NO_SERVICE = 0x80100068, 0x80100069, 0x8010001D
VERIFY = bytes.fromhex("0020008008") + b"123456\xff\xff"
PIN_STATUS = bytes.fromhex("00200080")
NOBODY = b"\x63\xc3"
"""Nobody is logged in, and there are three tries."""

ASKS: dict[str, Callable[[pcsc.Card], object]] = {
    "SCardTransmit": lambda card: card.transmit(PIN_STATUS),
    "SCardStatus": lambda card: card.status(),
    "SCardBeginTransaction": lambda card: card.begin(),
}


@pytest.fixture
def card(shown: Simulator, context: pcsc.Context) -> pcsc.Card:
    """A program of PC/SC at the card, with the PIN verified."""
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(VERIFY) == b"\x90\x00"
    return card


def told_by(card: pcsc.Card) -> int:
    """What SCardStatus says."""
    try:
        card.status()
    except pcsc.PcscError as error:
        return error.code
    return pcsc.OK


def is_told(card: pcsc.Card, ask: str = "SCardTransmit") -> None:
    """The program hears of the reset until it has reconnected."""
    for _ in range(2):
        with pytest.raises(pcsc.PcscError) as failure:
            ASKS[ask](card)
        assert failure.value.code == WAS_RESET
    card.reconnect(pcsc.LEAVE)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(PIN_STATUS) == NOBODY


@pytest.mark.parametrize("ask", ASKS)
def test_a_program_is_told(shown: Simulator, card: pcsc.Card, ask: str) -> None:
    """Whatever it calls next; and the card is reset once, not once more for pcscd."""
    changes: list[Change] = []
    shown.testbed.subscribe(lambda event: changes.append(event.change))
    shown.reset("front")
    if ask == "SCardBeginTransaction":
        with pytest.raises(pcsc.PcscError, match=f"{WAS_RESET:08X}"):
            card.begin()
        card.reconnect(pcsc.LEAVE)
        card.begin()
        card.end()
    else:
        is_told(card, ask)
    wait_until(lambda: changes)
    assert changes == [Change.RESET]


def test_all_of_them_are_told_each_time(shown: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    """Also by resets that follow each other at once; who connects afterwards has nothing to hear."""
    other = context.connect(READER)
    shown.reset("front")
    shown.reset("front")
    for each in (card, other):
        is_told(each)
    late = context.connect(READER)
    assert late.transmit(SELECT)[-2:] == b"\x90\x00"
    shown.reset("front")
    for each in (card, other, late):
        is_told(each)


def test_the_module_loses_its_login(shown: Simulator, card: pcsc.Card, new_host: NewHost) -> None:
    """And no session; the program is told, too, though an application of ours has the card in use."""
    host = new_host(shown)
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    shown.reset("front")
    assert host.rv(probes.sign, session, key) == CKR.USER_NOT_LOGGED_IN
    is_told(card)
    host.call(Module.login, session)
    assert len(host.call(probes.sign, session, key)) == 256


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_at_a_command_of_the_program(shown: Simulator, card: pcsc.Card, when: str) -> None:
    """The command itself is answered; pcscd tells as soon as it can."""
    shown.arm(Trigger("reset", {"reader": "front"}, ins=0x20, when=when))
    assert card.transmit(PIN_STATUS)[-2:] in (NOBODY, b"\x90\x00", b"\x69\x85", b"\x6d\x00")

    wait_until(lambda: told_by(card) == WAS_RESET)
    is_told(card)


def test_it_waits_for_the_end_of_a_transaction(shown: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    """As another program's reset would; the program keeps what it has until then."""
    other = context.connect(READER)
    card.begin()
    with ThreadPoolExecutor(1) as scripts:
        reset = scripts.submit(shown.reset, "front")
        assert card.transmit(PIN_STATUS) == b"\x90\x00"
        assert not reset.done()
        card.end()
        reset.result(DEADLINE)
    for each in (card, other):
        is_told(each)


def test_a_removal_ends_its_wait(shown: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    """For a transaction that does not end."""
    card.begin()
    with ThreadPoolExecutor(1) as scripts:
        reset = scripts.submit(shown.reset, "front")
        assert_waits_on(reset, 0.1)
        shown.remove("front")
        assert reset.exception(DEADLINE) is not None
    context.wait(READER, pcsc.EMPTY, DEADLINE)


def test_a_removal_while_the_programs_are_told(
    shown: Simulator, card: pcsc.Card, context: pcsc.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later of both is what they hear; nothing hangs."""
    tell = transactions.PcscdTransactions._reset

    def pulled(turn: transactions.PcscdTransactions, transaction: transactions.Transaction) -> None:
        shown.remove("front")
        tell(turn, transaction)

    monkeypatch.setattr(transactions.PcscdTransactions, "_reset", pulled)
    call_with_deadline(shown.reset, "front")
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    wait_until(lambda: told_by(card) == REMOVED)


def test_pcscd_is_gone(shown: Simulator, card: pcsc.Card, pcscd: OwnPcscd, context: pcsc.Context) -> None:
    """A reset needs none."""
    changes: list[Change] = []
    shown.testbed.subscribe(lambda event: changes.append(event.change))
    pcscd.kill()
    call_with_deadline(shown.reset, "front")
    wait_until(lambda: changes)
    with pytest.raises(pcsc.PcscError, match=f"{NO_SERVICE:08X}"):
        card.transmit(PIN_STATUS)
    pcscd.start()
    context.reopen()
    context.wait(READER, pcsc.PRESENT, DEADLINE)


def test_a_mute_card_wakes(shown: Simulator, card: pcsc.Card) -> None:
    """By a reset of the script's, of which its program is told."""
    shown.mute("front")
    shown.reset("front")
    is_told(card)
