# SPDX-License-Identifier: MIT
"""The changes of a testbed, and the moments of calls at which a script may act. Values only; see also reader.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Protocol


@unique
class Change(StrEnum):
    """A change of the physical world."""

    PLUG = "plug"
    UNPLUG = "unplug"
    INSERT = "insert"
    REMOVE = "remove"
    RESET = "reset"
    LOGOUT = "logout"
    CLOSE_SESSIONS = "close-sessions"


@unique
class When(StrEnum):
    """On which side of a command or call a moment lies, or within a call."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


class CallerIsGone(Exception):
    """Who has made a call is gone while the call waits on its behalf."""


class Waiting(Protocol):
    """How a call waits on behalf of its application, so that the application's end ends the wait."""

    def prepare_to_wait(self) -> None:
        """From now on `wake` is remembered."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until `wake` (True) or for `timeout` seconds (False). Raises CallerIsGone."""
        ...

    def wake(self) -> None:
        """End the wait that is under way, or the next one. From any thread."""
        ...


@dataclass(frozen=True, slots=True)
class CallMoment:
    """An application's PKCS #11 call is about to be carried out (BEFORE) or is about to be answered (AFTER).

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
