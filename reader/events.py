# SPDX-License-Identifier: MIT
"""The changes of a testbed, and the moments of calls at which a script may act. Values only; see also reader.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Protocol


@unique
class Change(StrEnum):
    """A change of a reader or card."""

    PLUG = "plug"
    UNPLUG = "unplug"
    INSERT = "insert"
    REMOVE = "remove"
    RESET = "reset"
    LOGOUT = "logout"
    CLOSE_SESSIONS = "close-sessions"


@unique
class When(StrEnum):
    """Whether a moment is before, in or after a command or call."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class CallerIsGone(Exception):
    """The application of a waiting call has ended."""


class Waiting(Protocol):
    """How a call waits, so that the end of its application ends the wait."""

    def prepare_to_wait(self) -> None:
        """Remember `wake` from now on."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until `wake` (True) or for `timeout` seconds (False). Raises CallerIsGone."""
        ...

    def wake(self) -> None:
        """End the current wait, or the next one. Any thread may call it."""
        ...


@dataclass(frozen=True, slots=True)
class CallMoment:
    """A PKCS #11 call is about to be carried out (BEFORE), or its return value to be sent (AFTER).

    DURING comes once, when the call is about to send its first APDU or to wait; a call that does neither has none.
    `number` is that of the trace, the same for all moments of a call. A watcher may return a CK_RV: BEFORE, the call is
    answered with it and not carried out; AFTER, it takes the place of the return value, and there are no results.
    """

    when: When
    application: str
    thread: int
    name: str
    arguments: tuple[object, ...] = field(default=(), repr=False)
    value: int = 0
    number: int = 0
    caller: Waiting | None = field(default=None, repr=False, compare=False)
