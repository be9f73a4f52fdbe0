# SPDX-License-Identifier: MIT
"""The simulator of a scenario, which tells the history what it does."""

from __future__ import annotations

from ...p11.quirks import Quirks
from ...reader.pcsc.vpcd_slots import PcscSlots
from ..control.simulator import Simulator
from ..simulator.armed_triggers import Heard
from ..simulator.trigger import Trigger
from .history import History


class Played(Simulator):
    """A simulator that tells a history of words and of triggers that have done their work."""

    def __init__(self, history: History, quirks: Quirks, pcsc: PcscSlots | None) -> None:
        super().__init__(quirks=quirks, pcsc=pcsc)
        self._history = history
        testbed = self.testbed
        testbed.trace.add_part(history.add)
        testbed.watch(history.watch)

    def signal(self, signal: str) -> Heard:
        """As every simulator; the scenario itself hears all words."""
        heard = super().signal(signal)
        self._history.signal(signal)
        return heard._replace(waiting=heard.waiting + 1)

    def check(self, trigger: Trigger) -> None:
        """Check nothing: that was done with the whole scenario (checking.py), where readers may come later."""

    def acted(self, trigger: Trigger) -> None:
        if isinstance(trigger, Counted):
            trigger.done += 1
        self._history.changed()


class Counted(Trigger):
    """A trigger that knows how often it has done its work, not only that it was time."""

    done = 0
