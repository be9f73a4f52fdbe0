# SPDX-License-Identifier: MIT
"""Transactions of PC/SC (SCardBeginTransaction) keep applications of our module out, and theirs keep programs out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.tables import INS
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKR
from cardtear.reader import CallMoment, Moment, When
from cardtear.reader.trace import ApduEntry

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
from ...shared.programs import Run
from ...shared.waiting import assert_waits_on
from . import pcsc
from .daemon import OwnPcscd
from .pcsc import DEADLINE, READER, SELECT

pytestmark = pytest.mark.needs("smartcard")

VERIFY = bytes.fromhex("0020008008") + b"123456\xff\xff"
PIN_STATUS = bytes.fromhex("00200080")
SIGN = bytes.fromhex("0087119C267C2482008120") + bytes(32) + b"\0"
"""Needs the PIN in the command before."""
OK = b"\x90\x00"
PAUSE = 0.3
"""Seconds for which a program thinks; without a transaction the card would be anybody's by then."""


@pytest.fixture
def host(shown: Simulator, new_host: NewHost) -> Any:
    """An application of our module."""
    return new_host(shown)


@pytest.fixture
def card(shown: Simulator, context: pcsc.Context) -> pcsc.Card:
    """A program of PC/SC at the card."""
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == OK
    return card


class Signing:
    """The application signs, in a thread of its own, from the moment at which it has begun."""

    def __init__(self, simulator: Simulator, host: Host) -> None:
        session = host.call(probes.user_session)
        self._session, self._key = session, host.call(probes.key, session, b"\1")
        self._simulator, self._host = simulator, host

    def start(self) -> Any:
        begun = threading.Event()

        def watch(moment: Moment) -> None:
            if isinstance(moment, CallMoment) and moment.name == "C_SignInit" and moment.when is When.BEFORE:
                begun.set()

        with self._simulator.testbed.watching(watch):
            waiting = self._host.start_rv(probes.sign, self._session, self._key)
            assert begun.wait(DEADLINE)
        return waiting

    def log_in(self) -> None:
        self._host.call(Module.login, self._session)

    def sign(self) -> None:
        assert len(self._host.call(probes.sign, self._session, self._key)) == 256


@pytest.fixture
def signing(shown: Simulator, host: Host, card: pcsc.Card) -> Signing:
    return Signing(shown, host)


def instructions(simulator: Simulator) -> list[int]:
    return [entry.command[1] for entry in simulator.testbed.trace.entries() if isinstance(entry, ApduEntry)]


def test_the_application_waits_for_its_end(shown: Simulator, signing: Signing, card: pcsc.Card) -> None:
    """However long a program thinks in between."""
    card.begin()
    assert card.transmit(VERIFY) == OK
    waiting = signing.start()
    assert_waits_on(waiting, PAUSE)
    assert card.transmit(SIGN)[-2:] == OK
    card.end()
    assert waiting.result(DEADLINE) == CKR.OK
    ours = [INS.GENERAL_AUTHENTICATE, INS.GENERAL_AUTHENTICATE, INS.GET_RESPONSE]
    assert instructions(shown)[-5:] == [INS.VERIFY, INS.GENERAL_AUTHENTICATE, *ours]


def test_many_of_both(signing: Signing, card: pcsc.Card) -> None:
    """A PIN and the signature that needs it are never torn apart, and nobody fails or waits for ever."""
    failed, stop = threading.Event(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            card.begin()
            if card.transmit(VERIFY) != OK or card.transmit(SIGN)[-2:] != OK:
                failed.set()
            card.end()
            stop.wait(0.005)  # pcscd lets nobody in who does not ask just then

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(5):
        signing.sign()
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert not failed.is_set()


@pytest.mark.parametrize(
    "call",
    [lambda m, s, k: probes.sign(m, s, k), lambda m, s, k: m.logout(s), lambda m, s, k: probes.data(m, s, b"x")],
    ids=["sign", "logout", "write"],
)
def test_a_removal_ends_the_wait(
    shown: Simulator, host: Host, card: pcsc.Card, context: pcsc.Context, call: Callable[[Module, int, int], Any]
) -> None:
    """Of whatever waits for the card; the program still has its transaction."""
    session = host.call(probes.user_session, 0, True)
    key = host.call(probes.key, session, b"\1")
    card.begin()
    waiting = host.start_rv(call, session, key)
    assert_waits_on(waiting, PAUSE)
    shown.remove("front")
    waiting.result(DEADLINE)
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    context.wait(READER, pcsc.EMPTY, DEADLINE)


def test_a_program_that_has_the_card_for_itself(
    shown: Simulator, signing: Signing, card: pcsc.Card, context: pcsc.Context
) -> None:
    card.disconnect(pcsc.LEAVE)
    card = context.connect(READER, exclusive=True)
    waiting = signing.start()
    assert_waits_on(waiting, PAUSE)
    card.disconnect(pcsc.LEAVE)
    assert waiting.result(DEADLINE) == CKR.OK


@pytest.mark.needs("opensc-tool")
def test_a_program_waits_for_ours(shown: Simulator, signing: Signing, card: pcsc.Card, run: Run) -> None:
    """A reset by opensc-tool comes when a sequence of our side is over, not within it."""
    insertion = shown.testbed.reader("front").insertion
    assert insertion is not None
    resets: list[int] = []
    with insertion.lock:
        assert insertion.transmit(VERIFY) == OK
        thread = threading.Thread(target=lambda: resets.append(run("opensc-tool", "--reset").code))
        thread.start()
        thread.join(PAUSE)
        assert insertion.transmit(PIN_STATUS) == OK
        assert not resets
    thread.join(DEADLINE)
    assert resets == [0]
    assert insertion.transmit(SELECT)[-2:] == OK
    assert insertion.transmit(PIN_STATUS) == b"\x63\xc3"


def test_a_program_that_does_not_stop(signing: Signing, card: pcsc.Card) -> None:
    """Without transactions: the application has its turn all the same."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            card.transmit(PIN_STATUS)

    thread = threading.Thread(target=work)
    thread.start()
    signing.sign()
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_pcscd_is_another_one(
    shown: Simulator, signing: Signing, card: pcsc.Card, pcscd: OwnPcscd, context: pcsc.Context
) -> None:
    """Killed while a program has a transaction and the application waits for it. Then all is as before."""
    card.begin()
    waiting = signing.start()
    pcscd.kill()
    assert waiting.result(DEADLINE) == CKR.OK
    pcscd.start()
    context.reopen()
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    other = pcsc.succeed_in_time(lambda: context.connect(READER))
    assert other.transmit(SELECT)[-2:] == OK
    signing.log_in()  # pcscd has reset the card
    signing.sign()
    other.begin()
    waiting = signing.start()
    assert_waits_on(waiting, PAUSE)
    other.end()
    assert waiting.result(DEADLINE) == CKR.OK
