# SPDX-License-Identifier: MIT
"""A card that is pulled at any APDU of a write holds the state before or the state after, never half of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKA, CKO, CKR
from cardtear.reader.events import When
from cardtear.reader.reader import ApduMoment, Moment

from ...shared.host import probes
from ...shared.host.host import NewHost


def setup(m: Module, s: int) -> Any:
    return (probes.data(m, s, b"there"), probes.ec_pair(m, s, b"pair"), probes.ec_pair(m, s, b"lonely"))


def one(m: Module, session: int, **attributes: Any) -> int:
    """The only object with these attributes."""
    (found,) = m.find(session, {CKA[name]: value for name, value in attributes.items()})
    return found


PRIVATE_KEY = {"LABEL": b"pair", "CLASS": CKO.PRIVATE_KEY}
PUBLIC_KEY = {"LABEL": b"pair", "CLASS": CKO.PUBLIC_KEY}
OPERATIONS: dict[str, Callable[[Module, int], Any]] = {
    "create public data": lambda m, s: probes.data(m, s, b"new", b"v" * 700),
    "create private data": lambda m, s: probes.data(m, s, b"new", b"v" * 700, probes.PRIVATE),
    "generate": lambda m, s: probes.ec_pair(m, s, b"new"),
    "change data": lambda m, s: m.change(s, one(m, s, LABEL=b"there"), {CKA.LABEL: b"changed"}),
    "change a key": lambda m, s: m.change(s, one(m, s, **PRIVATE_KEY), {CKA.LABEL: b"changed"}),
    "destroy data": lambda m, s: m.destroy(s, one(m, s, LABEL=b"there")),
    "destroy a private key": lambda m, s: m.destroy(s, one(m, s, **PRIVATE_KEY)),
    "destroy a public key": lambda m, s: m.destroy(s, one(m, s, **PUBLIC_KEY)),
}
GONE = {CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID, CKR.OBJECT_HANDLE_INVALID, CKR.TOKEN_NOT_PRESENT}


@pytest.fixture
def image(tmp_path: Path, new_host: NewHost) -> Path:
    """A card with some objects on it."""
    path = tmp_path / "prepared.card"
    shutil.copy(ready_image(CardRequest(profile="blank"), paths.image_cache(), paths.test_ca()), path)
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", path)
        host = new_host(simulator)
        host.call(setup, s=host.call(probes.user_session, read_write=True))
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
def test_torn_anywhere(tmp_path: Path, image: Path, new_host: NewHost, operation: str) -> None:
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
            session = host.call(probes.user_session, read_write=True)
            before = host.call(probes.objects, session)
            pull = Pull(simulator, place, When.AFTER if after else When.BEFORE)
            simulator.testbed.watch(pull)
            value = host.rv(OPERATIONS[operation], session)
            simulator.testbed.unwatch(pull)
            if not pull.has_come:
                break
            assert value in GONE
            simulator.insert("front", copy)
            session = host.call(probes.user_session, read_write=True)
            states.append(host.call(probes.objects, session))
            for handle in host.call(Module.find, session, {CKA.CLASS: CKO.PRIVATE_KEY}):
                assert len(host.call(probes.ecdsa, session, handle)) == 64
            simulator.remove("front")
        assert value == CKR.OK
        done = host.call(probes.objects, session)
        assert done != before
        assert len(states) >= 2
        assert states[0] == before
        assert [state for state in states if state not in (before, done)] == []
