# SPDX-License-Identifier: MIT
"""The caller of a function: one connection of an application, and how a call waits while watching the connection."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator

from ..reader.events import CallerIsGone
from .application import Application


class CallerGone(CallerIsGone):
    """The application closed the connection (or died) while a call of it was waiting."""


class Caller:
    """One connection of an application. `thread` is the application's thread that makes the current call.

    `waker` is an eventfd that the server opens with the connection, so that no wait fails for want of a descriptor.
    """

    def __init__(self, application: Application, connection: socket.socket, waker: int) -> None:
        self.application = application
        self.thread = 0
        self._connection = connection
        self._waker = waker
        self._remembers = False

    def prepare_to_wait(self) -> None:
        """Record wake() from now on: what is read between this and `wait` cannot change unnoticed."""
        self._remembers = True

    @contextlib.contextmanager
    def woken_by_application(self) -> Iterator[None]:
        """Let removals, C_Finalize and the application's other changes end `wait` until the block is left."""
        application = self.application
        self.prepare_to_wait()
        with application.testbed.lock:
            application.waiters.add(self.wake)
        try:
            yield
        finally:
            with application.testbed.lock:
                application.waiters.discard(self.wake)

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until `wake` is called (True) or `timeout` seconds have passed (False). Raises CallerGone.

        An application sends nothing while a call is under way, so its connection is readable only when it has ended.
        """
        if self.application.testbed.watchers:
            self.application.testbed.call_under_way()
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.register(self._connection, select.POLLIN)
        ready = dict(poll.poll(None if timeout is None else timeout * 1000))
        if self._waker in ready:
            os.eventfd_read(self._waker)
            return True
        if ready:
            raise CallerGone
        return False

    def wake(self) -> None:
        """End the current wait, or the next one. May be called from any thread."""
        if self._remembers:
            os.eventfd_write(self._waker, 1)

    def close(self) -> None:
        """Make wake() do nothing from now on."""
        self._remembers = False
