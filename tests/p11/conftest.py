# SPDX-License-Identifier: MIT
"""The module in the process of the tests, for those that make very many calls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKM, CKR
from cardtear.p11.return_values import RETURN_VALUES

P256 = bytes.fromhex("06082a8648ce3d030107")
YES = b"\1"


class Watched(Module):
    """The module; every value of every function, those of 3.2 included, is held to its list."""

    def call(self, name: str, *arguments: Any) -> int:
        """As it is."""
        functions = self.functions if hasattr(self.functions, name) else self._newest
        value = int(getattr(functions, name)(*arguments))
        assert value in RETURN_VALUES[name], f"{name} returned {CKR(value).name}"
        return value

    @cached_property
    def _newest(self) -> Any:
        interface, version = self.ffi.new("CK_INTERFACE **"), self.ffi.new("CK_VERSION *", (3, 2))
        assert self.library.C_GetInterface(self.ffi.NULL, version, interface, 0) == CKR.OK
        return self.ffi.cast("CK_FUNCTION_LIST_3_2 *", interface[0].pFunctionList)


@pytest.fixture(scope="module")
def module() -> Iterator[tuple[Simulator, Watched]]:
    """A standard card in a simulator, and the module in this process."""
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", CardRequest(legacy=True))
        simulator.plug("back")
        simulator.insert("back", CardRequest(profile="blank"))
        watched = Watched(module_path())
        watched.initialize(simulator.module_socket)
        session = watched.open_session(0, read_write=True)
        watched.login(session)
        both = {CKA.TOKEN: YES, CKA.ID: b"\5"}
        private = {CKA.PRIVATE: YES, CKA.DERIVE: YES, **both}
        watched.generate_pair(session, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, **both}, private)
        yield simulator, watched
        watched.finalize()


@pytest.fixture
def m(module: tuple[Simulator, Watched]) -> Watched:
    """That module."""
    return module[1]
