# SPDX-License-Identifier: MIT
"""Who makes a call: one connection of an application, and the way a call waits without losing sight of its caller."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

from ..reader.events import CallerIsGone

if TYPE_CHECKING:
    from .application import Application


class CallerGone(CallerIsGone):
    """The application closed the connection (or died) while a call of it was waiting."""


class Caller:
    """One connection of an application. `thread` is the application's thread that makes the call under way.

    `waker` is an eventfd of whoever serves the connection, so that a wait needs no descriptor that may not be there.
    """

    def __init__(self, application: Application, connection: socket.socket, waker: int) -> None:
        self.application = application
        self.thread = 0
        self._connection = connection
        self._waker = waker
        self._remembers = False

    def prepare_to_wait(self) -> None:
        """From now on `wake` is remembered: look at the state after this and before `wait`, and nothing is missed."""
        self._remembers = True

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until `wake` is called (True) or `timeout` seconds are over (False). Raises CallerGone.

        A caller that is waiting sends nothing, so anything on its connection is its end.
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
        """End the wait that is under way, or the next one. From any thread."""
        if self._remembers:
            os.eventfd_write(self._waker, 1)

    def close(self) -> None:
        """Nobody is to be woken any more."""
        self._remembers = False
