# SPDX-License-Identifier: MIT
"""pcscd itself stopped and started by a script, and what programs that are connected to it see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.errors import TestbedError

from ...shared.waiting import wait_until
from . import pcsc
from .daemon import OwnPcscd
from .pcsc import DEADLINE, READER, SELECT, succeed_in_time

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))
COMM_ERROR, NO_SERVICE = 0x80100013, 0x8010001D
OK = b"\x90\x00"


@pytest.fixture
def running(shown: Simulator, pcscd: OwnPcscd) -> Iterator[Simulator]:
    """A simulator whose pcscd runs again at the end."""
    yield shown
    pcscd.start()


def fails_with(code: int, call: Callable[[], object]) -> None:
    with pytest.raises(pcsc.PcscError) as failure:
        call()
    assert failure.value.code == code


def is_back(context: pcsc.Context) -> None:
    """A program that establishes a new context has the card."""
    context.reopen()
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    assert succeed_in_time(lambda: context.connect(READER).transmit(SELECT))[-2:] == OK


def test_connected_programs(running: Simulator, context: pcsc.Context) -> None:
    """Those that wait are told at once; old connections stay dead when it is back, and new ones are good."""
    card = context.connect(READER)
    waiter = pcsc.Context()
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(waiter.wait, READER, pcsc.EMPTY, DEADLINE)
        assert card.transmit(SELECT)[-2:] == OK
        running.pcscd("stop")
        failure = waiting.exception(DEADLINE)
    assert isinstance(failure, pcsc.PcscError)
    assert failure.code not in (pcsc.OK, pcsc.TIMEOUT)  # which one depends on what the client library is just reading
    for call in (lambda: card.transmit(SELECT), card.status, pcsc.Context, lambda: card.disconnect(pcsc.LEAVE)):
        fails_with(NO_SERVICE, call)
    assert running.pcscd("stop") is False
    assert running.pcscd("start") is True
    assert running.pcscd("start") is False
    fails_with(NO_SERVICE, lambda: card.transmit(SELECT))
    is_back(context)


def test_in_the_middle_of_a_command(running: Simulator, context: pcsc.Context) -> None:
    """By a trigger; and a card that is swapped meanwhile is the one that is there afterwards."""
    card = context.connect(READER)
    running.arm(Trigger("pcscd", {"action": "stop"}, ins=0xA4))
    fails_with(COMM_ERROR, lambda: card.transmit(SELECT))
    wait_until(lambda: running.is_pcscd_stopped)
    running.remove("front")
    running.insert("front", atr=bytes.fromhex("3B800181"))
    running.pcscd("start")
    context.reopen()
    assert context.wait(READER, pcsc.PRESENT, DEADLINE) == bytes.fromhex("3B800181")


def test_a_card_that_goes_meanwhile(running: Simulator, context: pcsc.Context) -> None:
    running.pcscd("stop")
    running.remove("front")
    running.pcscd("start")
    context.reopen()
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    running.insert("front")
    is_back(context)


def test_from_outside(running: Simulator, pcscd: OwnPcscd, context: pcsc.Context) -> None:
    """By the command line and by pytest's fixtures."""

    def say(*words: str) -> str:
        environment = {**os.environ, **running.environment}
        done = subprocess.run((CARDTEAR, *words), capture_output=True, text=True, env=environment, timeout=30)
        return done.stdout + done.stderr

    assert "pcscd is stopped" in say("pcscd", "stop")
    assert not pcscd.is_running
    assert "was stopped already" in say("pcscd", "stop")
    assert '"changed": false' in say("pcscd", "stop", "--json")
    assert "there again" in say("pcscd", "start")
    assert pcscd.is_running
    assert "was running already" in say("pcscd", "start")
    refused = say("pcscd", "pause")
    assert "'stop'" in refused, refused
    assert "'start'" in refused, refused
    assert "pcscd stop" in say("arm", "pcscd", "stop", "--signal", "never")
    remote = RemoteSimulator(running.environment)
    assert remote.pcscd("stop") is True
    assert not pcscd.is_running
    assert remote.pcscd("start") is True
    remote.close()
    is_back(context)


def test_it_is_not_missed(running: Simulator, context: pcsc.Context, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told to look for a pcscd that has been stopped, nor while it starts, whatever is done meanwhile."""
    running.pcscd("stop")
    running.remove("front")
    running.insert("front")
    running.swap("front", CardRequest(name="Bob"))
    front = running.pcsc
    assert front is not None
    assert front.wait_until_shown(0.5) == ["front"]  # it has looked for vpcd by then
    running.pcscd("start")
    is_back(context)
    assert caplog.text == ""


def test_one_that_starts_again_is_not_started(pcscd: OwnPcscd) -> None:
    """A start and a death at once do not make two of them."""
    with ThreadPoolExecutor(4) as others:
        for _ in range(3):
            assert pcscd.start() is False
            process = pcscd._process
            assert process is not None
            process.kill()
            assert not any(others.map(lambda _: pcscd.start(), range(8)))
            wait_until(lambda process=process: pcscd.is_running and pcscd._process is not process)
            wait_until(pcscd._answers_us)
    pcscd.stop()
    assert not pcscd._answers_us()
    pcscd.start()


def test_without_one_of_its_own(simulator: Simulator) -> None:
    """It is refused, also as what a trigger is to do: the machine's pcscd is not ours to stop."""
    with pytest.raises(TestbedError, match="own-pcscd"):
        simulator.pcscd("stop")
    with pytest.raises(TestbedError, match="own-pcscd"):
        simulator.arm(Trigger("pcscd", {"action": "stop"}, ins=0xA4))
