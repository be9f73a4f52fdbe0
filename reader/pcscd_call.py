# SPDX-License-Identifier: MIT
"""Calls at pcscd's own socket: to have it started where systemd does that, and to hear whether it lets this user in."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

_SOCKET = "/run/pcscd/pcscd.comm"

_CMD_VERSION, _MAJOR, _MINOR = 0x11, 4, 4
_GREETING = struct.pack("=IIiiI", 12, _CMD_VERSION, _MAJOR, _MINOR, 0)
"""What each client begins with (pcsc-lite, winscard_msg.h: rxHeader, version_struct). It answers whom it lets in."""

_PATIENCE = 2.0
"""Seconds for which pcscd's answer is waited for."""

REFUSAL = (
    "pcscd refuses the programs of user {uid}: it asks polkit, which lets in whoever sits at this machine. "
    "Allow it by a polkit rule, start pcscd with --disable-polkit, or take one of your own (as root: "
    "cardtear run --own-pcscd); docs/pcsc.md says how"
)


def call_pcscd() -> socket.socket | None:
    """Return a connection that says nothing; None without pcscd.

    While it is open, a pcscd that ends without programs stays.
    """
    with contextlib.ExitStack() as undo:
        try:
            connection = undo.enter_context(socket.socket(socket.AF_UNIX))
            connection.setblocking(False)
            connection.connect(_place())
        except OSError:
            return None
        undo.pop_all()
        return connection


def refusal() -> str | None:
    """Return what to do about a pcscd that hangs up on this user's programs; None if it answers, or is not there."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(_place())
            is_refused = _hangs_up(connection)
    except OSError:
        return None
    return REFUSAL.format(uid=os.getuid()) if is_refused else None


def _hangs_up(connection: socket.socket) -> bool:
    """Begin as clients do, and return whether that is not answered. Raises TimeoutError."""
    try:
        connection.sendall(_GREETING)
        return not connection.recv(1)
    except ConnectionError:
        return True


def _place() -> str:
    return os.environ.get("PCSCLITE_CSOCK_NAME", _SOCKET)
