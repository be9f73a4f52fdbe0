# SPDX-License-Identifier: MIT
"""Keep other programs from opening a file while it is written: the kernel's write lease (fcntl(2), F_SETLEASE).

A lease is had only while nobody else has the file open; whoever opens or truncates it then waits until it is given
back. It lasts for one change, some microseconds; a process that is stopped in the middle loses it after
/proc/sys/fs/lease-break-time, 45 seconds. Some file systems (NFS) have none, nor has who does not own the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

_PATIENCE = 0.2
"""Seconds to wait for others who have the file open: to copy an image takes milliseconds."""

_PAUSE = 0.001

_SEARCH = 2.0
"""Seconds to look for who has it open for writing; with a few hundred processes it takes a hundredth of that."""

_LEASE, _WRITE, _NONE = fcntl.F_SETLEASE, fcntl.F_WRLCK, fcntl.F_UNLCK
_SIGNAL, _IGNORED = fcntl.F_SETSIG, signal.SIGURG
"""By this the kernel tells that somebody waits, which we need not know: by default SIGIO would end the process."""


class Lease:
    """The lease of a file by its descriptor, which must be the only one of this process.

    `is_shared` says that somebody else had it open at the last try.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_held = self.is_shared = False

    def take(self) -> bool:
        """Keep others out, after a short wait for those who have the file open; returns whether that succeeded."""
        try:
            fcntl.fcntl(self._descriptor, _SIGNAL, _IGNORED)  # which the end of each lease forgets
            fcntl.fcntl(self._descriptor, _LEASE, _WRITE)
        except OSError as error:
            return isinstance(error, BlockingIOError) and self._wait()
        self._is_held = True
        return True

    def _wait(self) -> bool:
        """Retry, but not at each change if another program keeps the file open."""
        end = monotonic() + (0 if self.is_shared else _PATIENCE)
        while monotonic() < end:
            sleep(_PAUSE)
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._descriptor, _LEASE, _WRITE)
                self._is_held = True
                break
        self.is_shared = not self._is_held
        return self._is_held

    def give_back(self) -> None:
        """Let waiting programs open the file."""
        if self._is_held:
            self._is_held = False
            self.is_shared = False
            fcntl.fcntl(self._descriptor, _LEASE, _NONE)


def own_descriptor(descriptor: int, likely: int) -> int | None:
    """Find another descriptor of this process by which the same file is open for writing; None without /proc."""
    file = os.fstat(descriptor)
    for number in _numbers(likely):
        with contextlib.suppress(OSError):
            if number != descriptor and os.path.samestat(os.fstat(number), file) and _writes(number):
                return number
    return None


def _numbers(likely: int) -> Iterator[int]:
    """Return the numbers of this process's descriptors."""
    yield likely
    with contextlib.suppress(OSError):
        yield from map(int, os.listdir("/proc/self/fd"))


def _writes(descriptor: int) -> bool:
    """Return whether the flags of an open file allow writing."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def writer(file: os.stat_result) -> int | None:
    """Find another process that has the file open for writing, among those that this user may inspect.

    The youngest are looked at first, and not for long: there may be very many.
    """
    end = monotonic() + _SEARCH
    known = os.listdir("/proc") if os.path.isdir("/proc") else []
    for process in sorted(map(int, filter(str.isdigit, known)), reverse=True):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            for number in os.listdir(f"/proc/{process}/fd") if process != os.getpid() else ():
                if monotonic() > end:
                    return None
                if _is_written(process, number, file):
                    return process
    return None


def _is_written(process: int, number: str, file: os.stat_result) -> bool:
    """Return whether a descriptor is a writable one of this file. Raises OSError, ValueError, StopIteration."""
    if not os.path.samestat(os.stat(f"/proc/{process}/fd/{number}"), file):
        return False
    lines = Path(f"/proc/{process}/fdinfo/{number}").read_text().splitlines()
    flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
