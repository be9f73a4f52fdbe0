# SPDX-License-Identifier: MIT
"""Carries out the steps of one scenario: a simulator, clients, programs, triggers and saved values.

Nothing here waits without a deadline: what is awaited comes through the history, and what the simulator does on behalf
of a step is done in a thread that can be left behind.
"""

from __future__ import annotations

import ast
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import Any

from ...p11.quirks import Quirks
from ...reader.errors import CardMute, CardRemoved, TestbedError
from ..simulator.verbs import VERBS
from . import steps as s
from . import verbs as v
from .calling import Calling
from .condition import Condition
from .context import Context
from .failure import StepFailed
from .fields import in_words, status_in_words
from .possible import gather
from .programs import DRAINING, Program, exit_in_words
from .scenario import Scenario
from .triggers import arguments_of


class Execution(Context):
    """Carry out the steps of a scenario."""

    def __init__(self, scenario: Scenario, here: Path, quirks: Quirks) -> None:
        self._spoken_to = gather(scenario).spoken_to
        super().__init__(scenario, here, quirks)
        self.calling = Calling(self)

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
                self._require(step.wait, step.within)
            case s.Expect():
                self._require(step.expect, step.within)
            case s.Arm():
                for name, trigger in step.arm.items():
                    self.arm(name, trigger)
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
        if isinstance(step, v.Insert | v.Swap | v.Pcscd):
            self._require_pcscd()

    def _require_pcscd(self) -> None:
        if not self.wait_for_pcscd(self.until(None) - monotonic()):
            raise StepFailed(f"pcscd does not take the card{self.pcscd.said()}")

    def _require(self, condition: Condition, within: float | None) -> None:
        condition.require(self, self.until(within), self.seconds(within))

    def evaluate(self, tree: ast.expr) -> Any:
        return self.calling.value(tree)

    def settle(self, background: str, deadline: float, within: float) -> None:
        call, pending = self.background.pop(background)
        self.wait(lambda: pending.is_over, deadline)
        self.calling.settle(call, pending, within)

    def _by_hand(self, verb: str, arguments: dict[str, Any], within: float | None = None) -> Any:
        """Carry out a verb in a thread of its own, as a card that hangs may hold it up; return its result.

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
        if result is False and (why := VERBS[verb].useless):
            raise StepFailed(f"{verb} changes nothing: {why}")
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

    # Programs

    def _run(self, step: s.Run) -> None:
        try:
            self.write(step.files)
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
            self.left_alone[step.known_as] = program
        else:
            self._require(step.end, step.within)

    @property
    def ends(self) -> list[str]:
        """Return how programs in the background failed, in words, beside what a step awaits in vain."""
        failed = [each for each in self.left_alone.items() if (each[1].exit_code or 0) > 0]
        for _, program in failed:
            self.drain(program)
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
        self.saved |= self._require_answer(step, program, before)

    def _require_answer(self, step: s.Ask, program: Program, before: int) -> dict[str, str | None]:
        """Wait until a program has printed a line after so many bytes; return the pattern's named groups."""
        output = program.output
        self.wait(lambda: output.is_over or output.line_after(before) is not None, self.until(step.within))
        line = output.line_after(before)
        if line is not None and (match := step.answer.search(line)) is not None:
            return match.groupdict()
        awaited = f"awaited the answer /{step.answer.pattern}/ of {step.program}"
        if line is not None:
            raise StepFailed(f"{awaited}, but came: {line}")
        if output.is_over:
            self.drain(program)
        instead = "it has ended" if output.is_over else "it says nothing"
        errors = program.errors.tail()
        raise StepFailed(f"{awaited} within {in_words(self.seconds(step.within))}, but {instead}\n{errors}".rstrip())

    def _tell(self, name: str, text: str, verb: str) -> None:
        program = self.programs[name]
        if not program.send(text):
            self.history.wait(lambda: program.exit_code is not None, monotonic() + DRAINING)  # mostly it is at its end
            raise StepFailed(f"{name!r} does not read what it is {verb}")

    def _stop(self, step: s.Stop) -> None:
        within = self.seconds(step.within)
        program = self.programs.get(step.stop)
        if program is not None:
            program.kill(step.with_)
            over: Callable[[], bool] = lambda: program.exit_code is not None  # noqa: E731
        else:
            client = self.clients.named(step.stop)
            if client is None or client.pid == 0:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(client.pid, step.with_)
            over = lambda: client.is_gone  # noqa: E731
        if not self.history.wait(over, self.until(step.within)):
            raise StepFailed(f"awaited the end of {step.stop!r}, but it runs on after {in_words(within)}")

    def _exit(self, step: s.Exit) -> None:
        within = self.seconds(step.within)
        client = self.running_client(step.exit)
        if client is None:
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
