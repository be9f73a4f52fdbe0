# SPDX-License-Identifier: MIT
"""Other users of the machine reach nothing of a browser that is driven here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cardtear.card.issuing.ca import TestCA
from cardtear.csrc import module_path
from cardtear.lab.clients.firefox import Firefox
from cardtear.lab.control.simulator import Simulator

pytestmark = [
    pytest.mark.needs("firefox-esr", "marionette_driver"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user"),
]

STRANGER = 64321
DEADLINE = 30
KNOCK = """
import encodings.idna, os, socket, sys
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
with socket.create_connection(("127.0.0.1", int(sys.argv[2])), 10) as connection:
    try: print(connection.recv(100).decode())
    except ConnectionError: print()
"""
"""What a user hears at Marionette's port: it greets whom it lets in, and then does what it is told."""


def heard_by(user: int, port: int) -> str:
    command = (sys.executable, "-c", KNOCK, str(user), str(port))
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout.strip()


def test_marionette(simulator: Simulator, ca: TestCA, tmp_path: Path) -> None:
    """It lets in one after the other; another user is none of them, and does no harm."""
    with Firefox(module_path(), simulator.environment, ca.certificate, folder=tmp_path) as firefox:
        marionette = firefox._marionette
        port = marionette.port
        marionette.delete_session()
        for _ in range(3):
            assert heard_by(STRANGER, port) == ""
            assert "applicationType" in heard_by(0, port)
        marionette.start_session({"unhandledPromptBehavior": "ignore"})
        marionette.set_context("chrome")
        assert firefox.read("return Services.appinfo.name;") == "Firefox"
