# SPDX-License-Identifier: MIT
"""Use of pcscd's socket: have systemd start it, find out whether it accepts this user, and whose it is."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import stat
import struct
from pathlib import Path
from time import sleep

from . import tcp_peer, vpcd_wire

_SOCKET = "/run/pcscd/pcscd.comm"
_SERVICE = "pcscd"
_LAST_SYSTEM_UID = 999
"""Accounts above it are people's (login.defs(5), SYS_UID_MAX)."""

_CMD_VERSION, _MAJOR, _MINOR = 0x11, 4, 4
_GREETING = struct.pack("=IIiiI", 12, _CMD_VERSION, _MAJOR, _MINOR, 0)
"""What each client begins with (pcsc-lite, winscard_msg.h: rxHeader, version_struct). It answers whom it lets in."""

_PAUSES = (0.0, 0.05, 0.2)
"""Seconds to wait before each attempt at a pcscd that hangs up."""

_PATIENCE = 2.0
"""Seconds for which pcscd's answer is waited for."""

REFUSAL = (
    "pcscd refuses the programs of user {uid}: it asks polkit, which lets in whoever sits at this machine. "
    "Allow it by a polkit rule, start pcscd with --disable-polkit, or take one of your own (as root: "
    "cardtear run --own-pcscd); docs/pcsc.md says how"
)


def call_pcscd() -> socket.socket | None:
    """Return a connection on which nothing was sent; None without pcscd.

    While it is open, a pcscd that ends without programs stays.
    """
    with contextlib.ExitStack() as undo:
        try:
            connection = undo.enter_context(socket.socket(socket.AF_UNIX))
            connection.setblocking(False)
            connection.connect(_socket_path())
        except OSError:
            return None
        undo.pop_all()
        return connection


def may_listen(uid: int) -> bool:
    """Return whether the listener at vpcd's port may have this user's card: this user, root, the service.

    The machine's pcscd runs as a system's account of its own from 2.4 on (pcscd.service, pcscd.socket). Whose the
    machine's socket is, only root and that account say: others may write neither to its folder nor to /run.
    """
    return tcp_peer.is_ours(uid) or (uid <= _LAST_SYSTEM_UID and _is_the_services(uid))


def _is_the_services(uid: int) -> bool:
    """Return whether this is the user of the pcscd service, who owns its socket and folder."""
    path = Path(_SOCKET)
    try:
        here, folder, service = path.lstat(), path.parent.lstat(), pwd.getpwnam(_SERVICE).pw_uid
    except (OSError, KeyError):
        return False
    return (
        uid == service == here.st_uid
        and stat.S_ISSOCK(here.st_mode)
        and folder.st_uid in (0, uid)
        and not folder.st_mode & stat.S_IWOTH
    )


def refusal() -> str | None:
    """Return what to do about a pcscd that hangs up on this user; None if it answers or does not run.

    One that ends hangs up, too: it is asked again a little later, and is not there any more.
    """
    try:
        for pause in _PAUSES:
            sleep(pause)
            if not _hangs_up():
                return None
    except OSError:
        return None
    return REFUSAL.format(uid=os.getuid())


def _hangs_up() -> bool:
    """Begin as clients do; return whether pcscd hangs up. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(_socket_path())
        try:
            connection.sendall(_GREETING)
            return not connection.recv(1)
        except ConnectionError:
            return True


def _socket_path() -> str:
    """Return the path of pcscd's socket."""
    return os.environ.get("PCSCLITE_CSOCK_NAME", _SOCKET)


def vpcd_listens() -> bool:
    """Return whether a pcscd with vpcd runs that may have our cards; sends nothing to it."""
    owner = tcp_peer.listener(vpcd_wire.PORT)
    return owner is not None and may_listen(owner)
