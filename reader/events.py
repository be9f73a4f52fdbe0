# SPDX-License-Identifier: MIT
"""What happens on a testbed: changes of cards and readers, and the moments at which a script may act.

This file holds values only; who sends them is testbed.py and reader.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .reader import Insertion, Reader


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


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as the testbed's listeners get it: synchronously, with the testbed's lock held.

    `insertion` is the stay that began, ended, was reset, had its PIN taken back or lost its sessions; None for plug
    and unplug.
    """

    change: Change
    reader: Reader
    insertion: Insertion | None = None


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


@dataclass(frozen=True, slots=True)
class ApduMoment:
    """An APDU is about to reach the card (BEFORE) or has been answered by it (AFTER). `call` is what it is sent for.

    Watchers are called in the thread that sends the APDU, without the testbed's lock: they may remove the card. A
    watcher may return a response: BEFORE, it is the answer and the card never gets the command; AFTER, it takes the
    place of the card's answer.
    """

    when: When
    insertion: Insertion
    command: bytes
    response: bytes = b""
    call: CallMoment | None = None


Moment = ApduMoment | CallMoment
