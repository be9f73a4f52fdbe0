# SPDX-License-Identifier: MIT
"""Finds out before a scenario is played what in it contradicts itself: it is gone through on paper.

What triggers, and programs that handle readers themselves, may have changed is uncertain, and left to the playing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...card.wording import counted
from ...p11.quirks import Quirks
from . import conditions as c
from . import steps as s
from . import verbs as v
from .expressions import names_in, read_expression
from .possible import Possible, does_nothing, never_fires, never_happens
from .triggers import is_of_pcsc

if TYPE_CHECKING:
    from .conditions import Recorded
    from .model import ScenarioFields
    from .triggers import TriggerModel

Path = tuple[str | int, ...]

PLACES = ("module", "socket", "control", "folder", "here", "python")
"""What ${...} can be beside saved names: module, sockets, the scenario's own folder, the file's, this Python."""

_PLACE = re.compile(r"\$\{([^}]*)\}")
_UNPLUGGED = object()
_UNCERTAIN = object()


class Contradiction(ValueError):
    """Something in a scenario cannot be; `path` says where: ("steps", 3, "remove")."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def check(scenario: ScenarioFields) -> None:
    """Raises Contradiction."""
    _Rehearsal(scenario).play()


class _Rehearsal:
    def __init__(self, scenario: ScenarioFields) -> None:
        self._scenario = scenario
        self._possible = Possible(scenario)
        self._readers: dict[str, Any] = {}
        self._last: dict[str, str] = {}
        self._standard = scenario.standard_card
        self._uncertain: set[str] = set()
        self._saved: set[str] = set(self._possible.readers)
        self._clients = set(scenario.clients)
        if s.APP in self._possible.clients or s.APP not in self._possible.programs:
            self._clients.add(s.APP)
        self._started: set[str] = set()
        """The clients that have made a call, and have not been ended since."""
        self._background: dict[str, s.Call | None] = {}
        self._unseen: dict[str, Path] = {}
        """Calls in the background that have to return something else than CKR_OK, and that no step has waited for."""
        self._busy: dict[tuple[str, str], str] = {}
        self._programs: dict[str, bool] = {}
        self._armed: dict[str, TriggerModel] = {}
        self._waited_for: dict[str, int] = {}
        self._marks = {c.START}
        self._just_done: tuple[str, ...] = ()
        self._path: Path = ()

    def play(self) -> None:
        """Raises Contradiction."""
        for name, card in self._scenario.readers.items():
            self._path = ("readers", name)
            if card is not None:
                self._known_card(card)
                self._not_elsewhere(card, name)
            self._now(name, card)
        for place, text in self._texts():
            self._path = place
            self._filled(text)
        self._arm(("triggers",), self._scenario.triggers)
        for number, failure in enumerate(self._scenario.fails_with):
            self._quirks(("fails-with", number, "quirks"), failure.quirks)
        self._quirks(("quirks",), self._scenario.quirks)
        self._steps(("steps",), self._scenario.steps)
        for name, path in self._unseen.items():
            raise Contradiction(path, f"what this call returns is never looked at: wait: {{background: {name}}}")

    def _texts(self) -> Iterator[tuple[Path, str]]:
        for part in ("environment", "files"):
            for name, text in getattr(self._scenario, part).items():
                yield (part, name), text
        for name, client in self._scenario.clients.items():
            for variable, text in client.environment.items():
                yield ("clients", name, "environment", variable), text

    def _quirks(self, path: Path, settings: list[str]) -> None:
        try:
            Quirks.parse(settings)
        except ValueError as error:
            raise Contradiction(path, str(error)) from None

    def _steps(self, path: Path, steps: list[Any]) -> None:
        for number, step in enumerate(steps):
            verb = c.kind_of(step, s.STEPS, "a step")
            self._path = (*path, number, verb)
            if not isinstance(step, s.Expect | s.Wait | s.Mark):
                self._just_done = ()
            if isinstance(step, s.Repeat):
                for _ in range(min(step.repeat, 2)):  # what fits once more fits ever after
                    self._steps((*path, number, "steps"), step.steps)
                continue
            getattr(self, f"_{verb.replace('-', '_')}", self._occupied)(step)

    def _refuse(self, message: str) -> Contradiction:
        return Contradiction(self._path, message)

    # Hands

    def _state(self, reader: str) -> Any:
        if reader not in self._possible.readers:
            known = ", ".join(sorted(self._possible.readers)) or "none"
            raise self._refuse(f"there is no reader {reader!r}; there are: {known}")
        return _UNCERTAIN if reader in self._uncertain else self._readers.get(reader, _UNPLUGGED)

    def _plugged(self, reader: str) -> Any:
        state = self._state(reader)
        if state is _UNPLUGGED:
            raise self._refuse(f"reader {reader!r} is not plugged in here")
        return state

    def _plug(self, step: v.Plug) -> None:
        if self._state(step.plug) not in (_UNPLUGGED, _UNCERTAIN):
            raise self._refuse(f"reader {step.plug!r} is plugged in already")
        self._now(step.plug, None, "plug")

    def _unplug(self, step: v.Unplug) -> None:
        had = self._plugged(step.unplug)
        self._now(step.unplug, _UNPLUGGED, "unplug", *(["remove"] if had not in (None, _UNCERTAIN) else []))

    def _insert(self, step: v.Insert) -> None:
        state = self._plugged(step.reader)
        if is_of_pcsc(step, self._scenario.cards):
            self._require_pcsc()
            return
        if step.card is not None:
            self._known_card(step.card)
        if state not in (None, _UNCERTAIN):
            raise self._refuse(f"reader {step.reader!r} holds the card {state!r} already; remove or swap it")
        card = step.card if step.card is not None else self._last.get(step.reader, self._standard)
        if step.card is not None or state is not _UNCERTAIN:
            self._not_elsewhere(card, step.reader)
        self._now(step.reader, card, "insert")

    def _remove(self, step: v.Remove) -> None:
        self._occupied(step)
        self._now(step.reader, None, "remove")

    def _swap(self, step: v.Swap) -> None:
        self._occupied(step)
        self._known_card(step.card)
        self._not_elsewhere(step.card, step.reader)
        if self._state(step.reader) == step.card:
            raise self._refuse(f"the card {step.card!r} is in reader {step.reader!r} already")
        self._now(step.reader, step.card, "remove", "insert")

    def _attach_pcsc(self, step: v.AttachPcsc) -> None:
        if isinstance(card := self._plugged(step.reader), str):
            raise self._refuse(f"reader {step.reader!r} holds the card {card!r} here; remove it first")
        self._uncertain.add(step.reader)

    def _detach_pcsc(self, step: v.DetachPcsc) -> None:
        self._plugged(step.reader)
        self._useful(step)

    def _require_pcsc(self) -> None:
        if not self._possible.has_pcsc:
            raise self._refuse("no step attaches a reader of PC/SC; attach-pcsc does")

    def _pcscd(self, _step: v.Pcscd) -> None:
        if not self._scenario.pcsc:
            raise self._refuse("this scenario has no pcscd; `pcsc: true` gives it one")

    def _reset(self, step: v.Reset) -> None:
        self._occupied(step)
        self._just_done = (f"reset {step.reader}",)

    def _close_sessions(self, step: v.CloseSessions) -> None:
        self._occupied(step)
        self._just_done = (f"close-sessions {step.reader}",)

    def _occupied(self, step: Any) -> None:
        """Of most verbs: there has to be a card, or somebody who waits."""
        self._useful(step)
        reader = getattr(step, "reader", None)
        if reader is not None and self._plugged(reader) is None:
            raise self._refuse(f"reader {reader!r} is empty here; insert a card first")

    def _useful(self, action: v.Step) -> None:
        reason = does_nothing(action, self._possible)
        if reason is not None:
            raise self._refuse(reason)

    def _now(self, reader: str, state: Any, *changes: str) -> None:
        self._readers[reader] = state
        if isinstance(state, str):
            self._last[reader] = state
        self._just_done = tuple(f"{change} {reader}" for change in changes)

    def _known_card(self, card: str) -> None:
        if card not in self._scenario.cards:
            known = ", ".join(self._scenario.cards) or "none"
            raise self._refuse(f"there is no card {card!r}; there are: {known}")

    def _not_elsewhere(self, card: str, reader: str) -> None:
        for other, state in self._readers.items():
            if state == card and other != reader and other not in self._uncertain:
                raise self._refuse(f"the card {card!r} is in reader {other!r}; remove it there first")

    def _later(self, step: v.Later) -> None:
        self._action(step)

    def _in_time(self, seconds: float) -> None:
        if seconds > self._scenario.deadline:
            raise self._refuse("that is longer than the whole scenario may take (its 'deadline')")

    # Triggers

    def _arm(self, step: Any, triggers: dict[str, TriggerModel] | None = None) -> None:
        path = step if triggers is not None else self._path
        for name, trigger in (step.arm if triggers is None else triggers).items():
            self._path = (*path, name)
            self._action(trigger.do)
            if trigger.on.reader is not None:
                self._state(trigger.on.reader)
            self._in_time(trigger.on.time or 0)
            reason = never_fires(trigger, self._possible)
            if reason is not None:
                raise self._refuse(f"this trigger can never fire: {reason}")
            self._armed[name] = trigger
            self._waited_for.pop(name, None)

    def _action(self, action: v.Step) -> None:
        """What may happen at any time from now on: names have to be right, the reader's state is uncertain."""
        if isinstance(action, v.Later):
            self._in_time(action.later)
            self._action(action.do)
        if isinstance(action, v.Pcscd):
            self._pcscd(action)
        self._useful(action)
        if isinstance(action, v.Insert | v.Swap):
            if is_of_pcsc(action, self._scenario.cards):
                self._require_pcsc()
            elif action.card is not None:
                self._known_card(action.card)
        reader = getattr(action, "reader", None)
        if reader is not None:
            self._state(reader)
            self._uncertain.add(reader)

    def _disarm(self, step: s.Disarm) -> None:
        self._known_trigger(step.disarm)

    def _known_trigger(self, name: str) -> TriggerModel:
        if name not in self._armed:
            known = ", ".join(self._armed) or "none"
            raise self._refuse(f"no trigger {name!r} is armed here; there are: {known}")
        return self._armed[name]

    # Programs

    def _call(self, step: s.Call) -> None:
        if step.client not in self._clients:
            known = ", ".join(sorted(self._clients))
            raise self._refuse(f"there is no client {step.client!r}; there are: {known}")
        place = (step.client, step.thread)
        if place in self._busy:
            raise self._refuse(
                f"thread {step.thread!r} of {step.client!r} may still be in {self._busy[place]!r}: wait for it first, "
                "or name another thread"
            )
        self._known_names(step.text.names)
        self._started.add(step.client)
        if step.text.function == "fork":
            children = {str(getattr(argument, "value", "")) for argument in step.text.arguments}
            self._clients |= children
            self._started |= children
        if step.background is None:
            self._saved |= set(step.text.targets)
            return
        if step.background in self._background:
            raise self._refuse(f"another call in the background is known as {step.background!r}")
        self._background[step.background] = step
        if step.text.values - {0} or step.text.dies:
            self._unseen[step.background] = self._path
        self._busy[place] = step.background

    def _known_names(self, names: set[str]) -> None:
        for name in sorted(names - self._saved):
            raise self._refuse(f"nothing is saved under {name!r} before this step")

    def _run(self, step: s.Run) -> None:
        name = step.known_as
        if name in self._clients:
            raise self._refuse(f"{name!r} is a client here, which makes calls; give this program another 'name'")
        if self._programs.get(name):
            raise self._refuse(f"{name!r} is running already; give this one another 'name'")
        for text in (*step.words, *step.environment.values(), *step.files.values(), step.input or ""):
            self._filled(text)
        for reader in step.handles:
            self._state(reader)
        self._uncertain |= set(step.handles)
        self._programs[name] = step.background

    def _apdu(self, step: s.Apdu) -> None:
        self._occupied(step)
        self._filled(step.command)
        if step.data is not None:
            self._saved |= set(step.data.groupindex)

    def _filled(self, text: str) -> None:
        for name in _PLACE.findall(text):
            if name not in PLACES and name not in self._saved:
                known = ", ".join(PLACES)
                raise self._refuse(f"${{{name}}} is neither a saved name nor one of {known}")

    def _send(self, step: s.Send) -> None:
        for name, text in step.send.items():
            self._running(name)
            self._filled(text)

    def _ask(self, step: s.Ask) -> None:
        self._running(step.program)
        self._filled(step.question)
        self._saved |= set(step.answer.groupindex)

    def _stop(self, step: s.Stop) -> None:
        if step.stop in self._clients:
            self._forget_client(step.stop)
            return
        self._running(step.stop)
        self._programs[step.stop] = False

    def _exit(self, step: s.Exit) -> None:
        if step.exit not in self._clients:
            raise self._refuse(f"there is no client {step.exit!r}")
        self._forget_client(step.exit)

    def _forget_client(self, client: str) -> None:
        if client not in self._started:
            raise self._refuse(f"the client {client!r} does not run here: it makes no call before, or has been ended")
        self._started.discard(client)
        for place in [place for place in self._busy if place[0] == client]:
            name = self._busy.pop(place)
            self._background.pop(name)
            self._unseen.pop(name, None)

    def _running(self, name: str) -> None:
        if not self._programs.get(name):
            raise self._refuse(f"no program {name!r} runs in the background here")

    # Waits and expectations

    def _mark(self, step: s.Mark) -> None:
        self._marks.add(step.mark)

    def _wait(self, step: s.Wait) -> None:
        self._path = (*self._path, c.kind_of(step.wait, c.CONDITIONS, "what happens"))
        condition = step.wait
        match condition:
            case c.EventHappens() if any(done in self._just_done for done in self._events(condition)):
                raise self._refuse("this wait is over before it begins: the step before it does just that")
            case c.TriggerFires() if condition.fired <= self._waited_for.get(condition.trigger, 0):
                raise self._refuse("this wait is over before it begins: it has been waited for already")
            case c.ProgramDoes() if condition.is_to_end and self._programs.get(condition.program) is False:
                raise self._refuse(f"this wait is over before it begins: {condition.program!r} has ended")
        self._condition(condition)

    def _events(self, condition: c.EventHappens) -> list[str]:
        readers = [condition.reader] if condition.reader is not None else sorted(self._possible.readers)
        return [f"{condition.event} {reader}" for reader in readers]

    def _expect(self, step: s.Expect) -> None:
        self._condition(step.expect)

    def _condition(self, condition: Any) -> None:
        if isinstance(condition, c.Recorded):
            self._recorded(condition)
        match condition:
            case c.TriggerFires():
                trigger = self._known_trigger(condition.trigger)
                if trigger.times is not None and condition.fired > trigger.times:
                    raise self._refuse(f"{condition.trigger!r} fires {counted(trigger.times, 'time')} at most")
                self._waited_for[condition.trigger] = condition.fired
            case c.BackgroundReturns():
                self._back(condition.background)
            case c.ProgramDoes():
                self._program(condition)
            case c.SessionIs():
                self._known_names(names_in(read_expression(condition.session)))
            case c.ValueIs():
                self._known_names(names_in(read_expression(condition.value)))
            case c.NothingHappens():
                self._nothing(condition)

    def _recorded(self, condition: Recorded) -> None:
        if condition.since is not None and condition.since not in self._marks:
            raise self._refuse(f"there is no mark {condition.since!r} before this step")
        reader = getattr(condition, "reader", None)
        if reader is not None:
            self._state(reader)
        reason = never_happens(condition, self._possible)
        if reason is not None:
            raise self._refuse(f"this can never come: {reason}")

    def _back(self, name: str) -> None:
        if name not in self._background:
            raise self._refuse(f"no call {name!r} is under way in the background here")
        call = self._background.pop(name)
        self._unseen.pop(name, None)
        self._busy = {place: busy for place, busy in self._busy.items() if busy != name}
        if call is not None:
            self._saved |= set(call.text.targets)

    def _program(self, condition: c.ProgramDoes) -> None:
        if condition.program not in self._programs:
            known = ", ".join(self._programs) or "none"
            raise self._refuse(f"no program {condition.program!r} has been started here; there are: {known}")
        if condition.running:
            self._running(condition.program)
        if condition.is_to_end:
            self._programs[condition.program] = False

    def _nothing(self, condition: c.NothingHappens) -> None:
        self._in_time(condition.for_)
        match condition.nothing:
            case c.BackgroundReturns(background=name):
                self._unseen.pop(name, None)
                if name not in self._background:
                    raise self._refuse(f"no call {name!r} is under way in the background here")
            case c.ProgramDoes(program=name):
                self._running(name)
            case c.TriggerFires(trigger=name):
                self._known_trigger(name)
            case c.EventHappens(reader=str() as reader) | c.ApduHappens(reader=str() as reader):
                self._state(reader)
