# SPDX-License-Identifier: MIT
"""More connections than the simulator may have files: who is there already goes on, and it recovers."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.control.client import Control, ControlFailure

from ...shared.host import probes
from ...shared.host.host import NewHost
from ...shared.waiting import wait_until

DEADLINE = 20.0


def remove_when_there_is_room(path: Path) -> Any:
    """Pull the card out. The simulator needs a moment to notice that the crowd has gone, and refuses until then."""

    def answer() -> Any:
        try:
            with Control(path) as control:
                return control.do("remove", reader="front")
        except ControlFailure as failure:
            if "too many connections" not in str(failure):
                raise
            return None

    return wait_until(answer)


@pytest.mark.parametrize("crowded", ["p11.sock", "control.sock"])
def test_too_many_connections(tmp_path: Path, new_host: NewHost, crowded: str) -> None:
    """They are refused or wait; when they have gone, there is room again on both sockets."""
    folder = tmp_path / "run"
    command = (sys.executable, "-m", "cardtear.lab.cli.main", "serve", "--folder", str(folder))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            assert served.stderr is not None
            assert "ready" in served.stdout.readline()
            host = new_host(None, CARDTEAR_SOCKET=str(folder / "p11.sock"))
            session = host.call(probes.user_session)
            resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (40, 40))
            with contextlib.ExitStack() as crowd:
                for _ in range(100):  # fewer than wait for a socket at most
                    connection = crowd.enter_context(socket.socket(socket.AF_UNIX))
                    connection.settimeout(DEADLINE)
                    connection.connect(str(folder / crowded))
                assert "Too many open files" in served.stderr.readline()
                assert len(host.call(probes.sign_with, session, b"\1")) == 256
            assert remove_when_there_is_room(folder / "control.sock") == {"card": "Alice"}
            other = new_host(None, CARDTEAR_SOCKET=str(folder / "p11.sock"))
            assert other.call(lambda m: (m.slots(), m.is_present(0))) == ([0], False)
        finally:
            served.kill()
