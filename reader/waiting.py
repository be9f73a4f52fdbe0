# SPDX-License-Identifier: MIT
"""Waiting for files and sockets with any descriptor numbers: select(2) takes none above 1023."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, or an open file."""

    def fileno(self) -> int: ...


def readable(seconds: float | None, *files: int | HasDescriptor) -> set[int]:
    """Wait until one of the files is readable or has ended, for so long (None: no limit).

    Returns the descriptors of those that are ready.
    """
    return waiter(*files)(seconds)


def waiter(*files: int | HasDescriptor) -> Callable[[float | None], set[int]]:
    """Return a function that waits as `readable`, for repeated waits for the same files."""
    poll = select.poll()
    for each in files:
        poll.register(each, select.POLLIN)
    return lambda seconds: {ready for ready, _ in poll.poll(None if seconds is None else seconds * 1000)}
