# SPDX-License-Identifier: MIT
"""Run a long calculation in a thread, so that a removal ends the call at once."""

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
"""Seconds until it is noticed that another thread has closed the session, which does not wake the caller."""


def calculated(caller: Caller, session: Session, work: Callable[[Callable[[], bool]], _T]) -> _T:
    """Run `work` in a thread and return its result; its argument is a function that tells whether it may stop.

    Raises what `work` raises; CardRemoved as soon as the card is removed, P11Error(SESSION_CLOSED,
    CRYPTOKI_NOT_INITIALIZED) when the session or the application ends, CallerGone. The thread's result is dropped then.
    """
    application, token = caller.application, session.token
    abandoned, outcome = threading.Event(), Future[_T]()

    def run() -> None:
        try:
            outcome.set_result(work(abandoned.is_set))
        except BaseException as error:
            outcome.set_exception(error)
        if not abandoned.is_set():
            caller.wake()

    try:
        with caller.woken_by_application():
            threading.Thread(target=run, name="p11-calculation", daemon=True).start()
            while not outcome.done():
                with application.testbed.lock:
                    if not token.is_present:
                        raise CardRemoved(token.insertion.reader.name)
                    if application.finalized:
                        raise P11Error(CKR.CRYPTOKI_NOT_INITIALIZED)
                    if session.handle not in application.sessions:
                        raise P11Error(CKR.SESSION_CLOSED)
                caller.wait(_LOOK_EVERY)
    finally:
        abandoned.set()
    return outcome.result()
