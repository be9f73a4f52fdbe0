# SPDX-License-Identifier: MIT
"""Connections that end between two calls, which the next call notices: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKR

from ..shared.waiting import wait_until


@pytest.mark.parametrize("threads", [1, 8])
def test_the_next_call_finds_another_connection(fake: Any, module: Module, threads: int) -> None:
    """However many connections there were, each call is carried out once, over a connection that lives."""
    together = threading.Barrier(threads, timeout=10)

    def meet(*_: Any) -> tuple[int, tuple[()]]:
        together.wait()  # each call needs a connection of its own
        return CKR.OK, ()

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            fake.answers["C_SeedRandom"] = meet
            calls = [pool.submit(module.call, "C_SeedRandom", 1, b"seed", 4) for _ in range(threads)]
            assert [call.result(10) for call in calls] == threads * [CKR.OK]
            assert len(fake.calls) == threads
            fake.drop()
            fake.answers.clear()
            fake.calls.clear()
            assert module.call("C_SeedRandom", 2, b"seed", 4) == CKR.OK
            assert fake.calls == [("C_SeedRandom", (2, b"seed"))]
            fake.calls.clear()


def test_a_large_call_on_a_connection_that_ended(fake: Any, module: Module) -> None:
    """The same for a call that does not fit into the socket's buffer."""
    assert module.call("C_SeedRandom", 1, b"seed", 4) == CKR.OK
    fake.drop()
    seed = bytes(4 << 20)
    assert module.call("C_SeedRandom", 2, seed, len(seed)) == CKR.OK
    assert fake.calls[1:] == [("C_SeedRandom", (2, seed))]


def test_no_simulator_any_more(fake: Any, module: Module) -> None:
    """Gone between two calls: nobody has had the call, and every handle is dead."""
    assert module.call("C_CloseSession", 1) == CKR.OK
    fake.close()
    assert module.call("C_CloseSession", 1) == CKR.SESSION_HANDLE_INVALID
    assert module.slots() == []
    assert len(fake.calls) == 1


def test_gone_with_the_call(fake: Any, module: Module) -> None:
    """Gone while it had the call: the call is not sent again, whatever became of it."""
    fake.answers["C_SeedRandom"] = lambda *_: None
    assert module.call("C_SeedRandom", 1, b"seed", 4) == CKR.DEVICE_REMOVED
    assert len(fake.calls) == 1
    fake.answers.clear()
    assert module.call("C_SeedRandom", 1, b"seed", 4) == CKR.OK


@pytest.mark.needs("cc")
def test_a_long_call_goes_on(fake: Any, impatient: Path) -> None:
    """A simulator that lives may keep a call for as long as it likes: the module asks, and waits on."""
    module = Module(impatient)
    module.initialize(fake.path)

    def take_long(*_: Any) -> tuple[int, tuple[()]]:
        known = len(fake.connections)
        wait_until(lambda: len(fake.connections) >= known + 2)  # each question is a connection of its own
        return CKR.OK, ()

    fake.answers["C_SeedRandom"] = take_long
    assert module.call("C_SeedRandom", 1, b"seed", 4) == CKR.OK
    assert [name for name, _ in fake.calls] == ["C_SeedRandom"]
    module.finalize()
