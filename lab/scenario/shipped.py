# SPDX-License-Identifier: MIT
"""The scenarios that come with cardtear."""

from __future__ import annotations

from pathlib import Path

from ...scenarios import folder


def shipped() -> list[Path]:
    """Their files, in order."""
    return sorted(folder().glob("*.yaml"))


def find(name: str) -> Path:
    """The file of that path, or of the shipped scenario of that name. Raises FileNotFoundError."""
    path = Path(name)
    if path.exists() or "/" in name:
        return path
    own = folder() / f"{name}.yaml"
    if own.exists():
        return own
    raise FileNotFoundError(2, "no such file, and no scenario of that name comes with cardtear", name)
