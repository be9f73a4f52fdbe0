# SPDX-License-Identifier: MIT
"""Quirks together, at random: a module may misbehave as they say, but it does not fall over by itself.

The choices are made by seeds; a failing one is played again by its seed.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKR
from cardtear.p11.quirks import BUGS, PROFILES
from cardtear.reader.errors import TestbedError

from ...shared.host import probes

_WAITS = ("crash", "hang", "latency", "recognition_delay", "wfse_mode=deaf", "wfse_mode=ticking")
SETTINGS = sorted(
    {setting for each in (*BUGS.values(), *PROFILES.values()) for setting in each.settings}  # type: ignore[attr-defined]
    | {"slotinfo_rv=CKR_DEVICE_ERROR", "presence_flaps", "slotlist_policy=late", "unnoticed_removal=always"}
)
HARMLESS = [setting for setting in SETTINGS if not any(word in setting for word in _WAITS)]
STANDARD = {int(each) for each in CKR} - {CKR.GENERAL_ERROR}


@pytest.mark.parametrize("seed", range(16))
def test_at_random(new_bed: Callable[..., Any], seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    chance = random.Random(seed)
    bed = new_bed(*chance.sample(HARMLESS, 5))
    simulator, bob = bed.simulator, CardRequest(name="Bob")
    unknown = CardRequest(profile="unrecognised")
    verbs: list[Callable[[], Any]] = [
        lambda: simulator.remove("front"),
        lambda: simulator.insert("front"),
        lambda: simulator.insert("front", unknown),
        lambda: simulator.swap("front", bob),
        lambda: simulator.reset("front"),
        lambda: simulator.logout("front"),
        lambda: simulator.unplug("front"),
        lambda: simulator.plug("front"),
        lambda: simulator.plug("back"),
        lambda: simulator.unplug("back"),
        bed.again,
    ]
    calls: list[Callable[[Module], list[int]]] = [
        probes.busy_session,
        probes.events_of,
        lambda m: [probes.rv(m.slots)],
        lambda m: [probes.rv(m.slot_info, 0)],
        lambda m: [probes.rv(m.open_session, 0)],
    ]
    for _ in range(25):
        with contextlib.suppress(TestbedError):  # nothing was there to be pulled, or something was already
            chance.choice(verbs)()
        values = bed.host.start(chance.choice(calls)).result(60)
        assert set(values) <= STANDARD, [hex(value) for value in values]
    assert not caplog.records, caplog.text
    bed.host.call(Module.finalize)
