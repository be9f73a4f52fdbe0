# SPDX-License-Identifier: MIT
"""What can happen at all in a scenario: events, calls and words that its steps, triggers and programs bring about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ...card.wording import counted
from ..clients.call_process.functions import FUNCTIONS
from ..simulator.verbs import TABLE
from . import conditions as c
from . import steps as s
from . import verbs as v

if TYPE_CHECKING:
    from .model import ScenarioFields
    from .triggers import TriggerModel

_ANY = 10**9
"""So often may happen what a trigger or PC/SC does."""

_MADE_BY_THE_MODULE = ("C_GetSlotList", "C_GetSlotInfo")
"""Calls that the module makes by itself, when it is initialised or finds another simulator."""


class Possible:
    """Gathered once from a whole scenario, whatever the order of its steps."""

    def __init__(self, scenario: ScenarioFields) -> None:
        self.readers: set[str] = set(scenario.readers)
        """Every reader that is plugged in at some time."""
        self.runs_programs = False
        """Whether anything runs that may do whatever it likes."""
        self.sends_apdus = False
        """Whether a step sends one."""
        self.has_pcsc = False
        """Whether the cards of a reader come from PC/SC at some time."""
        self.events: Counter[tuple[str, str]] = Counter()
        """How often there is a change of a reader, at most."""
        self.words: Counter[str] = Counter()
        """How often a step says a word."""
        self.crashes = False
        """Whether the simulator is gone at some time."""
        self.threads: dict[str, set[str]] = {}
        """The threads in which a client makes calls."""
        self.awaited: set[str] = set()
        """The words for which a trigger or a step waits."""
        self.gates: set[str] = set()
        """Those at which a trigger lets something hang."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """How often a client (by name) makes a call, at most."""
        self.clients: set[str] = set()
        """The built-in clients that make calls."""
        self.programs: set[str] = set()
        """The programs that are run, by the names by which they are known."""
        self.spoken_to: set[str] = set()
        """Those that are sent or asked something at some time."""
        for step, times in _walk(scenario.steps, 1):
            self._add(step, times)
            if isinstance(step, s.Call):
                self.threads.setdefault(step.client, set()).add(step.thread)
                for name in FUNCTIONS[step.text.function].calls:
                    self.calls[step.client, name] += times
                self.clients.add(step.client)
        for client in self.clients:
            self.calls[client, "C_Initialize"] += 1
        self.has_loops = any(isinstance(step, s.Repeat) for step, _ in _walk(scenario.steps, 1))
        for trigger in scenario.triggers.values():
            self._add_trigger(trigger)

    def _add(self, step: Any, times: int) -> None:
        match step:
            case s.Run():
                self.runs_programs = True
                self.programs.add(step.known_as)
            case s.Apdu():
                self.sends_apdus = True
            case s.Send():
                self.spoken_to |= set(step.send)
            case s.Ask():
                self.spoken_to.add(step.program)
            case v.Signal():
                self.words[step.signal] += times
            case v.Crash():
                self.crashes = True
            case s.Arm():
                for trigger in step.arm.values():
                    self._add_trigger(trigger)
            case s.Wait():
                self._add_awaited(step.wait)
            case s.Expect():
                self._add_awaited(step.expect)
            case v.Hang():
                self.gates.add(step.hang or "")
            case v.Later():
                self._add(step.do, times)
            case v.Plug():
                self.readers.add(step.plug)
            case v.AttachPcsc():
                self.has_pcsc = True
                times = _ANY
        row = TABLE.get(c.kind_of(step, s.STEPS | v.FAULTS, "a step"))
        for change in row.changes if row is not None else ():
            self.events[change, step.reader] += times

    def _add_trigger(self, trigger: TriggerModel) -> None:
        self._add(trigger.do, _ANY)
        if trigger.on.signal is not None:
            self.awaited.add(trigger.on.signal)

    def _add_awaited(self, condition: Any) -> None:
        if isinstance(condition, c.NothingHappens):
            condition = condition.nothing
        if isinstance(condition, c.SignalHappens):
            self.awaited.add(condition.signal)

    def count_calls(self, pattern: str, application: str = "*") -> int:
        """How many calls there are at most that fit, made by the built-in clients."""
        return sum(
            count
            for (client, name), count in self.calls.items()
            if fnmatchcase(name, pattern) and fnmatchcase(client[:15], application)
        )


def never_fires(trigger: TriggerModel, possible: Possible) -> str | None:
    """Why a trigger cannot fire, if it cannot."""
    on = trigger.on
    if possible.runs_programs:
        return None
    if on.event is not None:
        return _no_event(on.event, on.reader, possible, trigger.nth)
    if on.signal is not None:
        if on.signal not in possible.words:
            return f"nobody says {on.signal!r}, and no program runs that could"
        count = possible.words[on.signal]
        return _too_few(f"{on.signal!r} is said", count, trigger.nth)
    if on.time is not None:
        return None
    if on.call is None and on.application is None and possible.sends_apdus:
        return None
    pattern, application = on.call or "*", on.application or "*"
    count = possible.count_calls(pattern, application)
    if count == 0:
        return f"no step calls {pattern!r}" + (f" in {application!r}" if application != "*" else "")
    threads = max(len(each) for client, each in possible.threads.items() if fnmatchcase(client[:15], application))
    if on.thread is not None and on.thread > threads:
        return f"calls are made in {counted(threads, 'thread')} of a client at most, not {on.thread}"
    is_sure = on.call is not None and not any(fnmatchcase(name, on.call) for name in _MADE_BY_THE_MODULE)
    if is_sure and "ins" not in on.model_fields_set and count < trigger.nth:
        return _too_few(f"{pattern!r} is called", count, trigger.nth)
    return None


def _too_few(what: str, count: int, nth: int) -> str | None:
    return f"{what} {counted(count, 'time')} at most, not {nth}" if count < nth else None


def does_nothing(action: v.Step, possible: Possible) -> str | None:
    """Why nobody hears a word, nothing waits at a gate, or it is so already, if that is so."""
    if possible.runs_programs:
        return None
    match action:
        case v.Signal(signal=word) if word not in possible.awaited:
            return f"nobody waits for {word!r}: no trigger and no step does, and no program runs that could"
        case v.Release(release=gate) if (gate or "") not in possible.gates:
            return f"nothing hangs at gate {gate or ''!r}: no trigger does that, and no program runs that could"
        case v.Restart() if not possible.crashes:
            return "the simulator is there: no step and no trigger crashes it, and no program runs that could"
        case v.DetachPcsc() if not possible.has_pcsc:
            return "no step attaches a reader of PC/SC; attach-pcsc does"
    return None


def never_happens(condition: c.Recorded, possible: Possible) -> str | None:
    """Why something cannot come, if it cannot."""
    if possible.runs_programs:
        return None
    match condition:
        case c.EventHappens():
            return _no_event(condition.event, condition.reader, possible)
        case c.SignalHappens() if condition.signal not in possible.words:
            return f"nobody says {condition.signal!r}, and no program runs that could"
        case c.CallHappens() if not possible.count_calls(condition.call, condition.application):
            return f"no step calls {condition.call!r}, and no program runs that could"
        case c.ApduHappens() if not possible.calls and not possible.sends_apdus:
            return "no step makes a call, and no program runs that could"
    return None


def _no_event(change: str, reader: str | None, possible: Possible, nth: int = 1) -> str | None:
    found = {each: count for each, count in possible.events.items() if each[0] == change and reader in (None, each[1])}
    if found:
        return _too_few(f"there is a {change!r}", sum(found.values()), nth)
    where = f"reader {reader!r}" if reader is not None else "any reader"
    return f"no step or trigger makes a {change!r} of {where}, and no program runs that could"


def _walk(steps: list[Any], times: int) -> Iterator[tuple[Any, int]]:
    for step in steps:
        yield step, times
        if isinstance(step, s.Repeat):
            yield from _walk(step.steps, times * step.repeat)
