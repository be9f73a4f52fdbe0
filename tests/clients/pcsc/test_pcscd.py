# SPDX-License-Identifier: MIT
"""The adapter to pcscd against the real one: a card of the bench as PC/SC programs see it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from time import perf_counter

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.reader import ApduMoment, Change, Moment, When
from cardtear.reader.pcsc.vpcd import VpcdAdapter

from ...shared.waiting import call_with_deadline
from . import pcsc
from .pcsc import DEADLINE, READER, SELECT, succeed_in_time

VERIFY = bytes.fromhex("00200080 08") + b"123456\xff\xff"
PIN_STATUS = bytes.fromhex("00200080")


@pytest.fixture
def card(context: pcsc.Context, adapter: VpcdAdapter) -> pcsc.Card:
    """A connection to the card, with the PIV application selected."""
    return connect_and_select(context)


def connect_and_select(context: pcsc.Context) -> pcsc.Card:
    """A connection to the card, with the PIV application selected."""
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    return card


def test_insertion_and_removal(simulator: Simulator, adapter: VpcdAdapter, context: pcsc.Context) -> None:
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert context.wait(READER, pcsc.PRESENT, DEADLINE) == insertion.atr
    for _ in range(2):
        simulator.remove("front")
        context.wait(READER, pcsc.EMPTY, DEADLINE)
        with pytest.raises(pcsc.PcscError):
            context.connect(READER)
        simulator.insert("front")
        context.wait(READER, pcsc.PRESENT, DEADLINE)
        assert context.connect(READER).transmit(SELECT)[-2:] == b"\x90\x00"


def test_swap_is_never_missed(simulator: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    """Faster than pcscd looks, and the same ATR: the old connection is dead all the same, and the card another."""
    simulator.swap("front", CardRequest(name="Bob"))
    with pytest.raises(pcsc.PcscError):
        card.transmit(SELECT)


def test_a_card_that_comes_while_pcscd_does_not_look(
    simulator: Simulator, card: pcsc.Card, context: pcsc.Context
) -> None:
    """A program has failed to reset the one before, so that pcscd knows that it is gone, but has not seen it."""
    simulator.remove("front")
    with contextlib.suppress(pcsc.PcscError):  # not every pcscd tells
        card.disconnect(pcsc.RESET)
    simulator.insert("front")
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    succeed_in_time(lambda: connect_and_select(context))


def test_removal_in_the_middle_of_an_apdu(simulator: Simulator, card: pcsc.Card) -> None:
    """The program waits for a signature when the card goes: it gets an error, and soon."""
    with simulator.testbed.watching(lambda _moment: simulator.remove("front")), pytest.raises(pcsc.PcscError):  # type: ignore[arg-type]
        call_with_deadline(card.transmit, SELECT)


def test_login_is_shared_and_a_reset_takes_it(simulator: Simulator, card: pcsc.Card) -> None:
    changes: list[Change] = []
    simulator.testbed.subscribe(lambda event: changes.append(event.change))
    assert card.transmit(VERIFY) == b"\x90\x00"
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert insertion.transmit(PIN_STATUS) == b"\x90\x00"
    card.reconnect(pcsc.RESET)
    assert changes == [Change.RESET]
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


def test_power_off_and_on_takes_the_login(card: pcsc.Card, context: pcsc.Context) -> None:
    assert card.transmit(VERIFY) == b"\x90\x00"
    card.disconnect(pcsc.UNPOWER)
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


def test_a_mute_card_answers_after_a_reset(simulator: Simulator, card: pcsc.Card) -> None:
    """Until then each command fails, and soon."""
    assert card.transmit(VERIFY) == b"\x90\x00"
    simulator.mute("front")
    for _ in range(2):
        with pytest.raises(pcsc.PcscError):
            call_with_deadline(card.transmit, PIN_STATUS)
    succeed_in_time(lambda: card.reconnect(pcsc.RESET))  # vpcd lost the connection, and looks for another by and by
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


def test_a_dead_card_is_present_and_mute(simulator: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    """No reset wakes it, and it does not wake in its reader again."""
    simulator.kill("front")
    with pytest.raises(pcsc.PcscError):
        card.transmit(PIN_STATUS)
    with pytest.raises(pcsc.PcscError):
        card.reconnect(pcsc.RESET)
    dead = simulator.remove("front")
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    simulator.insert("front", dead)
    context.wait(READER, pcsc.MUTE, DEADLINE)
    with pytest.raises(pcsc.PcscError):
        context.connect(READER)
    simulator.remove("front")
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    simulator.insert("front", CardRequest(name="Bob"))
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    succeed_in_time(lambda: connect_and_select(context))


@pytest.mark.parametrize(
    ("initialization", "left"),
    [(pcsc.LEAVE, b"\x90\x00"), (pcsc.RESET, b"\x63\xc3"), (pcsc.UNPOWER, b"\x63\xc3")],
    ids=["leave", "reset", "unpower"],
)
def test_reconnect(card: pcsc.Card, initialization: int, left: bytes) -> None:
    """What it does to the card, and so to the PIN's verification."""
    assert card.transmit(VERIFY) == b"\x90\x00"
    card.reconnect(initialization)
    if left != b"\x90\x00":
        assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    assert card.transmit(PIN_STATUS) == left


def test_status_and_attributes(simulator: Simulator, card: pcsc.Card) -> None:
    """What programs ask of a reader. vpcd has neither attributes nor features, and a program goes on without."""
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    names, _, protocol, atr = card.status()
    assert (names, atr) == ([READER], insertion.atr)
    assert protocol in (1, 2)
    for ask in (lambda: card.attribute(_ATR_STRING), lambda: card.control(_GET_FEATURES)):
        with pytest.raises(pcsc.PcscError):
            ask()
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


_ATR_STRING = 0x00090303
_GET_FEATURES = 0x42000000 + 3400
"""CM_IOCTL_GET_FEATURE_REQUEST (PC/SC part 10, 2.2)."""


def test_the_longest_commands_and_answers(simulator: Simulator, card: pcsc.Card) -> None:
    """All that two bytes of length, and pcscd's buffers, let through; what is longer is an error, and soon."""
    command = bytes.fromhex("00CB3FFF00 FFF0") + bytes(0xFFF0)
    assert len(card.transmit(command)) == 2
    answers: list[bytes] = []

    def enlarge(moment: Moment) -> bytes | None:
        if isinstance(moment, ApduMoment) and moment.when is When.AFTER:
            answers.append(bytes(0xFFF0) + b"\x90\x00")
            return answers[-1]
        return None

    with simulator.testbed.watching(enlarge):
        assert card.transmit(bytes.fromhex("00CB3FFF000000")) == answers[0]
    assert card.transmit(PIN_STATUS) == b"\x63\xc3"


def test_another_atr(simulator: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    simulator.remove("front")
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    atr = bytes.fromhex("3B8001 81".replace(" ", ""))
    simulator.insert("front", atr=atr)
    assert context.wait(READER, pcsc.PRESENT, DEADLINE) == atr


def test_a_touch_is_waited_for(simulator: Simulator, card: pcsc.Card, context: pcsc.Context) -> None:
    simulator.swap("front", CardRequest(name="Bob", touch="always"))
    card = succeed_in_time(lambda: connect_and_select(context))
    sign = bytes.fromhex("0087119E26 7C24 8200 8120") + bytes(32) + b"\0"
    simulator.touch("front")
    assert card.transmit(sign)[-2:] == b"\x90\x00"


def test_long_answers(card: pcsc.Card) -> None:
    """A certificate in GET RESPONSE steps, and at once by extended length."""
    get = bytes.fromhex("5C035FC105")
    answer = card.transmit(bytes.fromhex("00CB3FFF05") + get + b"\0")
    parts = [answer[:-2]]
    while answer[-2] == 0x61:
        answer = card.transmit(bytes.fromhex("00C0000000"))
        parts.append(answer[:-2])
    assert answer[-2:] == b"\x90\x00"
    assert card.transmit(bytes.fromhex("00CB3FFF000005") + get + b"\0\0") == b"".join(parts) + b"\x90\x00"


@pytest.mark.timing
def test_latency(card: pcsc.Card) -> None:
    """Without an acknowledgement at once each APDU would take 40 ms more: vpcd writes its length first."""
    times = []
    for _ in range(50):
        start = perf_counter()
        card.transmit(PIN_STATUS)
        times.append(perf_counter() - start)
    assert sorted(times)[len(times) // 4] < 0.03  # the best quarter of them: others have the processors, too


def test_opensc_tool(card: pcsc.Card) -> None:
    tool = shutil.which("opensc-tool")
    if tool is None:
        pytest.skip("opensc-tool is not installed (Debian: opensc)")
    shown = subprocess.run([tool, "--name"], capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0, shown.stderr
    assert "PIV" in shown.stdout or "Personal Identity" in shown.stdout, shown.stdout
