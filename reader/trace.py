# SPDX-License-Identifier: MIT
"""The trace: calls, APDUs and events of one simulator in the order in which they happened.

Recording is cheap (a tuple into a ring); reading is where the work is done. PINs and key material are dropped when
an entry is recorded, so nothing that reads a trace can show them.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Event
    from .reader import Insertion

LENGTH = 20_000
"""Entries kept; older ones fall out."""

# Only what these commands carry may be shown; of all others the header, the length and the status word.
_OPEN_COMMANDS = frozenset({0xA4, 0xCB})  # SELECT, GET DATA


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a trace. `time`: seconds of the monotonic clock; `call`: the number of the call around it."""

    number: int
    time: float
    call: int | None


@dataclass(frozen=True, slots=True)
class CallEntry(Entry):
    """A PKCS #11 call arrives: `application` is `name[pid]`, `arguments` holds no secrets."""

    application: str
    thread: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ReturnEntry(Entry):
    """The call numbered `call` is answered with `value` (a CK_RV) and, where that says more, `result`."""

    name: str
    value: int
    result: str


@dataclass(frozen=True, slots=True)
class ApduEntry(Entry):
    """One APDU. Sensitive data is left out of `command` and `response`, the lengths count it.

    `status` is None when the card was torn out before it answered.
    """

    reader: str
    card: str
    command: bytes
    command_length: int
    response: bytes
    response_length: int
    status: int | None


@dataclass(frozen=True, slots=True)
class EventEntry(Entry):
    """A change of the bench: `change` is plug, unplug, insert, remove or reset."""

    change: str
    reader: str
    card: str | None


Subscriber = Callable[[Entry], None]


class Trace:
    """A ring of entries. Thread-safe; subscribers are called in the recording thread and must not block."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LENGTH)
        self._numbers = itertools.count(1)
        self._thread = threading.local()
        self._subscribers: tuple[Subscriber, ...] = ()
        self._lock = threading.Lock()

    def entries(self, after: int = 0) -> list[Entry]:
        """The entries that are kept and have a number above `after`, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > after]

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every entry from now on, until the returned function is called."""
        with self._lock:
            self._subscribers += (subscriber,)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

        return unsubscribe

    def call(self, application: str, thread: int, name: str, arguments: str) -> int:
        """Record the arrival of a call and return its number, which the entries of this thread carry until `answer`."""
        with self._lock:
            number = self._thread.call = next(self._numbers)
            self._record(CallEntry(number, time.monotonic(), number, application, thread, name, arguments))
        return number

    def answer(self, call: int, name: str, value: int, result: str = "") -> None:
        """Record how a call was answered."""
        with self._lock:
            self._record(ReturnEntry(next(self._numbers), time.monotonic(), call, name, value, result))
        self._thread.call = None

    def apdu(self, insertion: Insertion, command: bytes, response: bytes | None) -> None:
        """Record an APDU and its response; None when the card was torn out before it answered."""
        shown, answer, status = command[:5], b"", None
        if response is not None:
            status = int.from_bytes(response[-2:], "big")
            if len(command) > 1 and command[1] in _OPEN_COMMANDS:
                shown, answer = command, response[:-2]
        elif len(command) > 1 and command[1] in _OPEN_COMMANDS:
            shown = command
        with self._lock:
            self._record(
                ApduEntry(
                    next(self._numbers),
                    time.monotonic(),
                    self._call(),
                    insertion.reader.name,
                    insertion.card.name,
                    shown,
                    len(command),
                    answer,
                    max(len(response) - 2, 0) if response is not None else 0,
                    status,
                )
            )

    def event(self, event: Event) -> None:
        """Record a change of the bench."""
        card = event.insertion.card.name if event.insertion is not None else None
        with self._lock:
            self._record(
                EventEntry(next(self._numbers), time.monotonic(), self._call(), event.change, event.reader.name, card)
            )

    def _call(self) -> int | None:
        return getattr(self._thread, "call", None)

    def _record(self, entry: Entry) -> None:
        self._entries.append(entry)
        for subscriber in self._subscribers:
            subscriber(entry)
