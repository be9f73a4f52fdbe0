# SPDX-License-Identifier: MIT
"""A network namespace of one's own, which no other process reaches: network_namespaces(7), setns(2).

A namespace belongs to a thread. Ours enters it only to make a socket or to start a daemon there, and leaves it at once:
the programs that cardtear runs keep their network.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator

Inside = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes a block in which this thread is in a certain network."""

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_THIS = "/proc/thread-self/ns/net"


class NetworkNamespace:
    """A network with only a loopback interface, until `close` and the end of its sockets and processes.

    Raises OSError where none can be made: it needs CAP_SYS_ADMIN.
    """

    def __init__(self) -> None:
        home = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", _CLONE_NEWNET)
            try:
                _loopback_up()
                self._there = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put sockets and programs that this thread creates in the block into this network."""
        home = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._there, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    def close(self) -> None:
        """Release the network; it ends with its last socket and process."""
        os.close(self._there)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library. Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _loopback_up() -> None:
    """Enable the loopback interface of this thread's network: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
