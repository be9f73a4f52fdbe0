# SPDX-License-Identifier: MIT
"""A whole simulator in pcscd: its readers in vpcd's slots, and what is said when pcscd is not there."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.reader import ApduMoment, Moment, When
from cardtear.reader.pcsc.vpcd_slots import PcscSlots

from ...shared.waiting import wait_until
from . import pcsc
from .daemon import OwnPcscd
from .pcsc import DEADLINE, READER, SECOND_READER, succeed_in_time

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What has been said about vpcd."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("cardtear.reader")]


def test_two_readers(shown: Simulator, context: pcsc.Context) -> None:
    """Each has a slot, and only its own removals."""
    shown.plug("back")
    shown.insert("back", CardRequest(name="Bob"))
    context.wait(SECOND_READER, pcsc.PRESENT, DEADLINE)
    card = context.connect(READER)
    shown.remove("back")
    context.wait(SECOND_READER, pcsc.EMPTY, DEADLINE)
    assert card.transmit(pcsc.SELECT)[-2:] == b"\x90\x00"
    shown.unplug("front")
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    with pytest.raises(pcsc.PcscError):
        card.transmit(pcsc.SELECT)


def test_a_third_reader_waits_for_a_slot(shown: Simulator, context: pcsc.Context, caplog: Any) -> None:
    """And has one when another reader is gone."""
    shown.plug("back")
    shown.plug("third")
    shown.insert("third", CardRequest(name="Bob"))
    assert shown.pcsc is not None
    assert shown.pcsc.wait_until_shown(0.5) == ["third"]
    shows = {each["name"]: each["pcsc"]["shown"] for each in shown.status()["readers"]}
    assert shows == {"front": True, "back": False, "third": False}
    assert len(words(caplog)) == 1
    assert "third" in words(caplog)[0]
    assert "cardtear pcsc --readers" in words(caplog)[0]
    shown.remove("third")
    shown.unplug("third")
    shown.unplug("back")
    shown.plug("fourth")
    shown.insert("fourth", CardRequest(name="Bob"))
    context.wait(SECOND_READER, pcsc.PRESENT, DEADLINE)


def test_a_restart_of_pcscd_is_survived(pcscd: OwnPcscd, caplog: Any) -> None:
    """Of one that is not ours to stop: with one word when it is missed, and one when it is back."""
    with Simulator(pcsc=replace(pcscd.place, daemon=None)) as simulator:
        simulator.plug("front")
        simulator.insert("front")
        assert simulator.pcsc is not None
        assert simulator.pcsc.wait_until_shown(DEADLINE) == []
        for _ in range(2):
            caplog.clear()
            pcscd.stop()
            wait_until(lambda: words(caplog))
            pcscd.start()
            wait_until(lambda: len(words(caplog)) > 1)
            missed, back = words(caplog)
            assert "front waits" in missed
            assert "front is in pcscd now" in back
            context = pcsc.Context()
            context.wait(READER, pcsc.PRESENT, DEADLINE)
            assert context.connect(READER).transmit(pcsc.SELECT)[-2:] == b"\x90\x00"
            context.close()


def test_a_pcscd_that_is_killed(shown: Simulator, pcscd: OwnPcscd, context: pcsc.Context) -> None:
    """In the middle of a command: the program is told, and the next pcscd has the card."""
    card = context.connect(READER)
    killed = threading.Event()

    def kill(moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is When.BEFORE:
            pcscd.kill()
            killed.set()

    with shown.testbed.watching(kill), pytest.raises(pcsc.PcscError):
        card.transmit(pcsc.SELECT)
    assert killed.wait(DEADLINE)
    pcscd.start()
    context.reopen()
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    assert context.connect(READER).transmit(pcsc.SELECT)[-2:] == b"\x90\x00"


def test_a_crash_is_a_removal(shown: Simulator, context: pcsc.Context) -> None:
    """As of the whole simulator: what it was doing fails, and after a restart the card is there again."""
    card = context.connect(READER)
    with shown.testbed.watching(lambda _moment: shown.crash()), pytest.raises(pcsc.PcscError):
        card.transmit(pcsc.SELECT)
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    shown.restart()
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    assert succeed_in_time(lambda: context.connect(READER)).transmit(pcsc.SELECT)[-2:] == b"\x90\x00"


@pytest.mark.needs("opensc-tool")
def test_run(pcscd: OwnPcscd, succeed: Callable[..., str]) -> None:
    """The program starts when pcscd has the card."""
    command = ("--pcsc", "--pcsc-port", str(pcscd.place.port), "--", "opensc-tool", "--atr")
    with pcscd.place.inside():
        assert succeed(CARDTEAR, "run", *command).splitlines()[-1].startswith("3b:")


def test_run_without_pcscd(run: Callable[..., Any]) -> None:
    """An error that says what to do."""
    with socket.socket() as nobody:  # holds its port, and does not listen
        nobody.bind(("", 0))
        port = str(nobody.getsockname()[1])
        ended = run(CARDTEAR, "run", "--pcsc", "--pcsc-port", port, "--", "true")
    assert ended.code == 1
    assert "cardtear doctor" in ended.output


def test_no_such_port() -> None:
    with pytest.raises(ValueError, match="65536"):
        Simulator(pcsc=PcscSlots(65536))
