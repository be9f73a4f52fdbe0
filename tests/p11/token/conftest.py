# SPDX-License-Identifier: MIT
"""What the tests of a token that can be written share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator

from ...shared.host import probes
from ...shared.host.host import NewHost

P256 = bytes.fromhex("06082a8648ce3d030107")


@pytest.fixture
def token(bare_simulator: Simulator, new_host: NewHost) -> Callable[..., Any]:
    """A host with a token made of the given parameters in `front`; the simulator is `bare_simulator`."""

    def make(**parameters: Any) -> Any:
        bare_simulator.plug("front")
        bare_simulator.insert("front", CardRequest(**{"profile": "blank", **parameters}))
        return new_host(bare_simulator)

    return make


@pytest.fixture
def writer(token: Callable[..., Any]) -> tuple[Any, int]:
    """A host with a blank card, and a read/write session in it with the user logged in."""
    host = token()
    return host, host.call(probes.user_session, read_write=True)
