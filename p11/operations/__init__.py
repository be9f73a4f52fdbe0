# SPDX-License-Identifier: MIT
"""Operations: what a session does with data between an Init function and its end.

An operation takes data, in one part or many, and may give some back at each; the rest comes at the end. How much that
is at most is known beforehand, so that an application can ask for it and nothing is done for which there is no room.
"""

from __future__ import annotations

from ..constants import CKR
from ..errors import P11Error

MOST_KEPT = 1 << 16
"""Bytes of data for a key that takes it in one piece: more than any of them can take."""


class Operation:
    """The base of all. `parts` counts the updates; `pending_result` is a result for which there was no room yet.

    `in_one_part` is true once the whole operation was asked for in one call that told the length only.

    `needs_login` is true while a key works that the card gives to the logged-in user only, `asks_each_time` if it
    wants the PIN for this very operation; `context_login` tells that it was given.
    """

    needs_login = False
    asks_each_time = False
    context_login = False
    pending_result: bytes | None = None
    parts = 0
    in_one_part = False

    exact = True
    """Whether `output_length` is what comes out, not only the most that can."""

    def output_length(self, more: int, final: bool) -> int:
        """The bytes that come out if `more` go in now, and if it is the end. Raises P11Error for a wrong length."""
        raise NotImplementedError

    def update(self, data: bytes) -> bytes:
        """Take more data. Raises P11Error."""
        raise NotImplementedError

    def finish(self) -> bytes:
        """The rest of the result; called once. Raises P11Error, CardRemoved."""
        raise NotImplementedError

    def end_message(self) -> None:
        """Forget the message that is under way, in an operation that has several."""


class Collector(Operation):
    """An operation that gives nothing before the end: `length` bytes then, of all that it has collected."""

    limit: int | None = MOST_KEPT
    too_long = CKR.DATA_LEN_RANGE

    def __init__(self, length: int) -> None:
        self.length = length
        self._parts: list[bytes] = []
        self._size = 0

    def output_length(self, more: int, final: bool) -> int:
        """Nothing, and `length` at the end."""
        return self.length if final else 0

    def update(self, data: bytes) -> bytes:
        """Kept. Raises P11Error(DATA_LEN_RANGE, or that of encrypted data) for more than the limit."""
        self._size += len(data)
        if self.limit is not None and self._size > self.limit:
            raise P11Error(self.too_long)
        self._parts.append(data)
        return b""

    def collected(self) -> bytes:
        """All of it."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
