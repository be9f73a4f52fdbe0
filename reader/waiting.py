# SPDX-License-Identifier: MIT
"""Waiting for files and sockets, whatever the numbers of their descriptors: select(2) takes none above 1023."""

from __future__ import annotations

import select
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, or an open file."""

    def fileno(self) -> int: ...


def readable(seconds: float | None, *files: int | HasDescriptor) -> set[int]:
    """Wait until something can be read from one of the files, or they have ended, for so long (None: for ever).

    Returns the descriptors of those that are ready.
    """
    poll = select.poll()
    for each in files:
        poll.register(each, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)}
