# SPDX-License-Identifier: MIT
"""The owner of the other end of a TCP connection on this machine, by the kernel's tables (proc(5), /proc/PID/net/tcp).

A loopback port is open to every user of the machine. The tables show for each end of a connection the user who made
its socket, which that user cannot change. They are those of one network namespace: an end that lies in another one is
not in them.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum, unique
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from .network_namespace import Inside

_TABLES = Path("/proc/thread-self/net")
_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address begins with as an IPv6 one (RFC 4291, 2.5.5.2)."""

_PAUSES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between two looks at an end that nobody has accepted yet; the last one again and again."""

_UNKNOWN = 0.2
"""Seconds after which an end that is in no table is a stranger's: a table may miss one while it changes."""


class Stranger(Exception):
    """The other end is another user's, or unknown; the message says whose."""


@unique
class _State(IntEnum):
    """The state of a TCP socket, as the kernel numbers them (net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_RECV = 3
    LISTEN = 10


class _Entry(NamedTuple):
    """A socket in the tables; `inode` is 0 if no process has it."""

    state: int
    uid: int
    inode: int


def is_ours(uid: int) -> bool:
    """Return whether a user may have this user's card for any purpose: that user, and root."""
    return uid in (os.getuid(), 0)


def admit(
    connection: socket.socket,
    sleep: Callable[..., None],
    inside: Inside = contextlib.nullcontext,
    is_allowed: Callable[[int], bool] = is_ours,
) -> None:
    """Return when an allowed user holds the other end; waits until a process has accepted it.

    `sleep(seconds, *sockets)` waits for so long, or until one of them can be read. `inside`
    makes a block in which this thread is in the connection's network. Raises Stranger when another
    user holds the other end, and OSError when the connection has ended.
    """
    here, there = connection.getsockname(), connection.getpeername()
    if here == there:  # a connection to a free port that got this very port as its own
        raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    start = monotonic()
    for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
        with inside():
            entry = _find(there, here)
        # While this end is established the other one is the one that was found: only then its address is free again.
        if _state(connection) != _State.ESTABLISHED:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if entry is None:
            if monotonic() - start > _UNKNOWN:
                raise Stranger("a user who cannot be known (is it in another network namespace?)")
            sleep(pause)
        elif entry.inode:
            if not is_allowed(entry.uid):
                raise Stranger(_user(entry.uid))
            return
        elif entry.state in (_State.ESTABLISHED, _State.SYN_RECV):
            sleep(pause, connection)
        else:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def _user(uid: int) -> str:
    """Return the name of a user, or the number of one without an account."""
    try:
        return f"user {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"user {uid}"


def listener(port: int) -> int | None:
    """Return the user who listens on the port, at any address; None if nobody does."""
    for local, _, entry in _entries():
        if entry.state == _State.LISTEN and local.endswith(f":{port:04X}"):
            return entry.uid
    return None


def _find(local: tuple[str, int], remote: tuple[str, int]) -> _Entry | None:
    """Return the socket at `local` that is connected to `remote`, IPv4 or IPv6."""
    wanted = [(_written(prefix, local), _written(prefix, remote)) for prefix in (b"", _MAPPED)]
    return next((entry for near, far, entry in _entries() if (near, far) in wanted), None)


def _written(prefix: bytes, address: tuple[str, int]) -> str:
    """Return an address as in the tables: words of 32 bits in this machine's order, and the port."""
    host, port = address
    whole = prefix + socket.inet_aton(host)
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(whole) // 4}I", whole)) + f":{port:04X}"


def _entries() -> Iterator[tuple[str, str, _Entry]]:
    """Yield local address, remote address and the rest of each TCP socket of this network namespace."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):  # no IPv6 here
            for line in (_TABLES / name).read_text().splitlines()[1:]:
                fields = line.split()
                yield fields[1], fields[2], _Entry(int(fields[3], 16), int(fields[7]), int(fields[9]))


def _state(connection: socket.socket) -> int:
    """Return the state of this end (tcp_info, tcp(7)). Raises OSError for one that is no TCP socket any more."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
