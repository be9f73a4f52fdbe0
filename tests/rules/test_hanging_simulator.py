# SPDX-License-Identifier: MIT
"""Rule 43 once more: a simulator that is there and does not answer, because it was stopped or hangs.

The module waits ten seconds before it asks whether a quiet simulator lives; the one built for tests waits for one.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKR

from ..shared.host import probes
from ..shared.host.host import Host, NewHost

pytestmark = pytest.mark.needs("cc")

DEADLINE = 20.0
PATIENCE = 1.0
"""Seconds of the module that is built for tests."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`cardtear serve` in a process of its own."""
    command = (sys.executable, "-m", "cardtear.lab.cli.main", "serve", "--folder", str(tmp_path / "run"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def host(impatient: Path, served: Any, tmp_path: Path, new_host: NewHost) -> Any:
    """A host process with the impatient module."""
    return new_host(None, library=impatient, CARDTEAR_SOCKET=str(tmp_path / "run" / "p11.sock"))


def test_R43_simulator_is_stopped(served: subprocess.Popen[str], host: Host) -> None:
    """As if it had died: calls end, sessions are dead, slots are empty; and when it goes on, it is another."""
    host.call(Module.slots)
    session = host.call(probes.user_session)
    other = host.call(Module.open_session, 0)
    host.call(probes.events)
    waiting = host.start(Module.wait_for_slot_event)
    try:
        served.send_signal(signal.SIGSTOP)
        assert host.rv(Module.session_state, session) in (CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID)
        assert waiting.result(DEADLINE) == 0
        assert host.rv(Module.session_state, other) == CKR.SESSION_HANDLE_INVALID
        assert host.call(lambda m: (m.slots(), m.slots(True), m.is_present(0))) == ([0], [], False)
        assert host.rv(Module.open_session, 0) == CKR.TOKEN_NOT_PRESENT
        assert host.start(lambda m: [m.is_present(0) for _ in range(4)]).result(DEADLINE) == [False] * 4
    finally:
        served.send_signal(signal.SIGCONT)
    assert host.call(lambda m: (m.slots(), m.is_present(0))) == ([0], True)
    for dead in (session, other):
        assert host.rv(Module.session_state, dead) == CKR.SESSION_HANDLE_INVALID
    assert host.call(probes.events) == [0]
    fresh = host.call(Module.open_session, 0)
    assert host.call(Module.session_state, fresh) == 0
    host.call(Module.login, fresh)
    assert len(host.call(probes.sign_with, fresh, b"\1")) == 256


@pytest.mark.timing
def test_R43_only_the_first_call_waits_for_long(served: subprocess.Popen[str], host: Host) -> None:
    """From the second call on less than the module's patience is spent on a stopped simulator."""
    host.call(Module.slots)
    try:
        served.send_signal(signal.SIGSTOP)
        assert not host.call(Module.is_present, 0)
        started = monotonic()
        assert host.start(lambda m: [m.is_present(0) for _ in range(4)]).result(DEADLINE) == [False] * 4
        assert monotonic() - started < 4 * PATIENCE
    finally:
        served.send_signal(signal.SIGCONT)


def test_R43_a_large_call_to_a_stopped_simulator(served: subprocess.Popen[str], host: Host) -> None:
    """More than the socket takes in: the call cannot even be sent, and ends."""
    session = host.call(Module.open_session, 0)
    try:
        served.send_signal(signal.SIGSTOP)

        def seed(m: Module, s: int) -> Any:
            return m.check("C_SeedRandom", s, bytes(8 << 20), 8 << 20)

        assert host.rv(seed, s=session) == CKR.SESSION_HANDLE_INVALID
    finally:
        served.send_signal(signal.SIGCONT)


def test_R43_finalize_with_a_stopped_simulator(served: subprocess.Popen[str], host: Host) -> None:
    """C_Finalize comes back, and so does a waiter."""
    waiting = host.start_rv(Module.wait_for_slot_event)
    host.call(lambda m: m.session_state(m.open_session(0)))
    try:
        served.send_signal(signal.SIGSTOP)
        host.start(Module.finalize).result(DEADLINE)
        assert waiting.result(DEADLINE) in (CKR.OK, CKR.CRYPTOKI_NOT_INITIALIZED)
        host.start(Module.initialize).result(DEADLINE)
        assert host.start(Module.slots).result(DEADLINE) == []
    finally:
        served.send_signal(signal.SIGCONT)
    assert host.start(Module.slots).result(DEADLINE) == [0]
