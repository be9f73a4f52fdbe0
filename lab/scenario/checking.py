# SPDX-License-Identifier: MIT
"""Checks before a scenario is played that its steps do not contradict each other, by following them one by one.

What triggers, and programs that handle readers themselves, may have changed is uncertain, and not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ...p11.quirks import Quirks
from . import conditions as c
from . import steps as s
from . import verbs as v
from .alternatives import kind_of
from .condition import Refusal
from .possible import does_nothing, gather, never_fires
from .tracked import CallStates, Path, ProgramStates, ReaderStates, TriggerStates
from .triggers import is_of_pcsc

if TYPE_CHECKING:
    from .model import ScenarioFields
    from .triggers import TriggerModel

PLACES = ("module", "socket", "control", "folder", "here", "python")
"""What ${...} can be beside saved names: module, sockets, the scenario's own folder, the file's, this Python."""

_PLACE = re.compile(r"\$\{([^}]*)\}")


class Contradiction(ValueError):
    """A contradiction in a scenario; `path` is its location: ("steps", 3, "remove")."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def check(scenario: ScenarioFields) -> None:
    """Check that nothing in a scenario contradicts itself. Raises Contradiction."""
    StaticCheck(scenario).run()


class StaticCheck:
    """Follow the steps of a scenario without playing it: the state of its readers, calls, programs and triggers."""

    def __init__(self, scenario: ScenarioFields) -> None:
        self.possible = gather(scenario)
        self._scenario = scenario
        self._readers = ReaderStates(self.possible.readers, scenario.cards, scenario.standard_card)
        clients = set(scenario.clients)
        if s.APP in self.possible.clients or s.APP not in self.possible.programs:
            clients.add(s.APP)
        self._calls = CallStates(clients)
        self._programs = ProgramStates()
        self._triggers = TriggerStates()
        self._saved: set[str] = set(self.possible.readers)
        self._marks = {c.START}
        self._just_done: tuple[str, ...] = ()
        self._path: Path = ()

    def run(self) -> None:
        """Check the whole scenario. Raises Contradiction."""
        try:
            self._beginning()
            self._steps(("steps",), self._scenario.steps)
        except Refusal as refusal:
            raise Contradiction(self._path, str(refusal)) from None
        for name, path in self._calls.never_seen():
            raise Contradiction(path, f"what this call returns is never looked at: wait: {{background: {name}}}")

    def _beginning(self) -> None:
        readers = self._scenario.readers
        for name, card in readers.items():
            self._path = ("readers", name)
            self._readers.begin_with(name, card)
        for path, text in self._texts():
            self._path = path
            self._filled(text)
        self._arm_all(("triggers",), self._scenario.triggers)
        for number, failure in enumerate(self._scenario.fails_with):
            self._quirks(("fails-with", number, "quirks"), failure.quirks)
        self._quirks(("quirks",), self._scenario.quirks)

    def _texts(self) -> Iterator[tuple[Path, str]]:
        for part in ("environment", "files"):
            for name, text in getattr(self._scenario, part).items():
                yield (part, name), text
        clients = self._scenario.clients
        for name, client in clients.items():
            for variable, text in client.environment.items():
                yield ("clients", name, "environment", variable), text

    def _quirks(self, path: Path, settings: list[str]) -> None:
        self._path = path
        try:
            Quirks.parse(settings)
        except ValueError as error:
            raise Refusal(str(error)) from None

    def _steps(self, path: Path, steps: list[Any]) -> None:
        for number, step in enumerate(steps):
            verb = kind_of(step, s.STEPS, "a step")
            self._path = (*path, number, verb)
            if not isinstance(step, s.Expect | s.Wait | s.Mark):
                self._just_done = ()
            if isinstance(step, s.Repeat):
                for _ in range(min(step.repeat, 2)):  # what fits once more fits ever after
                    self._steps((*path, number, "steps"), step.steps)
                continue
            getattr(self, f"_{verb.replace('-', '_')}", self._occupied)(step)

    # Readers and cards

    def _did(self, reader: str, *changes: str) -> None:
        self._just_done = tuple(f"{change} {reader}" for change in changes)

    def _plug(self, step: v.Plug) -> None:
        self._readers.plug(step.plug)
        self._did(step.plug, "plug")

    def _unplug(self, step: v.Unplug) -> None:
        removes = self._readers.unplug(step.unplug)
        self._did(step.unplug, "unplug", *(["remove"] if removes else []))

    def _insert(self, step: v.Insert) -> None:
        if is_of_pcsc(step, self._scenario.cards):
            self._readers.plugged(step.reader)
            self._require_pcsc()
            return
        self._readers.insert(step.reader, step.card)
        self._did(step.reader, "insert")

    def _remove(self, step: v.Remove) -> None:
        self._occupied(step)
        self._readers.set(step.reader, None)
        self._did(step.reader, "remove")

    def _swap(self, step: v.Swap) -> None:
        self._occupied(step)
        self._readers.swap(step.reader, step.card)
        self._did(step.reader, "remove", "insert")

    def _attach_pcsc(self, step: v.AttachPcsc) -> None:
        self._readers.attach(step.reader)

    def _detach_pcsc(self, step: v.DetachPcsc) -> None:
        self._readers.plugged(step.reader)
        self._useful(step)

    def _require_pcsc(self) -> None:
        if not self.possible.has_pcsc:
            raise Refusal("no step attaches a reader of PC/SC; attach-pcsc does")

    def _pcscd(self, _step: v.Pcscd) -> None:
        if not self._scenario.pcsc:
            raise Refusal("this scenario has no pcscd; `pcsc: true` gives it one")

    def _reset(self, step: v.Reset) -> None:
        self._occupied(step)
        self._did(step.reader, "reset")

    def _close_sessions(self, step: v.CloseSessions) -> None:
        self._occupied(step)
        self._did(step.reader, "close-sessions")

    def _occupied(self, step: Any) -> None:
        """Check most verbs: they need a card, or a step that waits for a signal."""
        self._useful(step)
        reader = getattr(step, "reader", None)
        if reader is not None:
            self._readers.require_card(reader)

    def _useful(self, action: v.Step) -> None:
        reason = does_nothing(action, self.possible)
        if reason is not None:
            raise Refusal(reason)

    # Triggers

    def _later(self, step: v.Later) -> None:
        self._action(step)

    def _arm(self, step: s.Arm) -> None:
        self._arm_all(self._path, step.arm)

    def _arm_all(self, path: Path, triggers: dict[str, TriggerModel]) -> None:
        for name, trigger in triggers.items():
            self._path = (*path, name)
            self._action(trigger.do)
            if trigger.reader is not None:
                self._readers.state(trigger.reader)
            self.require_duration(trigger.time or 0)
            reason = never_fires(trigger, self.possible)
            if reason is not None:
                raise Refusal(f"this trigger can never fire: {reason}")
            self._triggers.arm(name, trigger)

    def _action(self, action: v.Step) -> None:
        """Check what may happen at any time from now on: names have to be right, the reader's state is uncertain."""
        if isinstance(action, v.Later):
            self.require_duration(action.later)
            self._action(action.do)
        if isinstance(action, v.Pcscd):
            self._pcscd(action)
        self._useful(action)
        if isinstance(action, v.Insert | v.Swap):
            if is_of_pcsc(action, self._scenario.cards):
                self._require_pcsc()
            elif action.card is not None:
                self._readers.require_known(action.card)
        reader = getattr(action, "reader", None)
        if reader is not None:
            self._readers.make_uncertain(reader)

    def _disarm(self, step: s.Disarm) -> None:
        self._triggers.require(step.disarm)

    # Calls and programs

    def _call(self, step: s.Call) -> None:
        self._calls.require_free(step.client, step.thread)
        self.require_saved(step.names)
        for client in (step.client, *step.children):
            self._calls.start(client)
        if step.background is None:
            self._saved |= step.targets
        else:
            self._calls.begin(step, step.background, self._path)

    def _run(self, step: s.Run) -> None:
        name = step.known_as
        if name in self._calls.clients:
            raise Refusal(f"{name!r} is a client here, which makes calls; give this program another 'name'")
        self._programs.start(name, step.background)
        for text in (*step.words, *step.environment.values(), *step.files.values(), step.input or ""):
            self._filled(text)
        for reader in step.handles:
            self._readers.make_uncertain(reader)

    def _apdu(self, step: s.Apdu) -> None:
        self._occupied(step)
        self._filled(step.command)
        self._save_groups(step.data)

    def _filled(self, text: str) -> None:
        for name in _PLACE.findall(text):
            if name not in PLACES and name not in self._saved:
                known = ", ".join(PLACES)
                raise Refusal(f"${{{name}}} is neither a saved name nor one of {known}")

    def _save_groups(self, pattern: re.Pattern[str] | None) -> None:
        if pattern is not None:
            self._saved |= set(pattern.groupindex)

    def _send(self, step: s.Send) -> None:
        for name, text in step.send.items():
            self._programs.require_running(name)
            self._filled(text)

    def _ask(self, step: s.Ask) -> None:
        self._programs.require_running(step.program)
        self._filled(step.question)
        self._save_groups(step.answer)

    def _stop(self, step: s.Stop) -> None:
        if step.stop in self._calls.clients:
            self._calls.exit(step.stop)
            return
        self._programs.require_running(step.stop)
        self._programs.end(step.stop)

    def _exit(self, step: s.Exit) -> None:
        if step.exit not in self._calls.clients:
            raise Refusal(f"there is no client {step.exit!r}")
        self._calls.exit(step.exit)

    # Waits and expectations

    def _mark(self, step: s.Mark) -> None:
        self._marks.add(step.mark)

    def _wait(self, step: s.Wait) -> None:
        self._path = (*self._path, kind_of(step.wait, c.CONDITIONS, "what happens"))
        condition = step.wait
        condition.check_wait(self)
        condition.check(self)

    def _expect(self, step: s.Expect) -> None:
        condition = step.expect
        condition.check(self)

    # What conditions ask for (condition.StaticState)

    def require_mark(self, name: str) -> None:
        if name not in self._marks:
            raise Refusal(f"there is no mark {name!r} before this step")

    def require_reader(self, name: str) -> None:
        self._readers.state(name)

    def require_trigger(self, name: str) -> int | None:
        return self._triggers.require(name)

    def await_trigger(self, name: str, fired: int) -> None:
        self._triggers.wait(name, fired)

    def was_awaited(self, trigger: str) -> int:
        return self._triggers.awaited(trigger)

    def require_saved(self, names: Iterable[str]) -> None:
        for name in sorted(set(names) - self._saved):
            raise Refusal(f"nothing is saved under {name!r} before this step")

    def require_duration(self, seconds: float) -> None:
        if seconds > self._scenario.deadline:
            raise Refusal("that is longer than the whole scenario may take (its 'deadline')")

    def require_started(self, program: str) -> None:
        self._programs.require_started(program)

    def require_running(self, program: str) -> None:
        self._programs.require_running(program)

    def end_program(self, program: str) -> None:
        self._programs.end(program)

    def has_ended(self, program: str) -> bool:
        return self._programs.has_ended(program)

    def require_background(self, name: str) -> None:
        self._calls.require_background(name)

    def return_background(self, name: str) -> None:
        self._saved |= self._calls.returned(name)

    def was_just_done(self, change: str, reader: str | None) -> bool:
        readers = self.possible.readers if reader is None else (reader,)
        return any(f"{change} {each}" in self._just_done for each in readers)
