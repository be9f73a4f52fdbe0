# SPDX-License-Identifier: MIT
"""A call at pcscd's own door: where systemd starts pcscd for its first program, there is no vpcd before that."""

from __future__ import annotations

import os
import socket

_SOCKET = "/run/pcscd/pcscd.comm"


def call_pcscd() -> socket.socket | None:
    """A connection that says nothing; None without pcscd. While it is open, one that ends without programs stays."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        connection.connect(os.environ.get("PCSCLITE_CSOCK_NAME", _SOCKET))
    except OSError:
        connection.close()
        return None
    return connection
