# SPDX-License-Identifier: MIT
"""Real programs, run in a folder of their own and with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

DEADLINE = 30.0
"""Seconds that a program may take."""

ENGLISH = {"LC_ALL": "C.UTF-8"}


class Ended(NamedTuple):
    """How a program ended; `output` holds both streams."""

    code: int
    output: str


Run = Callable[..., Ended]
Succeed = Callable[..., str]


def runner(folder: Path, variables: Mapping[str, str]) -> Run:
    """Runs programs in `folder` with these variables and what a call names. Fails the test of one that hangs or
    crashes."""

    def run(*command: str, stdin: str = "", deadline: float = DEADLINE, **environment: str) -> Ended:
        done = subprocess.run(
            command,
            input=stdin,
            env={**os.environ, **variables, **ENGLISH, **environment},
            cwd=folder,
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

    return run


def well(run: Run) -> Succeed:
    """Runs programs that have to succeed; their output."""

    def succeed(*command: str, **options: Any) -> str:
        ended = run(*command, **options)
        assert ended.code == 0, ended.output
        return ended.output

    return succeed
