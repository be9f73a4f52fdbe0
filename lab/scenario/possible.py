# SPDX-License-Identifier: MIT
"""Gathers what the steps and triggers of a scenario can bring about, and says which of them come to nothing."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ...card.wording import counted
from ..clients.call_process.functions import FUNCTIONS
from ..simulator.verbs import TABLE
from . import steps as s
from . import verbs as v
from .alternatives import kind_of
from .possibilities import Possibilities, too_few

if TYPE_CHECKING:
    from .model import ScenarioFields
    from .triggers import TriggerModel

_ANY = 10**9
"""How often a trigger or PC/SC may do something: there is no limit."""

_MADE_BY_THE_MODULE = ("C_GetSlotList", "C_GetSlotInfo")
"""Calls that the module makes by itself, when it is initialised or finds another simulator."""


def gather(scenario: ScenarioFields) -> Possibilities:
    """Gather what can happen from a whole scenario, whatever the order of its steps."""
    possible = Possibilities(readers=set(scenario.readers))
    for step in scenario.steps:
        _add(possible, step, 1)
    for client in possible.clients:
        possible.calls[client, "C_Initialize"] += 1
    for trigger in scenario.triggers.values():
        _add_trigger(possible, trigger)
    return possible


def _add(possible: Possibilities, step: Any, times: int) -> None:
    match step:
        case s.Repeat():
            for each in step.steps:
                _add(possible, each, times * step.repeat)
        case s.Call():
            _add_call(possible, step, times)
        case s.Run():
            possible.runs_programs = True
            possible.programs.add(step.known_as)
        case s.Apdu():
            possible.sends_apdus = True
        case s.Send():
            possible.spoken_to |= set(step.send)
        case s.Ask():
            possible.spoken_to.add(step.program)
        case v.Signal():
            possible.signals[step.signal] += times
        case v.Crash():
            possible.crashes = True
        case s.Arm():
            for trigger in step.arm.values():
                _add_trigger(possible, trigger)
        case s.Wait():
            possible.awaited |= step.wait.signals()
        case s.Expect():
            possible.awaited |= step.expect.signals()
        case v.Hang():
            possible.gates.add(step.hang or "")
        case v.Later():
            _add(possible, step.do, times)
        case v.Plug():
            possible.readers.add(step.plug)
        case v.AttachPcsc():
            possible.has_pcsc = True
            times = _ANY
    row = TABLE.get(kind_of(step, s.STEPS | v.FAULTS, "a step"))
    for change in row.changes if row is not None else ():
        possible.events[change, step.reader] += times


def _add_call(possible: Possibilities, step: s.Call, times: int) -> None:
    possible.clients.add(step.client)
    possible.threads.setdefault(step.client, set()).add(step.thread)
    for name in FUNCTIONS[step.text.function].calls:
        possible.calls[step.client, name] += times


def _add_trigger(possible: Possibilities, trigger: TriggerModel) -> None:
    _add(possible, trigger.do, _ANY)
    if trigger.on.signal is not None:
        possible.awaited.add(trigger.on.signal)


def never_fires(trigger: TriggerModel, possible: Possibilities) -> str | None:
    """Return why a trigger cannot fire, None if it can."""
    on = trigger.on
    if possible.runs_programs:
        return None
    if on.event is not None:
        return possible.why_no_event(on.event, on.reader, trigger.nth)
    if on.signal is not None:
        return possible.why_no_signal(on.signal, trigger.nth)
    if on.time is not None:
        return None
    if on.call is None and on.application is None and possible.sends_apdus:
        return None
    pattern, application = on.call or "*", on.application or "*"
    count = possible.count_calls(pattern, application)
    if count == 0:
        return f"no step calls {pattern!r}" + (f" in {application!r}" if application != "*" else "")
    threads = possible.count_threads(application)
    if on.thread is not None and on.thread > threads:
        return f"calls are made in {counted(threads, 'thread')} of a client at most, not {on.thread}"
    is_sure = on.call is not None and not any(fnmatchcase(name, on.call) for name in _MADE_BY_THE_MODULE)
    if is_sure and "ins" not in on.model_fields_set and count < trigger.nth:
        return too_few(f"{pattern!r} is called", count, trigger.nth)
    return None


def does_nothing(action: v.Step, possible: Possibilities) -> str | None:
    """Return why an action has no effect, None if it can have one."""
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
