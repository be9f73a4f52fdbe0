# SPDX-License-Identifier: MIT
"""A card in PC/SC that answers anything: its thread goes on, and applications get an error, never one of ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKR
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ...shared.host.host import NewHost

pytestmark = pytest.mark.needs("smartcard")

DEADLINE = 20.0

ANSWERS = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([b"\x90\0", b"\x61\x10", b"\x6c\x10", b"\x61\0", b"", b"\x90", b"\x63\xc0", b"\x6a\x82"]),
        st.binary(max_size=30).map(lambda data: b"\x53" + bytes([len(data)]) + data + b"\x90\0"),
    ),
    min_size=1,
    max_size=12,
)
CALLS: tuple[Callable[[Module], object], ...] = (
    lambda m: m.token_info(0),
    lambda m: m.open_session(0),
    lambda m: m.login(m.open_session(0)),
    lambda m: m.find(m.open_session(0), {}),
    lambda m: m.random(m.open_session(0)),
    lambda m: m.set_pin(m.open_session(0, True), "123456", "654321"),
)


class Noise:
    """What a Channel is to a PcscCard; it answers with these in turn, and always with the same."""

    atr = b"\x3b\x00"

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = itertools.cycle(answers)

    def transmit(self, _command: bytes) -> bytes:
        return next(self._answers)

    def begin(self) -> bool:
        return True

    def end(self) -> None:
        """Nobody else is there."""

    def reset(self) -> None:
        """It is as it was."""

    def close(self, power_off: bool = False) -> None:
        """Nothing is open."""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANSWERS)
def test_a_card_that_answers_anything(
    bare_simulator: Simulator, started: Callable[[], Any], answers: list[bytes]
) -> None:
    """Each call comes back; the card can be pulled out afterwards, and the slot is empty."""
    from cardtear.reader.pcsc.pcsc_card import PcscCard

    host = started()
    bare_simulator.testbed.reader("front").insert(PcscCard("noise", Noise(answers)))  # type: ignore[arg-type]
    try:
        for call in CALLS:
            assert host.start_rv(call).result(DEADLINE) != CKR.GENERAL_ERROR, call
    finally:
        bare_simulator.remove("front")
    assert host.call(Module.is_present, 0) is False


@pytest.fixture
def started(bare_simulator: Simulator, new_host: NewHost) -> Callable[[], Any]:
    """The host, with the module initialised and an empty reader."""
    bare_simulator.plug("front")
    host = new_host(bare_simulator)
    return lambda: host
