# SPDX-License-Identifier: MIT
"""The bench: the readers that are plugged in, and everybody who wants to know what happens to them.

The bench's lock is the one lock of the physical world. Whoever holds it sees presence, sessions and event flags
agree with each other; it is never held while a card works or anybody waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from .errors import NoSuchReader, ReaderExists
from .events import CallMoment, Change, Event, Moment, When
from .reader import Reader
from .trace import Trace

Listener = Callable[[Event], None]
Watcher = Callable[[Moment], bytes | int | None]
"""What it may return, events.py tells; None for everybody who only looks or acts."""


class Bench:
    """Virtual readers by name, in the order in which they were first plugged in.

    Thread-safe. An unplugged reader is remembered, so that plugging in the same name again gives the same Reader.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.trace = Trace()
        self.watchers: tuple[Watcher, ...] = ()
        self._thread = threading.local()
        self._listeners: tuple[Listener, ...] = ()
        self._readers: dict[str, Reader] = {}

    def plug(self, name: str, is_contactless: bool = False) -> Reader:
        """Plug a reader in and return it; cards are laid on one that is contactless.

        Raises ReaderExists if a reader of that name is plugged in already, ValueError for an unusable name.
        """
        if not name or name != name.strip() or len(name.encode()) > 64 or not name.isprintable():
            raise ValueError(f"not a reader name: {name!r} (1 to 64 bytes, printable, no blanks at the ends)")
        with self.lock:
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = Reader(self, name)
            elif reader.plugged:
                raise ReaderExists(name)
            reader.plugged, reader.is_contactless = True, is_contactless
            self.announce(Event(Change.PLUG, reader))
        return reader

    def unplug(self, name: str) -> None:
        """Pull a reader out, with the card that is in it. Raises NoSuchReader."""
        with self.lock:
            reader = self.reader(name)
            reader.plugged = False
            if reader.insertion is not None:
                reader.end_stay(reader.insertion)
            self.announce(Event(Change.UNPLUG, reader))

    def reader(self, name: str) -> Reader:
        """The plugged-in reader of that name. Raises NoSuchReader."""
        with self.lock:
            reader = self._readers.get(name)
            if reader is None or not reader.plugged:
                raise NoSuchReader(name, [each.name for each in self.readers])
            return reader

    @property
    def readers(self) -> list[Reader]:
        """The readers that are plugged in now."""
        with self.lock:
            return [reader for reader in self._readers.values() if reader.plugged]

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every change, with the lock held, until the returned function is called.

        When a method that makes a change returns, every listener has run: there is no window in which a card is gone
        and somebody does not know.
        """
        with self.lock:
            self._listeners += (listener,)

        def unsubscribe() -> None:
            with self.lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe

    @contextlib.contextmanager
    def watching(self, watcher: Watcher) -> Iterator[None]:
        """Call `watcher` around every APDU and every PKCS #11 call while the block runs."""
        self.watch(watcher)
        try:
            yield
        finally:
            self.unwatch(watcher)

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher` around every APDU and every PKCS #11 call, in the thread that makes it, without the lock."""
        with self.lock:
            self.watchers += (watcher,)

    def unwatch(self, watcher: Watcher) -> None:
        """Stop calling `watcher`. Unknown watchers are no error."""
        with self.lock:
            self.watchers = tuple(each for each in self.watchers if each != watcher)

    # Moments; callers ask `watchers` first, for without any there is nothing to do

    def notify(self, moment: Moment) -> bytes | int | None:
        """Call every watcher. What the last of them says that says something takes effect."""
        answer = None
        for watcher in self.watchers:
            given = watcher(moment)
            answer = given if given is not None else answer
        return answer

    def begin_call(self, moment: CallMoment) -> bytes | int | None:
        """A call begins in this thread: its moment BEFORE. Until `end_call` APDUs are sent for it."""
        self._thread.call, self._thread.is_under_way = moment, False
        return self.notify(moment)

    def end_call(self) -> None:
        """The call of this thread is over."""
        self._thread.call = None

    def call_under_way(self) -> CallMoment | None:
        """The call of this thread, if any, which from now on works: its moment DURING, once."""
        call: CallMoment | None = getattr(self._thread, "call", None)
        if call is not None and not self._thread.is_under_way:
            self._thread.is_under_way = True
            self.notify(replace(call, when=When.DURING))
        return call

    def announce(self, event: Event) -> None:
        """Record a change and tell every listener. The caller holds the lock and has made the change."""
        self.trace.event(event)
        for listener in self._listeners:
            listener(event)
