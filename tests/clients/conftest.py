# SPDX-License-Identifier: MIT
"""Real programs against the module: run with a deadline, told apart by how they end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cardtear.csrc import module_path
from cardtear.lab.simulator import Simulator

DEADLINE = 30.0
"""Seconds that a client may take."""


class Ended(NamedTuple):
    """How a program ended: `code` is negative for a signal; `output` holds both streams."""

    code: int
    output: str


Run = Callable[..., Ended]


@pytest.fixture
def module() -> str:
    """The module's path."""
    return str(module_path())


@pytest.fixture
def run(simulator: Simulator, tmp_path: Path) -> Run:
    """Runs a program with the simulator in its environment, in a folder of its own. Fails when it hangs or crashes."""

    def run_client(*command: str, stdin: str = "", deadline: float = DEADLINE, **environment: str) -> Ended:
        done = subprocess.run(
            command,
            input=stdin,
            env={**os.environ, **simulator.environment, "LC_ALL": "C.UTF-8", **environment},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=deadline,
            check=False,
        )
        if done.returncode < 0:
            pytest.fail(f"{command[0]} died of {signal.Signals(-done.returncode).name}:\n{done.stdout}")
        return Ended(done.returncode, done.stdout)

    return run_client


@pytest.fixture
def succeed(run: Run) -> Callable[..., str]:
    """Runs a program that has to succeed; its output."""

    def run_well(*command: str, **options: Any) -> str:
        ended = run(*command, **options)
        assert ended.code == 0, ended.output
        return ended.output

    return run_well
