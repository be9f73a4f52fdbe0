# SPDX-License-Identifier: MIT
"""Let a call calculate for long without missing a removal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from ..reader.errors import CardRemoved
from .caller import Caller
from .constants import CKR
from .errors import P11Error
from .sessions import Session

_T = TypeVar("_T")

_LOOK_EVERY = 0.1
"""Seconds until it is noticed that another thread has closed the session, which wakes nobody."""


def calculated(caller: Caller, live: Session, work: Callable[[Callable[[], bool]], _T]) -> _T:
    """Return what `work` does in a thread of its own; it is given a function that says whether it may stop.

    Raises what `work` raises; CardRemoved as soon as the card goes, P11Error(SESSION_CLOSED, CRYPTOKI_NOT_INITIALIZED)
    when the session or the application ends, CallerGone. What works on then is of no use to anybody.
    """
    application, token = caller.application, live.token
    abandoned, outcome = threading.Event(), Future[_T]()

    def run() -> None:
        try:
            outcome.set_result(work(abandoned.is_set))
        except BaseException as error:
            outcome.set_exception(error)
        if not abandoned.is_set():
            caller.wake()

    caller.prepare_to_wait()
    with application.testbed.lock:
        application.waiters.add(caller)
    threading.Thread(target=run, name="p11-calculation", daemon=True).start()
    try:
        while not outcome.done():
            with application.testbed.lock:
                if not token.is_present:
                    raise CardRemoved(token.insertion.reader.name)
                if application.finalized:
                    raise P11Error(CKR.CRYPTOKI_NOT_INITIALIZED)
                if live.handle not in application.sessions:
                    raise P11Error(CKR.SESSION_CLOSED)
            caller.wait(_LOOK_EVERY)
    finally:
        abandoned.set()
        with application.testbed.lock:
            application.waiters.discard(caller)
    return outcome.result()
