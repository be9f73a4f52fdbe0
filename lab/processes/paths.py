# SPDX-License-Identifier: MIT
"""Paths of the user's sockets, ready-made images and test CA."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...card.issuing.ca import TestCA

MODULE_SOCKET = "p11.sock"
CONTROL_SOCKET = "control.sock"
SHORT_FOLDER = Path("/tmp")
"""Folder for sockets if the path of TMPDIR is too long for them."""

_LONGEST_SOCKET = 107
"""Most bytes in the path of a socket (unix(7))."""


def runtime_folder() -> Path:
    """Return the folder of the sockets: $XDG_RUNTIME_DIR/cardtear, else /tmp/cardtear-UID, as in csrc/greeting.c."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "cardtear" if runtime.startswith("/") else Path(f"/tmp/cardtear-{os.getuid()}")


def can_be_socket(path: Path) -> bool:
    """Return whether a path is short enough for a socket."""
    return len(os.fsencode(path)) <= _LONGEST_SOCKET


def image_cache() -> Path:
    """Return the folder of ready-made card images, which may be deleted at any time."""
    return _base("XDG_CACHE_HOME", ".cache") / "cardtear" / "cards"


def test_ca() -> TestCA:
    """Return the user's test CA, which is created at its first use. Raises OSError."""
    from ...card.issuing.ca import TestCA  # slow to load, and most callers need only a path

    folder = _ca_folder()
    try:
        return TestCA.load_or_create(folder)
    except OSError as error:
        reason = f"the test CA cannot be kept here: {error.strerror} (XDG_DATA_HOME says where else)"
        raise OSError(error.errno, reason, str(folder)) from None


def test_ca_files() -> list[Path]:
    """Return the paths of the user's test CA, key and certificate; they may not exist yet."""
    from ...card.issuing.ca import CERTIFICATE_FILE, KEY_FILE

    return [_ca_folder() / name for name in (KEY_FILE, CERTIFICATE_FILE)]


def _ca_folder() -> Path:
    """Return the folder of the test CA."""
    return _base("XDG_DATA_HOME", ".local/share") / "cardtear" / "ca"


def _base(variable: str, fallback: str) -> Path:
    """Return the folder that a variable names (XDG Base Directory Specification), else `fallback` in the home."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / fallback
