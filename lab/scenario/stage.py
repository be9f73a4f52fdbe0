# SPDX-License-Identifier: MIT
"""Carries out the steps of one scenario: a simulator, clients, programs, triggers and saved values.

Nothing here waits without a deadline: what is awaited comes through the history, and what the simulator does on behalf
of a step is done in a thread that can be left behind.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import Any

from ...card.image.store import copy_image
from ...p11.quirks import Quirks
from ...reader.errors import CardMute, CardRemoved, TestbedError
from ..control.requests import CardSource, EncryptedImage
from ..processes.closable import Closable
from ..processes.reaper import kill_who_knows
from ..processes.temp_dir import TempDir, for_sockets
from ..simulator.faults import IN_VAIN
from . import in_pcsc
from . import steps as s
from . import verbs as v
from .calling import Calling
from .clients import SOCKET, Clients, Pending
from .conditions import START
from .fields import in_words, status_in_words
from .history import History, Point
from .model import Scenario
from .played import Counted, Played
from .possible import Possible
from .programs import Program, exit_in_words
from .substitution import filled, places
from .triggers import TriggerModel, arguments_of
from .verdicts import DRAINING, StepFailed, Verdicts

_PCSCD_PATIENCE = 20.0
"""Seconds that pcscd has for the cards of the beginning. It looks every 0.4 s."""


class Stage(Closable):
    """Where a scenario is played; a context manager. `deadline` is of the monotonic clock, for everything."""

    def __init__(self, scenario: Scenario, here: Path, quirks: Quirks) -> None:
        self.scenario = scenario
        self.history = History()
        self.saved: dict[str, Any] = {}
        self.programs: dict[str, Program] = {}
        self._left_alone: dict[str, Program] = {}
        """Those of them that are in the background."""
        self.background: dict[str, tuple[s.Call, Pending]] = {}
        self.triggers: dict[str, tuple[int, Counted]] = {}
        self.marks: dict[str, Point] = {START: Point()}
        self.done_since = Point()
        self.deadline = monotonic() + scenario.deadline
        self.calling = Calling(self)
        self._here = here
        self._spoken_to = Possible(scenario).spoken_to
        self._undo = contextlib.ExitStack()
        try:
            scratch = self._undo.enter_context(TempDir())
            self.folder = scratch.path / "work"
            self._temporary = scratch.path / "tmp"
            for folder in (self.folder, self._temporary):
                folder.mkdir(mode=0o700)
            self._pcsc = in_pcsc.InPcsc()
            if scenario.pcsc:
                self._pcsc = in_pcsc.start(self._undo, scratch.path / "pcscd", scenario)
            self.simulator = self._undo.enter_context(Played(self.history, quirks, self._pcsc.place))
            self._undo.callback(kill_who_knows, self.simulator.folder)
            sockets = for_sockets(self.folder, SOCKET, self._undo)
            sockets.mkdir(mode=0o700, exist_ok=True)
            self.clients = Clients(sockets, self.history.changed)
            self._undo.callback(self.clients.close)
            self._undo.callback(self._end_programs)
            self._prepare()
        except BaseException:
            self._undo.close()
            raise

    def close(self) -> None:
        """End all of it."""
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
        if not self._wait_for_pcscd(_PCSCD_PATIENCE):
            raise OSError(f"pcscd has not taken the cards within {_PCSCD_PATIENCE:.0f} s{self._pcsc.said()}")
        self._names: dict[str, Any] = places(self.simulator.environment, self.folder, self._here)
        self._write(self.scenario.files)
        for name, trigger in self.scenario.triggers.items():
            self._arm_one(name, trigger)
        self.deadline = monotonic() + self.scenario.deadline

    def _card(self, name: str) -> CardSource:
        card = self.scenario.cards[name]
        if card.path is None:
            return card.request(name.capitalize(), self._here)
        copy = self.folder / f"{name}.card"
        copy_image(self._here / card.path, copy)  # it may be in use
        return copy if card.passphrase_file is None else EncryptedImage(copy, self._here / card.passphrase_file)

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
                self.calling.call(step)
            case s.Run():
                self._run(step)
            case s.Apdu():
                self._apdu(step)
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
            case v.AttachPcsc():
                arguments = {"reader": step.reader, "name": step.name, "exclusive": step.exclusive}
                self._by_hand("attach-pcsc", arguments)
            case v.DetachPcsc():
                self._by_hand("detach-pcsc", {"reader": step.reader})
            case _:
                self._by_hand(*arguments_of(step, self.cards))
        if isinstance(step, v.Insert | v.Swap | v.Pcscd) and not self._wait_for_pcscd(self.until(None) - monotonic()):
            raise StepFailed(f"pcscd does not take the card{self._pcsc.said()}")

    def _wait_for_pcscd(self, seconds: float) -> bool:
        """Until it has all cards, or so long; at once without one, and when it is stopped."""
        pcsc = self.simulator.pcsc
        return pcsc is None or self.simulator.is_pcscd_stopped or not pcsc.wait_until_shown(max(0.0, seconds))

    def _by_hand(self, verb: str, arguments: dict[str, Any], within: float | None = None) -> Any:
        """A verb of the simulator, in a thread of its own: a card that hangs may hold it up. Returns its result.

        Raises StepFailed where it cannot be carried out, or can do nothing.
        """
        done: Future[Any] = Future()

        def act() -> None:
            try:
                done.set_result(getattr(self.simulator, verb.replace("-", "_"))(**arguments))
            except Exception as error:
                done.set_exception(error)
            self.history.changed()

        threading.Thread(target=act, name=verb, daemon=True).start()
        if not self.history.wait(done.done, self.until(within)):
            raise StepFailed(f"{verb} does not come to an end: the card is at work, and does not let go")
        try:
            result = done.result()
        except (TestbedError, CardRemoved, CardMute) as error:
            raise StepFailed(f"{verb} is not possible: {error}") from error
        if result is False and verb in IN_VAIN:
            raise StepFailed(f"{verb} changes nothing: {IN_VAIN[verb]}")
        return result

    def _apdu(self, step: s.Apdu) -> None:
        """Send an APDU, and hold the answer against what is expected."""
        status: int | None = None
        data = ""
        try:
            command = bytes.fromhex(self.fill(step.command))
            response = self._by_hand("apdu", {"reader": step.reader, "command": command}, step.within)
            status, data = int.from_bytes(response[-2:], "big"), response[:-2].hex().upper()
        except ValueError as error:
            raise StepFailed(f"that is no APDU: {error}") from None
        except StepFailed as failure:
            if not isinstance(failure.__cause__, CardRemoved | CardMute):
                raise
        if step.status is not None and status not in step.status:
            awaited = " | ".join(sorted(map(status_in_words, step.status)))
            raise StepFailed(f"awaited {awaited}, but came {status_in_words(status)}")
        if step.data is not None:
            match = step.data.search(data)
            if match is None:
                raise StepFailed(f"awaited data that fit /{step.data.pattern}/, but came {len(data) // 2} other bytes")
            self.saved |= match.groupdict()

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

    # Programs

    def environment(self) -> dict[str, str]:
        """The variables of every program and client."""
        own = {name: self.fill(text) for name, text in self.scenario.environment.items()}
        return {
            **os.environ,
            "TMPDIR": str(self._temporary),
            **self._pcsc.environment,
            **self.simulator.environment,
            **own,
        }

    def _run(self, step: s.Run) -> None:
        try:
            self._write(step.files)
        except OSError as error:
            raise StepFailed(f"cannot write {error.filename}: {error.strerror}") from None
        words = [self.fill(word) for word in step.words]
        environment = self.environment() | {name: self.fill(text) for name, text in step.environment.items()}
        given = None if step.input is None else self.fill(step.input)
        old = self.programs.pop(step.known_as, None)
        if old is not None:
            old.close()
        try:
            takes_input = step.background and step.known_as in self._spoken_to
            program = Program(words, self.folder, environment, given, takes_input, self.history.changed)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StepFailed(f"cannot run {words[0]!r}: {reason}") from None
        self.programs[step.known_as] = program
        if step.background:
            self._left_alone[step.known_as] = program
        else:
            Verdicts(self).require_end(step, program, self.until(step.within), step.within or self.scenario.within)

    @property
    def ends(self) -> list[str]:
        """What programs in the background have failed at, in words, beside what a step has awaited in vain."""
        failed = [each for each in self._left_alone.items() if (each[1].exit_code or 0) > 0]
        for _, program in failed:
            Verdicts(self).drain(program)
        return [
            f"{name!r} has ended with {program.exit_code}\n{program.errors.tail()}".rstrip() for name, program in failed
        ]

    def _send(self, step: s.Send) -> None:
        for name, text in step.send.items():
            self._tell(name, self.fill(text), "sent")

    def _ask(self, step: s.Ask) -> None:
        program = self.programs[step.program]
        before = program.output.length
        self._tell(step.program, f"{self.fill(step.question)}\n", "asked")
        within = step.within or self.scenario.within
        self.saved |= Verdicts(self).require_answer(step, before, self.until(step.within), within)

    def _tell(self, name: str, text: str, verb: str) -> None:
        program = self.programs[name]
        if not program.send(text):
            self.history.wait(lambda: program.exit_code is not None, monotonic() + DRAINING)  # mostly it is at its end
            raise StepFailed(f"{name!r} does not read what it is {verb}")

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
