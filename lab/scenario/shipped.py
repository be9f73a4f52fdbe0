# SPDX-License-Identifier: MIT
"""The scenarios that come with cardtear."""

from __future__ import annotations

import os
from pathlib import Path

from ...scenarios import folder


def shipped() -> list[Path]:
    """Return the files of the shipped scenarios, in order."""
    return sorted(folder().glob("*.yaml"))


def findings() -> list[Path]:
    """Return the files of what the sweep has found in real programs (docs/findings.md)."""
    return sorted(folder().glob("findings/*.yaml"))


def find(name: str) -> Path:
    """Return the file at a path, or of the shipped scenario of that name. Raises FileNotFoundError."""
    if name == "-":
        raise FileNotFoundError(2, "a scenario comes out of a file, not out of standard input", name)
    path, own = Path(name), folder() / f"{name}.yaml"
    if os.path.exists(path):  # False where this user may not look, as su leaves it
        return path
    if own.exists():
        return own
    if "/" in name:
        return path
    raise FileNotFoundError(2, "no such file, and no scenario of that name comes with cardtear", name)
