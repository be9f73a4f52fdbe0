# SPDX-License-Identifier: MIT
"""The testbed: the readers that are plugged in, and the listeners to what happens to them.

The testbed's lock is the one lock of the physical world. Whoever holds it sees presence, sessions and event flags
agree with each other; it is never held while a card works or anybody waits.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from .errors import NoSuchReader, ReaderExists
from .events import CallerIsGone, CallMoment, Change, When
from .observers import ends_the_program, tell
from .reader import Event, Moment, Reader
from .trace import Trace

LOG = logging.getLogger(__name__)

Listener = Callable[[Event], None]
Watcher = Callable[[Moment], bytes | int | None]
"""What it may return, events.py tells; None for everybody who only looks or acts."""


def check_name(name: str) -> None:
    """Raise ValueError for an invalid reader name."""
    if not name or name != name.strip() or len(name.encode(errors="replace")) > 64 or not name.isprintable():
        raise ValueError(f"not a reader name: {name!r} (1 to 64 bytes, printable, no blanks at the ends)")


class Testbed:
    """Virtual readers by name, in the order in which they were first plugged in.

    Thread-safe. An unplugged reader is remembered, so that plugging in the same name again gives the same Reader.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.trace = Trace()
        self.watchers: tuple[Watcher, ...] = ()
        self._thread = threading.local()
        self._parts: tuple[Listener, ...] = ()
        self._listeners: tuple[Listener, ...] = ()
        self._untold: deque[Event] = deque()
        self._readers: dict[str, Reader] = {}

    def plug(self, name: str, is_contactless: bool = False) -> Reader:
        """Plug a reader in and return it; cards in it are contactless if `is_contactless`.

        Raises ReaderExists if a reader of that name is plugged in already, ValueError for an unusable name.
        """
        check_name(name)
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
        """Unplug a reader, with the card in it. Raises NoSuchReader."""
        with self.lock:
            reader = self.reader(name)
            reader.plugged = False
            if reader.insertion is not None:
                reader.end_insertion(reader.insertion)
            self.announce(Event(Change.UNPLUG, reader))

    def reader(self, name: str) -> Reader:
        """Return the plugged-in reader of that name. Raises NoSuchReader."""
        with self.lock:
            reader = self._readers.get(name)
            if reader is None or not reader.plugged:
                raise NoSuchReader(name, [each.name for each in self.readers])
            return reader

    @property
    def known(self) -> list[str]:
        """Return the names of all readers that are or were plugged in."""
        with self.lock:
            return list(self._readers)

    @property
    def readers(self) -> list[Reader]:
        """Return the readers that are plugged in."""
        with self.lock:
            return [reader for reader in self._readers.values() if reader.plugged]

    def add_part(self, part: Listener) -> Callable[[], None]:
        """Call `part` inside every change, with the lock held, until the returned function is called.

        For what makes up the world beside readers and cards: tokens, applications, adapters, triggers. When a method
        that makes a change returns, every part has run: there is no window in which a card is gone and somebody does
        not know.
        """
        with self.lock:
            self._parts += (part,)

        def remove() -> None:
            with self.lock:
                self._parts = tuple(each for each in self._parts if each is not part)

        return remove

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every change, with the lock held, until the returned function is called.

        It is called when all parts know of the change, in the order of changes, also of those that a listener makes,
        and has run when the method that made the change returns. One that raises is logged and dropped. It must be
        quick, for the world stands still: who only looks subscribes to the trace.
        """
        with self.lock:
            self._listeners += (listener,)
        return lambda: self._unsubscribe(listener)

    def _unsubscribe(self, listener: Listener) -> None:
        with self.lock:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

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
        """Call every watcher; the last one that returns something decides.

        One that raises is logged and dropped. Raises CallerIsGone, as a fault does that waits for a caller.
        """
        result = None
        for watcher in self.watchers:
            try:
                given = watcher(moment)
            except CallerIsGone:
                raise
            except BaseException as error:  # also what is none of Exception's, as a failure of pytest
                if ends_the_program(error):
                    raise
                LOG.exception("the watcher %r failed and is dropped", watcher)
                self.unwatch(watcher)
                continue
            result = given if given is not None else result
        return result

    def begin_call(self, moment: CallMoment) -> bytes | int | None:
        """Begin a call in this thread: its moment BEFORE. APDUs until `end_call` are sent for it."""
        self._thread.call, self._thread.is_under_way = moment, False
        return self.notify(moment)

    def end_call(self) -> None:
        """End the call of this thread."""
        self._thread.call = None

    def call_under_way(self) -> CallMoment | None:
        """Return the call of this thread, if any, and notify its moment DURING, once."""
        call: CallMoment | None = getattr(self._thread, "call", None)
        if call is not None and not self._thread.is_under_way:
            self._thread.is_under_way = True
            self.notify(replace(call, when=When.DURING))
        return call

    def announce(self, event: Event) -> None:
        """Record a change, and tell every part and listener. The caller holds the lock and has made the change."""
        self.trace.event(event)
        tell(self._parts, event)
        self._untold.append(event)
        if len(self._untold) == 1:  # else a listener has made this change, and the one that tells goes on with it
            try:
                while self._untold:
                    self._tell_listeners(self._untold[0])
                    self._untold.popleft()
            finally:
                self._untold.clear()

    def _tell_listeners(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except BaseException as error:
                if ends_the_program(error):
                    raise
                LOG.exception("the listener %r failed at %s and is dropped", listener, event.change)
                self._unsubscribe(listener)
