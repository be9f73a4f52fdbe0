# SPDX-License-Identifier: MIT
"""Waiting for files and sockets, whatever the numbers of their descriptors: select(2) takes none above 1023."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, or an open file."""

    def fileno(self) -> int: ...


def readable(seconds: float | None, *files: int | HasDescriptor) -> set[int]:
    """Wait until something can be read from one of the files, or they have ended, for so long (None: for ever).

    Returns the descriptors of those that are ready.
    """
    return waiter(*files)(seconds)


def waiter(*files: int | HasDescriptor) -> Callable[[float | None], set[int]]:
    """Return what waits as `readable`, for so many seconds, for who waits for the same files again and again."""
    poll = select.poll()
    for each in files:
        poll.register(each, select.POLLIN)
    return lambda seconds: {ready for ready, _ in poll.poll(None if seconds is None else seconds * 1000)}
