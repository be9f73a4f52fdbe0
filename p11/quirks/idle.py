# SPDX-License-Identifier: MIT
"""Closing of sessions that no call has used for some time (the quirk idle_timeout)."""

from __future__ import annotations

import math
import threading
from time import monotonic

from ...reader.events import Change
from ...reader.reader import Event
from ..application import Application
from ..sessions import Session
from ..token import Token


class IdleClock:
    """Closes the sessions of one application that have been idle for `seconds`."""

    def __init__(self, application: Application, seconds: float) -> None:
        self._application = application
        self._seconds = seconds
        self._used: dict[Session, float] = {}  # when last; infinity while a call does
        self._timer: threading.Timer | None = None

    def begin_use(self, handle: int) -> None:
        """Note that a call begins in a session, if the handle is one."""
        self._note(handle, math.inf)

    def end_use(self, handle: int) -> None:
        """Note that a call has ended; from now on the session is idle."""
        self._note(handle, monotonic())

    def _note(self, handle: int, when: float) -> None:
        with self._application.testbed.lock:
            session = self._application.sessions.get(handle)
            if session is not None:
                self._used[session] = when
                if self._timer is None and when < math.inf:
                    self._wait(self._seconds)

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        """Close idle sessions, and set the timer for the next one.

        The trace gets an event of it; other applications do not, for their sessions stay open.
        """
        application, left_alone, closed = self._application, set[Token](), set[Token]()
        with application.testbed.lock:
            self._timer = None
            open_ones = set(application.sessions.values())
            self._used = {session: when for session, when in self._used.items() if session in open_ones}
            now = monotonic()
            for session, when in list(self._used.items()):
                if when + self._seconds <= now:
                    del self._used[session]
                    closed.add(session.token)
                    if application.close_session(session):
                        left_alone.add(session.token)
            for insertion in (token.insertion for token in closed):
                application.testbed.trace.event(Event(Change.CLOSE_SESSIONS, insertion.reader, insertion))
            waiting = [when for when in self._used.values() if when < math.inf]
            if waiting and not application.finalized:
                self._wait(max(min(waiting) + self._seconds - now, 0.001))
        for token in left_alone:
            token.give_up()
