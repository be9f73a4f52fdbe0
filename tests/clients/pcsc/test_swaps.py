# SPDX-License-Identifier: MIT
"""Cards that go and come faster than pcscd looks, under programs that do not pause."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.reader import Change
from cardtear.reader.trace import ApduEntry, EventEntry

from ...shared.waiting import take_time, wait_until
from . import pcsc
from .daemon import OwnPcscd
from .pcsc import DEADLINE, READER, SELECT, succeed_in_time

REMOVED = 0x80100069
NEVER_POWERED = (0x80100016, REMOVED)
"""What a command may end with until its program knows: not transacted, and removed."""

PROGRAMS: dict[str, Callable[[pcsc.Card, threading.Event], object]] = {
    "transmits": lambda card, _stop: card.transmit(SELECT),
    "looks": lambda card, _stop: card.status(),
    "waits": lambda _card, stop: stop.wait(DEADLINE),
}


def swap(simulator: Simulator, name: str, gap: float | None) -> None:
    """Exchange the card, at one instant or with a pause in between."""
    if gap is None:
        simulator.swap("front", CardRequest(name=name))
    else:
        simulator.remove("front")
        take_time(gap)
        simulator.insert("front", CardRequest(name=name))


def commands_of_new_cards(simulator: Simulator) -> list[bytes]:
    """What has reached other cards than the first one."""
    entries = simulator.testbed.trace.entries()
    first = next(
        place for place, each in enumerate(entries) if isinstance(each, EventEntry) and each.change == Change.REMOVE
    )
    return [each.command for each in entries[first:] if isinstance(each, ApduEntry)]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("gap", "swaps"), [(None, 3), (0.0, 1), (0.2, 2)], ids=lambda value: str(value))
def test_no_swap_is_missed(
    shown: Simulator, context: pcsc.Context, program: str, gap: float | None, swaps: int
) -> None:
    """The old connection never reaches the new card, its program is told, and so is who waits for a removal."""
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    code, stop = pcsc.OK, threading.Event()

    def work() -> None:
        nonlocal code
        while code != REMOVED and not stop.is_set():
            try:
                PROGRAMS[program](card, stop)
            except pcsc.PcscError as error:
                code = error.code
                assert code in NEVER_POWERED

    watcher = pcsc.Context()
    with ThreadPoolExecutor(2) as others:
        empty = others.submit(watcher.wait, READER, pcsc.EMPTY, DEADLINE)
        working = others.submit(work)
        try:
            for number in range(swaps):
                swap(shown, f"Bob {number}", gap)
            empty.result(DEADLINE)
            if program != "waits":
                working.result(DEADLINE)
        finally:
            stop.set()
        working.result(DEADLINE)
    watcher.close()
    with pytest.raises(pcsc.PcscError, match=f"{REMOVED:08X}"):
        card.transmit(SELECT)
    assert commands_of_new_cards(shown) == []
    card.disconnect(pcsc.LEAVE)
    assert succeed_in_time(lambda: context.connect(READER).transmit(SELECT))[-2:] == b"\x90\x00"


@pytest.mark.parametrize("initialization", [pcsc.RESET, pcsc.UNPOWER])
def test_a_program_that_resets_the_card_which_has_gone(
    shown: Simulator, context: pcsc.Context, initialization: int
) -> None:
    """It is not given the new card for the old one, and pcscd shows the new one all the same."""
    card = context.connect(READER)
    watcher = pcsc.Context()
    with ThreadPoolExecutor(1) as others:
        empty = others.submit(watcher.wait, READER, pcsc.EMPTY, DEADLINE)
        shown.swap("front", CardRequest(name="Bob"))
        with pytest.raises(pcsc.PcscError):
            card.reconnect(initialization)
        empty.result(DEADLINE)
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    assert succeed_in_time(lambda: context.connect(READER).transmit(SELECT))[-2:] == b"\x90\x00"
    watcher.close()


@pytest.mark.parametrize("waits", [True, False], ids=["closed", "killed"])
def test_another_simulator_comes_at_once(pcscd: OwnPcscd, context: pcsc.Context, shown: Simulator, waits: bool) -> None:
    """Before pcscd has looked: its card is another one, too, though nobody here knows of the first."""
    card = context.connect(READER)
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    shown._close_pcsc(wait=waits)
    with pytest.raises(pcsc.PcscError):
        card.transmit(SELECT)
    with Simulator(pcsc=pcscd.place) as simulator:
        simulator.plug("front")
        simulator.insert("front", CardRequest(name="Bob"))

        def is_removed() -> bool:
            with pytest.raises(pcsc.PcscError) as failure:
                card.transmit(SELECT)
            assert failure.value.code in NEVER_POWERED
            return failure.value.code == REMOVED

        wait_until(is_removed)
        assert [each for each in simulator.testbed.trace.entries() if isinstance(each, ApduEntry)] == []
        assert succeed_in_time(lambda: context.connect(READER).transmit(SELECT))[-2:] == b"\x90\x00"


def test_changes_at_any_speed_end_well(
    shown: Simulator, context: pcsc.Context, caplog: pytest.LogCaptureFixture
) -> None:
    """At whatever step of pcscd's they come: the last card is shown, with no word about vpcd, which is there."""
    caplog.clear()
    for number, pause in enumerate((0.0, 0.03, 0.1, 0.25, 0.4, 0.15)):
        swap(shown, f"Bob {number % 2}", pause if number % 2 else None)
        take_time(pause)
        shown.remove("front")
        take_time(pause / 2)
        shown.insert("front", atr=bytes.fromhex("3B8001") + bytes([number]))
    wait_until(lambda: context.wait(READER, pcsc.PRESENT, DEADLINE) == bytes.fromhex("3B8001") + bytes([number]))
    succeed_in_time(lambda: context.connect(READER).transmit(SELECT))
    assert "waits for vpcd" not in caplog.text
