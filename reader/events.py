# SPDX-License-Identifier: MIT
"""What happens on a bench: changes of cards and readers, and the moments at which a script may act.

This file holds values only; who sends them is bench.py and reader.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class Event:
    """One change, as the bench's listeners get it: synchronously, with the bench's lock held.

    `insertion` is the stay that began, ended or was reset; None for plug and unplug.
    """

    change: Change
    reader: Reader
    insertion: Insertion | None = None


@unique
class When(StrEnum):
    """On which side of a command or call a moment lies."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class ApduMoment:
    """An APDU is about to reach the card (BEFORE) or has been answered by it (AFTER).

    Watchers are called in the thread that sends the APDU, without the bench's lock: they may remove the card.
    """

    when: When
    insertion: Insertion
    command: bytes
    response: bytes = b""


@dataclass(frozen=True, slots=True)
class CallMoment:
    """An application's PKCS #11 call is about to be carried out (BEFORE) or is about to be answered (AFTER)."""

    when: When
    application: str
    thread: int
    name: str
    arguments: tuple[object, ...] = field(default=(), repr=False)
    value: int = 0


Moment = ApduMoment | CallMoment
