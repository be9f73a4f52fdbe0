# SPDX-License-Identifier: MIT
"""The simulator of a scenario, which tells the history what it does."""

from __future__ import annotations

from ...p11.quirks import Quirks
from ...reader.pcsc.vpcd_slots import PcscSlots
from ..control.simulator import Simulator
from ..simulator.armed_triggers import Heard
from ..simulator.trigger import Trigger
from .history import History


class ScenarioSimulator(Simulator):
    """A simulator that tells a history of words and of triggers that have done their work."""

    def __init__(self, history: History, quirks: Quirks, pcsc: PcscSlots | None) -> None:
        super().__init__(quirks=quirks, pcsc=pcsc)
        self._history = history
        testbed = self.testbed
        testbed.trace.add_part(history.add)
        testbed.watch(history.watch)

    def signal(self, signal: str) -> Heard:
        """Send a signal; the scenario itself waits for all signals, too."""
        heard = super().signal(signal)
        self._history.signal(signal)
        return heard._replace(waiting=heard.waiting + 1)

    @property
    def module(self) -> str:
        """Return the path of the module that belongs to it."""
        return self.environment["CARDTEAR_MODULE"]

    def session_state(self, handle: int) -> int | None:
        """Return a session's state in any application, None if there is no such session; makes no call."""
        for application in self.applications:
            session = application.sessions.get(handle)
            if session is not None:
                return int(session.state)
        return None

    def slot(self, reader: str) -> int | None:
        """Return the number of a reader's slot in the first application that has one."""
        for application in self.applications:
            for number, slot in application.slots.items():
                if slot.name == reader:
                    return number
        return None

    def check(self, trigger: Trigger) -> None:
        """Check nothing: that was done with the whole scenario (checking.py), where readers may come later."""

    def acted(self, trigger: Trigger) -> None:
        if isinstance(trigger, Counted):
            trigger.done += 1
        self._history.changed()


class Counted(Trigger):
    """A trigger that knows how often it has done its work, not only that it was time."""

    done = 0
