# SPDX-License-Identifier: MIT
"""What has to be on the machine before something can be tried on it: programs, Python modules, what it allows."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec

_DEADLINE = 10.0
"""Seconds for a command that is tried."""


def lacking(needs: Iterable[str]) -> str:
    """Say which of `needs` are not met here, or nothing.

    A need is the name or path of a program, the name of a Python module, or a command with arguments, which has to
    succeed: a program may be there, and the kernel forbid what it does.
    """
    missing: list[str] = []
    failing: list[str] = []
    for need in needs:
        if shutil.which(need) is not None or (need.isidentifier() and find_spec(need) is not None):
            continue
        if len(need.split()) <= 1:
            missing.append(need)
        elif not _succeeds(need.split()):
            failing.append(need)
    said = [f"needs {', '.join(missing)}, which is not installed"] if missing else []
    return "; ".join(said + [f"needs '{each}', which fails here" for each in failing])


def _succeeds(command: list[str]) -> bool:
    nowhere = subprocess.DEVNULL
    try:
        ended = subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
