# SPDX-License-Identifier: MIT
"""The module in the process of the tests, for those that make very many calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.card.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.client import Module
from cardtear.lab.simulator import Simulator
from cardtear.p11.constants import CKA, CKM, CKR
from cardtear.p11.return_values import RETURN_VALUES

P256 = bytes.fromhex("06082a8648ce3d030107")
YES = b"\1"


class Watched(Module):
    """The module; every value of every function is held to its list."""

    def call(self, name: str, *arguments: Any) -> int:
        """As it is."""
        value = super().call(name, *arguments)
        assert value in RETURN_VALUES[name], f"{name} returned {CKR(value).name}"
        return value


@pytest.fixture(scope="module")
def module() -> Iterator[tuple[Simulator, Watched]]:
    """A standard card in a simulator, and the module in this process."""
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", CardRequest(legacy=True))
        watched = Watched(module_path())
        watched.initialize(simulator.module_socket)
        session = watched.open_session(0, read_write=True)
        watched.login(session)
        both = {CKA.TOKEN: YES, CKA.ID: b"\5"}
        private = {CKA.PRIVATE: YES, CKA.DERIVE: YES, **both}
        watched.generate_pair(session, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, **both}, private)
        yield simulator, watched
        watched.finalize()
