# SPDX-License-Identifier: MIT
"""A card that is pulled at any APDU of a write holds the state before or the state after, never half of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKR
from cardtear.reader.events import When
from cardtear.reader.reader import ApduMoment, Moment

SETUP = "(data(m, s, b'there'), ec_pair(m, s, b'pair'), ec_pair(m, s, b'lonely'))"
PRIVATE_KEY = "m.find(s, {CKA.LABEL: b'pair', CKA.CLASS: CKO.PRIVATE_KEY})[0]"
OPERATIONS = {
    "create public data": "data(m, s, b'new', b'v' * 700)",
    "create private data": "data(m, s, b'new', b'v' * 700, PRIVATE)",
    "generate": "ec_pair(m, s, b'new')",
    "change data": "m.change(s, m.find(s, {CKA.LABEL: b'there'})[0], {CKA.LABEL: b'changed'})",
    "change a key": f"m.change(s, {PRIVATE_KEY}, {{CKA.LABEL: b'changed'}})",
    "destroy data": "m.destroy(s, m.find(s, {CKA.LABEL: b'there'})[0])",
    "destroy a private key": f"m.destroy(s, {PRIVATE_KEY})",
    "destroy a public key": "m.destroy(s, m.find(s, {CKA.LABEL: b'pair', CKA.CLASS: CKO.PUBLIC_KEY})[0])",
}
GONE = {CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID, CKR.OBJECT_HANDLE_INVALID, CKR.TOKEN_NOT_PRESENT}


@pytest.fixture
def image(tmp_path: Path, new_host: Callable[..., Any]) -> Path:
    """A card with some objects on it."""
    path = tmp_path / "prepared.card"
    shutil.copy(ready_image(CardRequest(profile="blank"), paths.image_cache(), paths.test_ca()), path)
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", path)
        host = new_host(simulator)
        host.eval(SETUP, s=host.eval("user_session(m, read_write=True)"))
        host.close()
    return path


class Pull:
    """Pulls the card at one APDU: the `place`-th from now on, before it reaches the card or after."""

    def __init__(self, simulator: Simulator, place: int, when: When) -> None:
        self.has_come = False
        self._simulator, self._left, self._when = simulator, place, when

    def __call__(self, moment: Moment) -> None:
        if not isinstance(moment, ApduMoment) or moment.when is not self._when or self.has_come:
            return
        if self._left == 0:
            self.has_come = True
            self._simulator.remove("front")
        self._left -= 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_torn_anywhere(tmp_path: Path, image: Path, new_host: Callable[..., Any], operation: str) -> None:
    """Every APDU of the operation, before and after it has reached the card."""
    with Simulator() as simulator:
        simulator.plug("front")
        host = new_host(simulator)
        states: list[Any] = []
        while True:
            place, after = divmod(len(states), 2)
            copy = tmp_path / f"{len(states)}.card"
            shutil.copy(image, copy)
            simulator.insert("front", copy)
            session = host.eval("user_session(m, read_write=True)")
            before = host.eval("objects(m, s)", s=session)
            pull = Pull(simulator, place, When.AFTER if after else When.BEFORE)
            simulator.testbed.watch(pull)
            value = host.eval(f"rv(lambda: {OPERATIONS[operation]})", s=session)
            simulator.testbed.unwatch(pull)
            if not pull.has_come:
                break
            assert value in GONE
            simulator.insert("front", copy)
            session = host.eval("user_session(m, read_write=True)")
            states.append(host.eval("objects(m, s)", s=session))
            for handle in host.eval("m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY})", s=session):
                assert len(host.eval("ecdsa(m, s, h)", s=session, h=handle)) == 64
            simulator.remove("front")
        assert value == CKR.OK
        done = host.eval("objects(m, s)", s=session)
        assert done != before
        assert len(states) >= 2
        assert states[0] == before
        assert [state for state in states if state not in (before, done)] == []
