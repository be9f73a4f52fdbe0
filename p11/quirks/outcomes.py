# SPDX-License-Identifier: MIT
"""Bring about the outcome of a call that a quirk sets: a return value, the application's death, or no return."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from ..caller import Caller
from ..errors import ForcedValue
from .values import CallFailure, CallOutcome


class OutcomeReached(Exception):
    """Raised where a call meets the outcome that a quirk sets; brought about where the caller is known."""

    def __init__(self, outcome: CallOutcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


def bring_about(outcome: CallOutcome, caller: Caller) -> NoReturn:
    """End a call with an outcome. Raises ForcedValue with its value, CallerGone when the application has ended."""
    if not isinstance(outcome, CallFailure):
        raise ForcedValue(outcome)
    if outcome is CallFailure.CRASH:
        # As a crash of the middleware would; the call never returns, for the signal may take a while.
        os.kill(caller.application.pid, signal.SIGSEGV)
    wait_for_ever(caller)


def wait_for_ever(caller: Caller) -> NoReturn:
    """Never return. Raises CallerGone when the application or the simulator ends."""
    caller.prepare_to_wait()
    while True:
        caller.wait()
