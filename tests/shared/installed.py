# SPDX-License-Identifier: MIT
"""Which versions of real programs this system has: newer ones have other faults."""

from __future__ import annotations

import re
import subprocess


def version(package: str) -> tuple[int, ...]:
    """The upstream version of a Debian package, as numbers; () where it, or dpkg, is not there."""
    try:
        command = ("dpkg-query", "--showformat", "${Version}", "--show", package)
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    upstream = told.rpartition(":")[2].partition("-")[0]
    return tuple(map(int, re.findall(r"\d+", upstream)))
