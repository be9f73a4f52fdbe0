# SPDX-License-Identifier: MIT
"""Where things lie: sockets, ready-made images, the test CA. All of it is the user's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...card.issuing.ca import TestCA

MODULE_SOCKET = "p11.sock"
CONTROL_SOCKET = "control.sock"
SHORT_FOLDER = Path("/tmp")
"""For sockets, where TMPDIR is too deep for them."""

_LONGEST_SOCKET = 107
"""Bytes in the path of a socket (unix(7))."""


def runtime_folder() -> Path:
    """The folder of the sockets: $XDG_RUNTIME_DIR/cardtear, else /tmp/cardtear-UID, as in csrc/greeting.c."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "cardtear" if runtime.startswith("/") else Path(f"/tmp/cardtear-{os.getuid()}")


def can_be_socket(path: Path) -> bool:
    """Whether the path of a socket is short enough."""
    return len(os.fsencode(path)) <= _LONGEST_SOCKET


def image_cache() -> Path:
    """Ready-made card images; may be deleted at any time."""
    return _base("XDG_CACHE_HOME", ".cache") / "cardtear" / "cards"


def test_ca() -> TestCA:
    """The user's test CA, made at the first use. Raises OSError."""
    from ...card.issuing.ca import TestCA  # certificates are a lot to load for somebody who only wants a path

    folder = _ca_folder()
    try:
        return TestCA.load_or_create(folder)
    except OSError as error:
        reason = f"the test CA cannot be kept here: {error.strerror} (XDG_DATA_HOME says where else)"
        raise OSError(error.errno, reason, str(folder)) from None


def test_ca_files() -> list[Path]:
    """Where the user's test CA is kept; it may not be there yet."""
    from ...card.issuing.ca import CERTIFICATE_FILE, KEY_FILE

    return [_ca_folder() / name for name in (KEY_FILE, CERTIFICATE_FILE)]


def _ca_folder() -> Path:
    return _base("XDG_DATA_HOME", ".local/share") / "cardtear" / "ca"


def _base(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / fallback
