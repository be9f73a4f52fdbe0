# SPDX-License-Identifier: MIT
"""docs/pcsc.md says what programs of PC/SC are told after a removal and its like; every cell of its tables is tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

from . import pcsc
from .pcsc import DEADLINE, READER, SELECT

pytestmark = pytest.mark.needs("smartcard")

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "pcsc.md").read_text().split("## What programs are told\n")[1]
NUMBERS = {name: int(number, 16) for name, number in re.findall(r"^\| (SCARD_\w+) \| (0x\w+) \|", PAGE, re.MULTILINE)}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE[PAGE.index("| what") :].split("\n\n")[0].splitlines()
    if not line.startswith("|--")
]
CALLS: dict[str, Callable[[pcsc.Context, pcsc.Card], object]] = {
    "SCardTransmit": lambda context, card: card.transmit(SELECT),
    "SCardStatus": lambda context, card: card.status(),
    "SCardBeginTransaction": lambda context, card: (card.begin(), card.end()),
    "SCardConnect, anew": lambda context, card: context.connect(READER).disconnect(pcsc.LEAVE),
    "SCardReconnect": lambda context, card: card.reconnect(pcsc.LEAVE),
}


def pull_in_the_next_command(simulator: Simulator, context: pcsc.Context) -> None:
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xA4))


def wait_until_seen(simulator: Simulator, context: pcsc.Context) -> None:
    context.wait(READER, pcsc.EMPTY, DEADLINE)


def put_back(simulator: Simulator, context: pcsc.Context) -> None:
    simulator.insert("front")
    context.wait(READER, pcsc.PRESENT, DEADLINE)


def unplug(simulator: Simulator, context: pcsc.Context) -> None:
    simulator.unplug("front")
    context.wait(READER, pcsc.EMPTY, DEADLINE)


def put_another_in(simulator: Simulator, context: pcsc.Context) -> None:
    simulator.plug("front")
    simulator.insert("front", CardRequest(name="Bob"))
    context.wait(READER, pcsc.PRESENT, DEADLINE)


def reset(simulator: Simulator, context: pcsc.Context) -> None:
    simulator.reset("front")


def kill(simulator: Simulator, context: pcsc.Context) -> None:
    simulator.kill("front")


STORY = [
    (pull_in_the_next_command, "the card goes in the middle of this command"),
    (wait_until_seen, "it has gone, and `pcscd` has looked"),
    (put_back, "a card is in again, the same or another"),
    (unplug, "it has gone, and `pcscd` has looked"),
    (put_another_in, "a card is in again, the same or another"),
    (reset, "`reset`"),
    (kill, "`mute`, `kill`"),
]
"""What happens one after another over one connection, and the row of the table that is then true."""


def told(call: Callable[[], object]) -> str:
    """Return the code of a function as the table has it, or in hexadecimal digits."""
    try:
        call()
    except pcsc.PcscError as error:
        return f"{error.code:08X}"
    return "SCARD_S_SUCCESS"


def test_the_numbers_are_those_of_pcsc_lite() -> None:
    from smartcard import scard

    assert {name: getattr(scard, name) & 0xFFFFFFFF for name in NUMBERS} == NUMBERS


def test_every_cell_of_the_table_is_true(shown: Simulator, context: pcsc.Context) -> None:
    (_, *calls), *rows = ROWS
    assert calls == list(CALLS)
    assert {row[0] for row in rows} == {name for _, name in STORY}
    cells = {row[0]: row[1:] for row in rows}
    card = context.connect(READER)
    for happen, name in STORY:
        happen(shown, context)
        wanted = {
            call: "SCARD_S_SUCCESS" if cell == "SCARD_S_SUCCESS" else f"{NUMBERS[cell]:08X}"
            for call, cell in zip(calls, cells[name], strict=True)
            if cell
        }
        assert {call: told(lambda call=call: CALLS[call](context, card)) for call in wanted} == wanted, name
