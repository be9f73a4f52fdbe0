# SPDX-License-Identifier: MIT
"""How a call ends that does not end as it should: with a return value, with the application's death, or not at all."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from ..caller import Caller
from ..errors import Misbehaviour
from .values import Fate, Outcome


class Doomed(Exception):
    """Raised where a call meets its outcome; carried out where the caller is known."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


def meet(outcome: Outcome, caller: Caller) -> NoReturn:
    """Carry an outcome out. Raises Misbehaviour with its value, CallerGone when the application has died or gone."""
    if not isinstance(outcome, Fate):
        raise Misbehaviour(outcome)
    if outcome is Fate.CRASH:
        # As when the middleware in it makes one; the call is never answered, for the signal may take a while.
        os.kill(caller.application.pid, signal.SIGSEGV)
    wait_for_ever(caller)


def wait_for_ever(caller: Caller) -> NoReturn:
    """Never answer. Raises CallerGone when the application is gone, or the simulator."""
    caller.prepare_to_wait()
    while True:
        caller.wait()
