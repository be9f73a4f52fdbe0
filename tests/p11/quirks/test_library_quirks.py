# SPDX-License-Identifier: MIT
"""Quirks of time, C_Finalize, fork and the card: each misbehaves as it says, and the module without quirks does not."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKR
from cardtear.reader.trace import ApduEntry

from ...shared.host import probes
from ...shared.waiting import wait_until

NewBed = Callable[..., Any]


def test_latency(new_bed: NewBed) -> None:
    bed = new_bed("latency=C_GetSlotInfo:0.3,C_Get*:0.1")
    calls: tuple[tuple[Callable[[Module, int], Any], float], ...] = ((Module.slot_info, 0.3), (Module.token_info, 0.1))
    for call, seconds in calls:
        start = time.monotonic()
        bed.host.call(call, 0)
        assert time.monotonic() - start >= seconds


def test_an_application_that_dies_in_a_slow_call_is_gone_at_once(new_bed: NewBed) -> None:
    bed = new_bed("latency=C_GetSlotInfo:3000")
    bed.host.start(Module.slot_info, 0)
    bed.wait_for_call("C_GetSlotInfo")
    bed.host.kill()
    wait_until(lambda: not bed.simulator.status()["applications"])


def test_a_call_that_hangs(new_bed: NewBed) -> None:
    """Nothing else does, and C_Finalize ends it."""
    bed = new_bed("hang=C_Login")
    session = bed.host.call(Module.open_session, 0)
    hanging = bed.host.start_rv(Module.login, session)
    bed.wait_for_call("C_Login")
    bed.again()
    assert bed.host.call(Module.open_session, 0)
    assert not hanging.done()
    bed.host.call(Module.finalize)
    assert hanging.result(10) == CKR.CRYPTOKI_NOT_INITIALIZED


@pytest.mark.parametrize(("mode", "value"), [("clean", CKR.CRYPTOKI_NOT_INITIALIZED), ("no_event", CKR.NO_EVENT)])
def test_finalize_says(new_bed: NewBed, mode: str, value: int) -> None:
    """Also when C_Initialize follows at once."""
    bed = new_bed(f"finalize_mode={mode}")
    for _ in range(5):
        waiting = bed.host.start_rv(Module.wait_for_slot_event)
        bed.wait_for_waiter()
        bed.host.call(lambda m: [m.finalize(), m.initialize()])
        assert waiting.result(10) == value
    assert bed.host.call(probes.user_session)


def test_finalize_waits_for_the_waiter(new_bed: NewBed) -> None:
    bed = new_bed("finalize_mode=hang")
    waiting = bed.host.start_rv(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    finalizing = bed.host.start(Module.finalize)
    bed.wait_for_call("C_Finalize")
    assert bed.host.call(Module.slots) == [0]
    assert not finalizing.done()
    assert not waiting.done()
    bed.simulator.remove("front")
    # Both are let go by the same event; where C_Finalize is answered first, there is no module left for the waiter.
    assert waiting.result(10) in (CKR.OK, CKR.CRYPTOKI_NOT_INITIALIZED)
    finalizing.result(10)


def test_finalize_kills(new_bed: NewBed) -> None:
    bed = new_bed("finalize_mode=crash")
    bed.host.call(lambda m: [m.finalize(), m.initialize()])
    bed.host.start_rv(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    with pytest.raises(EOFError):
        bed.host.call(Module.finalize)
    assert bed.host.process.wait(10) == -signal.SIGSEGV


def test_a_waiter_that_looks_at_a_flag(new_bed: NewBed) -> None:
    """It ends some time after C_Finalize, unless C_Initialize has put the flag up again."""
    bed = new_bed("finalize_mode=flag_only")
    waiting = bed.host.start_rv(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    bed.host.call(Module.finalize)
    assert waiting.result(10) == CKR.CRYPTOKI_NOT_INITIALIZED
    bed.host.call(Module.initialize)
    waiting = bed.host.start_rv(Module.wait_for_slot_event)
    bed.wait_for_waiter()
    bed.host.call(lambda m: [m.finalize(), m.initialize()])
    bed.simulator.remove("front")
    assert bed.host.call(Module.wait_for_slot_event) == 0
    with pytest.raises(TimeoutError):
        waiting.result(1)
    bed.host.kill()


def test_forked_children_hang(new_bed: NewBed) -> None:
    assert new_bed().host.call(probes.child_lists_slots, 15) == "done"
    bed = new_bed("forked_child=hang")
    assert bed.host.call(probes.child_lists_slots, 1) == "hangs"
    assert bed.host.call(Module.slots) == [0]


@pytest.mark.parametrize("count", [0, 2])
def test_polling_asks_the_card(new_bed: NewBed, count: int) -> None:
    bed = new_bed(f"session_info_apdus={count}")
    session = bed.host.call(Module.open_session, 0)
    before = _apdus(bed)
    for _ in range(3):
        bed.host.call(Module.session_state, session)
    assert _apdus(bed) - before == 3 * count


def _apdus(bed: Any) -> int:
    return sum(isinstance(each, ApduEntry) for each in bed.simulator.testbed.trace.entries())
