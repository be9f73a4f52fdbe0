# SPDX-License-Identifier: MIT
"""Operations: what a session does with data between an Init function and its end.

An operation takes data, in one part or several, and may return output for each; the rest comes at the end. The length
of the output is known beforehand: an application can ask for it, and nothing is done without room for the result.
"""

from __future__ import annotations

from ..constants import CKR
from ..errors import P11Error

MOST_KEPT = 1 << 16
"""Most bytes that are collected for a key that needs all data at once: more than any can process."""


class Operation:
    """Base class of all operations. `parts` counts the updates; `pending_result` had no room in the output buffer yet.

    `in_one_part` is true once a single-part call has asked for the length. `needs_login` is true for a key that only
    the logged-in user may use, `asks_each_time` for one that wants the PIN for each operation; `context_login` is true
    once that PIN has been verified.
    """

    needs_login = False
    asks_each_time = False
    context_login = False
    pending_result: bytes | None = None
    parts = 0
    in_one_part = False

    exact = True
    """Whether `output_length` is exact; otherwise it is the most."""

    def output_length(self, more: int, final: bool) -> int:
        """Return the length of the output for `more` bytes, with the rest if `final`. Raises P11Error."""
        raise NotImplementedError

    def update(self, data: bytes) -> bytes:
        """Take more data. Raises P11Error."""
        raise NotImplementedError

    def finish(self) -> bytes:
        """Return the rest of the output; called once. Raises P11Error, CardRemoved."""
        raise NotImplementedError

    def end_message(self) -> None:
        """End the current message, in an operation on several messages."""


class Collector(Operation):
    """An operation that collects its data and returns `length` bytes at the end."""

    limit: int | None = MOST_KEPT
    too_long = CKR.DATA_LEN_RANGE

    def __init__(self, length: int) -> None:
        self.length = length
        self._parts: list[bytes] = []
        self._size = 0

    def output_length(self, more: int, final: bool) -> int:
        """Return `length` at the end, 0 before."""
        return self.length if final else 0

    def update(self, data: bytes) -> bytes:
        """Collect data. Raises P11Error(DATA_LEN_RANGE, or that of encrypted data) beyond the limit."""
        self._size += len(data)
        if self.limit is not None and self._size > self.limit:
            raise P11Error(self.too_long)
        self._parts.append(data)
        return b""

    def collected(self) -> bytes:
        """Return all data."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
