# SPDX-License-Identifier: MIT
"""A wire that garbles or cuts what the card says, at any command of a session, never confuses the module for good.

The commands and the bytes are chosen by seeds; a failing one is played again by its seed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR
from cardtear.reader.trace import ApduEntry

from ...shared.host import probes

NewBed = Callable[..., Any]
SEEDS = range(24)
STANDARD = {int(each) for each in CKR} - {CKR.GENERAL_ERROR, CKR.FUNCTION_FAILED}


@pytest.mark.parametrize("seed", SEEDS)
def test_garbled_or_cut_at_random(new_bed: NewBed, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Only return values of the standard, no traceback, and all is well after re-insertion."""
    caplog.set_level(logging.WARNING)
    chance = random.Random(seed)
    bed = new_bed()
    verb = chance.choice(["garble", "cut"])
    arguments = {"count": chance.randint(1, 4), "seed": seed} if verb == "garble" else {"length": chance.randint(0, 3)}
    trigger = Trigger(verb, arguments, ins=None, when="after", times=None, probability=chance.choice([0.05, 0.5, 1.0]))
    number = bed.simulator.arm(trigger)
    for _ in range(2):
        values = bed.host.start(probes.busy_session).result(60)
        assert values
        assert all(value in STANDARD for value in values), [hex(value) for value in values]
    assert trigger.fired
    bed.simulator.disarm(number)
    bed.again()
    _assert_well(bed)
    assert not caplog.records, caplog.text


@pytest.mark.parametrize("verb", ["garble", "cut"])
def test_at_each_command_of_a_session(new_bed: NewBed, verb: str, caplog: pytest.LogCaptureFixture) -> None:
    """One after the other: the n-th response is broken, all others arrive."""
    caplog.set_level(logging.WARNING)
    bed = new_bed()
    before = _apdus(bed)
    bed.host.call(probes.busy_session)
    count = _apdus(bed) - before
    assert count > 10
    for nth in range(1, count + 1):
        bed.again()
        arguments = {"seed": nth, "count": 2} if verb == "garble" else {"length": nth % 3}
        bed.simulator.arm(Trigger(verb, arguments, ins=None, when="after", nth=nth))
        values = bed.host.start(probes.busy_session).result(60)
        assert all(value in STANDARD for value in values), (nth, values)
        for trigger in bed.simulator.triggers:
            bed.simulator.disarm(trigger)
        _unblock(bed)
    bed.again()
    _assert_well(bed)
    assert not caplog.records, caplog.text


def _assert_well(bed: Any) -> None:
    _unblock(bed)
    session = bed.host.call(probes.user_session)
    assert len(bed.host.call(probes.sign_with, session, b"\1")) == 256


def _unblock(bed: Any) -> None:
    """A PIN whose answer was broken may have been counted as a wrong one."""
    bed.simulator.block_pin("front", left=3)
    bed.simulator.block_pin("front", left=3, puk=True)


def _apdus(bed: Any) -> int:
    return sum(isinstance(each, ApduEntry) for each in bed.simulator.testbed.trace.entries())
