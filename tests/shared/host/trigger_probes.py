# SPDX-License-Identifier: MIT
"""What a host process does while a trigger is armed."""

from __future__ import annotations

import threading
from pathlib import Path

from cardtear.lab.clients.pkcs11 import Module

_STOPPED = threading.Event()


def outrun(m: Module, /, control: str, turns: int) -> int:
    """How often a call outran its trigger (scripts/benchmarking/in_tests.py)."""
    # A simulator and browsers come with them, which no other host needs.
    from benchmarking import in_tests
    from cardtear.lab.control.client import Control

    with Control(Path(control)) as connection:
        return in_tests.outrun(m, connection, turns)


def call_until_stopped(m: Module) -> int:
    """Calls what no trigger names, all the time; how often."""
    count = 0
    while not _STOPPED.is_set():
        m.slots()
        m.is_present(0)
        count += 1
    return count


def stop_calling(_m: Module) -> None:
    """The end of `call_until_stopped`."""
    _STOPPED.set()
