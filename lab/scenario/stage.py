# SPDX-License-Identifier: MIT
"""Carries out the steps of one scenario: a simulator, clients, programs, triggers and saved values.

Nothing here waits without a deadline: what is awaited comes through the history, and what the simulator does on behalf
of a step is done in a thread that can be left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from ...card.profiles import CardRequest
from ...p11.quirks import Quirks
from ...reader.errors import BenchError, CardRemoved
from ..scratch import Scratch
from ..simulator import Simulator
from ..trigger import Trigger
from . import steps as s
from . import verbs as v
from .clients import ClientProcess, Clients, Pending
from .conditions import START
from .expressions import DIED, ExpressionError, evaluate
from .fields import in_words
from .history import History, Point
from .model import Scenario
from .places import filled, places
from .programs import Program, exit_in_words, kill_strays
from .triggers import TriggerModel, arguments_of
from .verdicts import StepFailed, Verdicts


class Played(Simulator):
    """A simulator that tells a history of words and of triggers that have done their work."""

    def __init__(self, history: History, quirks: Quirks) -> None:
        super().__init__(quirks=quirks)
        self._history = history
        self.bench.trace.subscribe(history.add)
        self.bench.watch(history.watch)

    def signal(self, signal: str) -> None:
        super().signal(signal)
        self._history.say(signal)

    def acted(self, trigger: Trigger) -> None:
        if isinstance(trigger, Counted):
            trigger.done += 1
        self._history.changed()


class Counted(Trigger):
    """A trigger that knows how often it has done its work, not only that it was time."""

    done = 0


class Stage:
    """Where a scenario is played; a context manager. `deadline` is of the monotonic clock, for everything."""

    def __init__(self, scenario: Scenario, here: Path, quirks: Quirks) -> None:
        self.scenario = scenario
        self.history = History()
        self.saved: dict[str, Any] = {}
        self.programs: dict[str, Program] = {}
        self.background: dict[str, tuple[s.Call, Pending]] = {}
        self.triggers: dict[str, tuple[int, Counted]] = {}
        self.marks: dict[str, Point] = {START: Point()}
        self.done_since = Point()
        self.deadline = monotonic() + scenario.deadline
        self._here = here
        self._undo = contextlib.ExitStack()
        try:
            scratch = self._undo.enter_context(Scratch())
            self.folder = scratch.path / "work"
            self.folder.mkdir(mode=0o700)
            self.simulator = self._undo.enter_context(Played(self.history, quirks))
            self._undo.callback(kill_strays, self.simulator.module_socket)
            self.clients = Clients(self.folder, self.history.changed)
            self._undo.callback(self.clients.close)
            self._undo.callback(self._end_programs)
            self._prepare()
        except BaseException:
            self._undo.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def _prepare(self) -> None:
        """Cards, readers, files and triggers; what takes long is done before the clock runs."""
        self.cards = {name: self._card(name) for name in self.scenario.cards}
        for reader, card in self.scenario.readers.items():
            self.simulator.plug(reader)
            if card is not None:
                self.simulator.insert(reader, self.cards[card])
        for ready in self.cards.values():
            self.simulator.prepare(ready)
        self._names: dict[str, Any] = places(self.simulator.environment, self.folder, self._here)
        self._write(self.scenario.files)
        for name, trigger in self.scenario.triggers.items():
            self._arm_one(name, trigger)
        self.deadline = monotonic() + self.scenario.deadline

    def _card(self, name: str) -> Path | CardRequest:
        card = self.scenario.cards[name]
        if card.path is None:
            return card.request(name.capitalize())
        copy = self.folder / f"{name}.card"
        shutil.copyfile(self._here / card.path, copy)
        copy.chmod(0o600)
        return copy

    def _write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(content))

    def fill(self, text: str) -> str:
        """The text with ${...} filled in."""
        return filled(text, {**self._names, **self.saved})

    def until(self, within: float | None) -> float:
        """The deadline of a wait that begins now."""
        return min(monotonic() + (within if within is not None else self.scenario.within), self.deadline)

    # Steps

    def do(self, step: Any) -> None:
        """Carry out a step. Raises StepFailed."""
        if not isinstance(step, s.Expect | s.Wait | s.Mark):
            self.done_since = self.history.now
        match step:
            case s.Call():
                self._call(step)
            case s.Run():
                self._run(step)
            case s.Send():
                self._send(step)
            case s.Ask():
                self._ask(step)
            case s.Stop():
                self._stop(step)
            case s.Exit():
                self._exit(step)
            case s.Mark():
                self.marks[step.mark] = self.history.now
            case s.Wait():
                Verdicts(self).require(step.wait, self.until(step.within), step.within or self.scenario.within)
            case s.Expect():
                Verdicts(self).require(step.expect, self.until(step.within), step.within or self.scenario.within)
            case s.Arm():
                for name, trigger in step.arm.items():
                    self._arm_one(name, trigger)
            case s.Disarm():
                self.simulator.disarm(self.triggers[step.disarm][0])
            case v.Signal():
                self._by_hand("signal", {"signal": step.signal})
            case _:
                self._by_hand(*arguments_of(step, self.cards))

    def _by_hand(self, verb: str, arguments: dict[str, Any]) -> None:
        """A verb of the simulator, in a thread of its own: a card that hangs may hold it up."""
        trouble: list[Exception | None] = []

        def act() -> None:
            try:
                getattr(self.simulator, verb.replace("-", "_"))(**arguments)
                trouble.append(None)
            except Exception as error:
                trouble.append(error)
            self.history.changed()

        threading.Thread(target=act, name=verb, daemon=True).start()
        if not self.history.wait(lambda: bool(trouble), self.until(None)):
            raise StepFailed(f"{verb} does not come to an end: the card is at work, and does not let go")
        if isinstance(trouble[0], BenchError | CardRemoved):
            raise StepFailed(f"{verb} is not possible: {trouble[0]}")
        if trouble[0] is not None:
            raise trouble[0]

    def _arm_one(self, name: str, model: TriggerModel) -> None:
        made = model.trigger(self.cards)
        trigger = Counted(
            made.verb,
            made.arguments,
            made.on,
            nth=made.nth,
            times=made.times,
            probability=made.probability,
            seed=made.seed,
        )
        if name in self.triggers:
            self.simulator.disarm(self.triggers[name][0])
        self.triggers[name] = 0, trigger
        self.triggers[name] = self.simulator.arm(trigger), trigger

    # Calls

    def _call(self, step: s.Call) -> None:
        text = step.text
        client = self._client(step.client, initialize=text.function != "C_Initialize")
        try:
            arguments = [self._value(argument) for argument in text.arguments]
        except ExpressionError as error:
            raise StepFailed(str(error)) from None
        if text.function == "fork":
            arguments.append(self.clients.await_child(arguments[0]))
        pending = client.call(step.thread, text.function, arguments)
        if text.function in ("C_Initialize", "C_Finalize"):
            client.initialized = True  # from now on it is the scenario's business
        if step.background is not None:
            self.background[step.background] = step, pending
            return
        self.history.wait(lambda: pending.is_over, self.until(step.within))
        self.settle(step, pending, step.within or self.scenario.within)
        if text.function == "fork":
            child = arguments[0]
            if not self.history.wait(lambda: child in self.clients.by_name, self.until(step.within)):
                raise StepFailed(f"the child {child!r} does not begin")
            self.clients.by_name[child].initialized = True
            self.clients.by_name[child].pid = pending.answer[1] if isinstance(pending.answer, tuple) else 0

    def settle(self, step: s.Call, pending: Pending, within: float) -> None:
        """Hold what came of a call against what was expected, and save the result. Raises StepFailed."""
        text = step.text
        awaited = _awaited(step)
        if not pending.is_over:
            raise StepFailed(f"awaited {awaited}, but it has not returned within {in_words(within)}")
        if isinstance(pending.answer, str):
            raise StepFailed(pending.answer)
        if text.dies or pending.answer is None:
            if not (text.dies and pending.is_lost):
                raise StepFailed(f"awaited {awaited}, but {_came(pending)}")
            return
        value, result = pending.answer
        if text.values and value not in text.values:
            raise StepFailed(f"awaited {awaited}, but {_came(pending)}")
        self._save(step, result if value == 0 else None)

    def _save(self, step: s.Call, result: Any) -> None:
        text = step.text
        if not text.unpacks:
            self.saved.update(dict.fromkeys(text.targets, result))
            return
        values = result if isinstance(result, list) else []
        if len(values) != len(text.targets):
            raise StepFailed(f"awaited {len(text.targets)} values from {text.function}, but came {result!r}")
        self.saved.update(zip(text.targets, values, strict=True))

    def _value(self, argument: Any) -> Any:
        return evaluate(argument, _Names(self))

    def value(self, tree: Any) -> Any:
        """What an expression comes to. Raises StepFailed."""
        try:
            return self._value(tree)
        except ExpressionError as error:
            raise StepFailed(str(error)) from None

    def _client(self, name: str, initialize: bool) -> ClientProcess:
        """A client, started and initialised when that has not been done."""
        client = self.clients.by_name.get(name)
        if client is None or client.is_gone:
            about = self.scenario.clients.get(name)
            environment = {key: self.fill(text) for key, text in (about.environment if about else {}).items()}
            module = (
                about.module if about is not None and about.module else self.simulator.environment["CARDTEAR_MODULE"]
            )
            try:
                client = self.clients.start(name, self.fill(module), {**self._environment(), **environment})
            except OSError as error:
                raise StepFailed(f"the client {name!r} cannot load the module: {error}") from None
        if initialize and not client.initialized:
            client.initialized = True
            pending = client.call(s.MAIN, "C_Initialize", [])
            self.history.wait(lambda: pending.is_over, self.until(None))
            if not isinstance(pending.answer, tuple) or pending.answer[0] != 0:
                raise StepFailed(f"awaited C_Initialize -> CKR_OK in {name!r}, but {_came(pending)}")
        return client

    # Programs

    def _environment(self) -> dict[str, str]:
        own = {name: self.fill(text) for name, text in self.scenario.environment.items()}
        return {**os.environ, **self.simulator.environment, **own}

    def _run(self, step: s.Run) -> None:
        self._write(step.files)
        words = [self.fill(word) for word in step.words]
        environment = self._environment() | {name: self.fill(text) for name, text in step.environment.items()}
        given = None if step.input is None else self.fill(step.input)
        old = self.programs.pop(step.known_as, None)
        if old is not None:
            old.close()
        try:
            program = Program(words, self.folder, environment, given, step.background, self.history.changed)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StepFailed(f"cannot run {words[0]!r}: {reason}") from None
        self.programs[step.known_as] = program
        if not step.background:
            Verdicts(self).require_end(step, program, self.until(step.within), step.within or self.scenario.within)

    def _send(self, step: s.Send) -> None:
        for name, text in step.send.items():
            if not self.programs[name].send(self.fill(text)):
                raise StepFailed(f"{name!r} does not read what it is sent")

    def _ask(self, step: s.Ask) -> None:
        program = self.programs[step.program]
        before = program.output.length
        if not program.send(f"{self.fill(step.question)}\n"):
            raise StepFailed(f"{step.program!r} does not read what it is asked")
        Verdicts(self).require_answer(step, before, self.until(step.within), step.within or self.scenario.within)

    def _stop(self, step: s.Stop) -> None:
        within = step.within or self.scenario.within
        program = self.programs.get(step.stop)
        if program is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(program.process.pid, step.with_)
            over: Callable[[], bool] = lambda: program.exit_code is not None  # noqa: E731
        else:
            client = self.clients.by_name.get(step.stop)
            if client is None or client.pid == 0:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(client.pid, step.with_)
            over = lambda: client.is_gone  # noqa: E731
        if not self.history.wait(over, self.until(step.within)):
            raise StepFailed(f"awaited the end of {step.stop!r}, but it runs on after {in_words(within)}")

    def _exit(self, step: s.Exit) -> None:
        within = step.within or self.scenario.within
        client = self.clients.by_name.get(step.exit)
        if client is None or client.is_gone:
            return
        client.leave()
        process = client.process

        def is_over() -> bool:
            return client.is_gone and (process is None or process.poll() is not None)

        if process is not None:
            threading.Thread(target=self._bury, args=(process,), name="exit", daemon=True).start()
        if not self.history.wait(is_over, self.until(step.within)):
            raise StepFailed(f"awaited the end of {step.exit!r}, but it hangs in its exit after {in_words(within)}")
        if process is not None and process.returncode != 0:
            raise StepFailed(f"awaited that {step.exit!r} exits with 0, but came {exit_in_words(process.returncode)}")

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self.history.changed()

    def _end_programs(self) -> None:
        for program in self.programs.values():
            program.close()


class _Names(Mapping[str, Any]):
    """Saved values; a reader's name stands for the number of its slot, as a new application has it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __getitem__(self, name: str) -> Any:
        if name in self._stage.saved:
            return self._stage.saved[name]
        for application in self._stage.simulator.applications:
            for number, slot in application.slots.items():
                if slot.name == name:
                    return number
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Any:
        return iter(self._stage.saved)

    def __len__(self) -> int:
        return len(self._stage.saved)


def _awaited(step: s.Call) -> str:
    """What was expected of a call."""
    from ..client import rv_name

    text = step.text
    if text.dies:
        return f"{text.function} -> {DIED}"
    return f"{text.function} -> {' | '.join(map(rv_name, sorted(text.values))) or 'any'}"


def _came(pending: Pending) -> str:
    return f"{pending}" if pending.is_lost or pending.answer is None else f"came {pending}"
