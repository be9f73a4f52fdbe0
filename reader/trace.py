# SPDX-License-Identifier: MIT
"""The trace: calls, APDUs and events of one simulator in the order in which they happened.

Recording is cheap (a tuple into a ring); reading is where the work is done. PINs and key material are left out when
an entry is recorded, so nothing that reads a trace can show them.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .events import Event
    from .reader import Insertion

LENGTH = 20_000
"""Entries kept; older ones fall out."""

# Only what these commands carry may be shown; of all others the header, the length and the status word.
_OPEN_COMMANDS = frozenset({0xA4, 0xCB})  # SELECT, GET DATA


class Hidden(NamedTuple):
    """Stands for a byte string that a trace does not show."""

    length: int


class CallEntry(NamedTuple):
    """A PKCS #11 call arrives. `number` is also the number of the call; `arguments` holds Hidden for byte strings.

    `time` is in seconds of the monotonic clock, as in every entry.
    """

    number: int
    time: float
    call: int
    application: str
    thread: int
    name: str
    arguments: tuple[object, ...]


class ReturnEntry(NamedTuple):
    """The call numbered `call` is answered with `value`, a CK_RV."""

    number: int
    time: float
    call: int
    name: str
    value: int


class ApduEntry(NamedTuple):
    """One APDU, under the call it was made for, if any. The lengths also count the data that is not shown.

    `status` is None when the card was torn out before it answered.
    """

    number: int
    time: float
    call: int | None
    reader: str
    card: str
    command: bytes
    command_length: int
    response: bytes
    response_length: int
    status: int | None


class EventEntry(NamedTuple):
    """A change of the bench: plug, unplug, insert, remove or reset."""

    number: int
    time: float
    call: int | None
    change: str
    reader: str
    card: str | None


Entry = CallEntry | ReturnEntry | ApduEntry | EventEntry
Subscriber = Callable[[Entry], None]


class Trace:
    """A ring of entries. Thread-safe; subscribers are called in the recording thread and must not block."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LENGTH)
        self._numbers = itertools.count(1)
        self._thread = threading.local()
        self._subscribers: tuple[Subscriber, ...] = ()

    def entries(self, after: int = 0) -> list[Entry]:
        """The entries that are kept and have a number above `after`, oldest first."""
        return sorted(entry for entry in self._entries.copy() if entry[0] > after)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every entry from now on, until the returned function is called."""
        self._subscribers += (subscriber,)

        def unsubscribe() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

        return unsubscribe

    def call(self, application: str, thread: int, name: str, arguments: tuple[object, ...]) -> int:
        """Record the arrival of a call and return its number, which this thread's entries carry until `answer`."""
        number = self._thread.call = next(self._numbers)
        self._record(CallEntry(number, monotonic(), number, application, thread, name, arguments))
        return number

    def answer(self, call: int, name: str, value: int) -> None:
        """Record how a call was answered."""
        self._record(ReturnEntry(next(self._numbers), monotonic(), call, name, value))
        self._thread.call = None

    def apdu(self, insertion: Insertion, command: bytes, response: bytes | None) -> None:
        """Record an APDU and its response; None when the card was torn out before it answered."""
        is_open = len(command) > 1 and command[1] in _OPEN_COMMANDS
        self._record(
            ApduEntry(
                next(self._numbers),
                monotonic(),
                getattr(self._thread, "call", None),
                insertion.reader.name,
                insertion.card.name,
                command if is_open else command[:4],
                len(command),
                response[:-2] if is_open and response is not None else b"",
                len(response) - 2 if response is not None else 0,
                int.from_bytes(response[-2:], "big") if response is not None else None,
            )
        )

    def event(self, event: Event) -> None:
        """Record a change of the bench."""
        card = event.insertion.card.name if event.insertion is not None else None
        call = getattr(self._thread, "call", None)
        self._record(EventEntry(next(self._numbers), monotonic(), call, event.change, event.reader.name, card))

    def _record(self, entry: Entry) -> None:
        self._entries.append(entry)
        for subscriber in self._subscribers:
            subscriber(entry)
