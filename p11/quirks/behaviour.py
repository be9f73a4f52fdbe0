# SPDX-License-Identifier: MIT
"""The server of a module with quirks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...reader.testbed import Testbed
from ..dispatch import Handler
from ..server import ModuleServer
from .calls import layered
from .module import application_maker
from .table import Quirks


def new_server(testbed: Testbed, path: Path, handlers: Mapping[str, Handler], quirks: Quirks) -> ModuleServer:
    """Start the server of a module with quirks. Raises SocketError."""
    ends_waiters_itself = quirks.finalize_mode in ("no_event", "flag_only")
    return ModuleServer(testbed, path, layered(handlers, quirks), application_maker(quirks), ends_waiters_itself)
