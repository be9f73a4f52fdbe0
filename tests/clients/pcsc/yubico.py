# SPDX-License-Identifier: MIT
"""A YubiKey in pcscd, for the programs that want one: its reader has the name that they look for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.trace import ApduEntry

from . import pcsc
from .daemon import OwnPcscd, own_pcscd
from .pcsc import DEADLINE

NAME = "Yubico YubiKey CCID"
READER = f"{NAME} 00 00"

PIN, PUK = "123456", "12345678"
MANAGEMENT_KEY = "010203040506070801020304050607080102030405060708"


class YubiKey:
    """A card of profile `yubikey` in the simulator's reader `front`, and in the first slot of pcscd."""

    def __init__(self, simulator: Simulator, pcscd: OwnPcscd, **parameters: Any) -> None:
        self.simulator = simulator
        self._reader = simulator.plug("front")
        self._card = simulator.insert("front", CardRequest(profile="yubikey", **parameters))
        self._context = pcsc.Context()
        self._door = VpcdAdapter(simulator.testbed, pcscd.place.port, self._reader, inside=pcscd.place.inside)
        self._context.wait(READER, pcsc.PRESENT, DEADLINE)

    def close(self) -> None:
        self._door.close()
        self._context.wait(READER, pcsc.EMPTY, DEADLINE)
        self._context.close()

    def pull_at(self, ins: int, when: str = "before", nth: int = 1) -> None:
        """It goes at the n-th command of this kind from now."""
        self.simulator.arm(Trigger("remove", {"reader": "front"}, ins=ins, when=when, nth=nth))

    @property
    def is_there(self) -> bool:
        """Whether it has not been pulled."""
        return self._reader.insertion is not None

    def put_back(self) -> None:
        """After pcscd has seen that it was gone."""
        assert not self.is_there
        self._context.wait(READER, pcsc.EMPTY, DEADLINE)
        self.simulator.insert("front", self._card)
        self._context.wait(READER, pcsc.PRESENT, DEADLINE)

    def commands(self) -> set[tuple[int, int]]:
        """INS and P2 of all commands so far."""
        entries = [each for each in self.simulator.testbed.trace.entries() if isinstance(each, ApduEntry)]
        return {(entry.command[1], entry.command[3]) for entry in entries}


@pytest.fixture(scope="module")
def pcscd(pcscd_folder: Any) -> Iterator[OwnPcscd]:
    """In place of the one whose readers have vpcd's own name."""
    with own_pcscd(pcscd_folder, NAME) as daemon:
        daemon.start()
        yield daemon


@pytest.fixture
def key(bare_simulator: Simulator, pcscd: OwnPcscd) -> Iterator[YubiKey]:
    """A new one."""
    key = YubiKey(bare_simulator, pcscd)
    yield key
    key.close()


@pytest.fixture
def older_key(bare_simulator: Simulator, pcscd: OwnPcscd) -> Iterator[YubiKey]:
    """One with firmware before 5.7, whose management key older tools know."""
    key = YubiKey(bare_simulator, pcscd, firmware="5.4.3")
    yield key
    key.close()
