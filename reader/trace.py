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
from functools import lru_cache
from time import monotonic
from typing import NamedTuple, Protocol

from ..card import tlv
from ..card.tables import INS, Access, object_rules
from .observers import Watcher, tell

LENGTH = 20_000
"""Entries kept; older ones fall out."""

_entry = tuple.__new__
"""Makes an entry of a tuple of its fields: half the time of its class's own constructor, and a call makes several."""

# Only what these commands carry may be shown; of all others the header, the length and the status word.
_OPEN_COMMANDS = frozenset({bytes((INS.SELECT,)), bytes((INS.GET_DATA,))})


_TAG_LIST = 0x5C


class _Named(Protocol):
    """A reader or a card, as the trace sees it."""

    @property
    def name(self) -> str: ...


class _Insertion(Protocol):
    """An insertion of a card into a reader (reader.py), as the trace sees it."""

    @property
    def reader(self) -> _Named: ...
    @property
    def card(self) -> _Named: ...


class _Event(Protocol):
    """A change of the testbed (reader.py), as the trace sees it."""

    @property
    def change(self) -> str: ...
    @property
    def reader(self) -> _Named: ...
    @property
    def insertion(self) -> _Insertion | None: ...


class Hidden(NamedTuple):
    """Stands for a byte string that a trace does not show."""

    length: int


class CallEntry(NamedTuple):
    """A PKCS #11 call has arrived. `number` is also the call's number; byte strings in `arguments` are Hidden.

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
    """The call numbered `call` has returned `value`, a CK_RV."""

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
    """A change of the testbed, by its name in events.py."""

    number: int
    time: float
    call: int | None
    change: str
    reader: str
    card: str | None


class VerbEntry(NamedTuple):
    """A verb or fault that is no change of the testbed: a touch, a signal, a replaced response.

    `about` is what there is to say of it beside the reader; nothing that is secret.
    """

    number: int
    time: float
    call: int | None
    verb: str
    reader: str | None
    about: str


Entry = CallEntry | ReturnEntry | ApduEntry | EventEntry | VerbEntry
Subscriber = Callable[[Entry], None]


class _Thread(threading.local):
    """State of one thread: the call for which its entries are made."""

    call: int | None = None


class Trace:
    """A ring of entries. Thread-safe; parts and watchers (observers.py) get each entry, too."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LENGTH)
        self._numbers = itertools.count(1)
        self._thread = _Thread()
        self._changing = threading.Lock()
        self._parts: tuple[Subscriber, ...] = ()
        self._record: Subscriber = self._entries.append

    def entries(self, after: int = 0) -> list[Entry]:
        """Return the kept entries with a number above `after`, oldest first."""
        return sorted(entry for entry in self._entries.copy() if entry[0] > after)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber`, a watcher, with every entry from now on, until the returned function is called.

        It is called in a thread of its own, with one entry at a time, and has had all of them when the returned
        function comes back. One that raises or is slow is logged and dropped (observers.py).
        """
        watcher = Watcher(subscriber, f"the subscriber {subscriber!r} of the trace", lambda: forget())
        forget = self.add_part(watcher.tell)

        def unsubscribe() -> None:
            forget()
            watcher.close()

        return unsubscribe

    def add_part(self, part: Subscriber) -> Callable[[], None]:
        """Call `part` with every entry in the thread that records it, until the returned function is called.

        For what belongs to the record itself, as a scenario's history: it must neither wait nor raise.
        """
        with self._changing:
            self._have_parts((*self._parts, part))

        def remove() -> None:
            with self._changing:
                self._have_parts(tuple(each for each in self._parts if each is not part))

        return remove

    def _have_parts(self, parts: tuple[Subscriber, ...]) -> None:
        self._parts = parts
        self._record = self._record_and_tell if parts else self._entries.append

    def call(self, application: str, thread: int, name: str, arguments: tuple[object, ...]) -> int:
        """Record the arrival of a call and return its number, which this thread's entries carry until `returned`."""
        number = self._thread.call = next(self._numbers)
        self._record(_entry(CallEntry, (number, monotonic(), number, application, thread, name, arguments)))
        return number

    def returned(self, call: int, name: str, value: int) -> None:
        """Record a call's return value."""
        self._record(_entry(ReturnEntry, (next(self._numbers), monotonic(), call, name, value)))
        self._thread.call = None

    def apdu(self, insertion: _Insertion, command: bytes, response: bytes | None) -> None:
        """Record an APDU and its response, None if the card was removed before it."""
        shown, data, length, status = command[:4], b"", 0, None
        if response is not None:
            length, status = len(response) - 2, int.from_bytes(response[-2:], "big")
        if command[1:2] in _OPEN_COMMANDS:
            shown = command
            if response is not None and (command[1] != INS.GET_DATA or _anybody_may_read(command)):
                data = response[:-2]
        number, call = next(self._numbers), self._thread.call
        reader, card = insertion.reader.name, insertion.card.name
        fields = (number, monotonic(), call, reader, card, shown, len(command), data, length, status)
        self._record(_entry(ApduEntry, fields))

    def event(self, event: _Event) -> None:
        """Record a change of the testbed."""
        reader, card = event.reader.name, event.insertion.card.name if event.insertion is not None else None
        self._record(EventEntry(next(self._numbers), monotonic(), self._thread.call, event.change, reader, card))

    def verb(self, verb: str, reader: str | None = None, about: str = "") -> None:
        """Record a verb or fault that is no change of the testbed."""
        self._record(VerbEntry(next(self._numbers), monotonic(), self._thread.call, verb, reader, about))

    def _record_and_tell(self, entry: Entry) -> None:
        self._entries.append(entry)
        tell(self._parts, entry)


@lru_cache(256)  # the same few objects are read over and over
def _anybody_may_read(command: bytes) -> bool:
    """Return whether a GET DATA is for an object that needs no PIN; a management key may be in one that does.

    What cannot be told from this command alone, as the last link of a chain, is taken for a secret.
    """
    data = command[7:] if command[4:5] == b"\0" else command[5:]  # extended or short (ISO/IEC 7816-4, 5.1)
    try:
        kind, name, _ = tlv.read(data)
    except tlv.TlvError:
        return False
    rules = object_rules(int.from_bytes(name, "big"))
    return kind == _TAG_LIST and rules is not None and rules.read is Access.ALWAYS
