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
from cardtear.p11.constants import CKR

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
def host(impatient: Path, served: Any, tmp_path: Path, new_host: Any) -> Any:
    """A host process with the impatient module."""
    return new_host(None, library=impatient, CARDTEAR_SOCKET=str(tmp_path / "run" / "p11.sock"))


def value_of(host: Any, expression: str, **names: Any) -> int:
    return int(host.eval(f"rv(lambda: {expression})", DEADLINE, **names))


def test_R43_simulator_is_stopped(served: subprocess.Popen[str], host: Any) -> None:
    """As if it had died: calls end, sessions are dead, slots are empty; and when it goes on, it is another."""
    host.eval("m.slots()")
    session = host.eval("user_session(m)")
    other = host.eval("m.open_session(0)")
    host.eval("events(m)")
    waiting = host.start("m.wait_for_slot_event()")
    try:
        served.send_signal(signal.SIGSTOP)
        assert value_of(host, "m.session_state(s)", s=session) in (CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID)
        assert waiting.result(DEADLINE) == 0
        assert value_of(host, "m.session_state(s)", s=other) == CKR.SESSION_HANDLE_INVALID
        assert host.eval("(m.slots(), m.slots(True), m.is_present(0))") == ([0], [], False)
        assert value_of(host, "m.open_session(0)") == CKR.TOKEN_NOT_PRESENT
        started = monotonic()
        assert host.eval("[m.is_present(0) for _ in range(4)]", DEADLINE) == [False] * 4
        assert monotonic() - started < 4 * PATIENCE  # from the second call on less than that is spent on it
    finally:
        served.send_signal(signal.SIGCONT)
    assert host.eval("(m.slots(), m.is_present(0))") == ([0], True)
    for dead in (session, other):
        assert value_of(host, "m.session_state(s)", s=dead) == CKR.SESSION_HANDLE_INVALID
    assert host.eval("events(m)") == [0]
    fresh = host.eval("m.open_session(0)")
    assert host.eval("m.session_state(s)", s=fresh) == 0
    host.eval("m.login(s)", s=fresh)
    assert len(host.eval("sign(m, s, key(m, s, b'\\1'))", s=fresh)) == 256


def test_R43_a_large_call_to_a_stopped_simulator(served: subprocess.Popen[str], host: Any) -> None:
    """More than the socket takes in: the call cannot even be sent, and ends."""
    session = host.eval("m.open_session(0)")
    try:
        served.send_signal(signal.SIGSTOP)
        seed = "m.check('C_SeedRandom', s, bytes(8 << 20), 8 << 20)"
        assert value_of(host, seed, s=session) == CKR.SESSION_HANDLE_INVALID
    finally:
        served.send_signal(signal.SIGCONT)


def test_R43_finalize_with_a_stopped_simulator(served: subprocess.Popen[str], host: Any) -> None:
    """C_Finalize comes back, and so does a waiter."""
    waiting = host.start("rv(m.wait_for_slot_event)")
    host.eval("m.session_state(m.open_session(0))")
    try:
        served.send_signal(signal.SIGSTOP)
        host.eval("m.finalize()", DEADLINE)
        assert waiting.result(DEADLINE) in (CKR.OK, CKR.CRYPTOKI_NOT_INITIALIZED)
        host.eval("m.initialize()", DEADLINE)
        assert host.eval("m.slots()", DEADLINE) == []
    finally:
        served.send_signal(signal.SIGCONT)
    assert host.eval("m.slots()", DEADLINE) == [0]
