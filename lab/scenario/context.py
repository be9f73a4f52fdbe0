# SPDX-License-Identifier: MIT
"""What all steps of a scenario share: the simulator, the clients and programs, what was saved, and the deadline."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from ...card.image.store import copy_image
from ...p11.quirks import Quirks
from ..processes.closable import Closable
from ..processes.reaper import kill_who_knows
from ..processes.temp_dir import TempDir, for_sockets
from ..simulator.value_types import CardSource, EncryptedImage
from . import in_pcsc
from . import steps as s
from .clients import SOCKET, ClientProcess, Clients, Pending
from .conditions import START
from .history import Fits, History, Occurrence
from .model import Client
from .programs import DRAINING, Program
from .scenario import Scenario
from .scenario_simulator import Counted, ScenarioSimulator
from .substitution import filled, places
from .triggers import TriggerModel

_PCSCD_PATIENCE = 20.0
"""Seconds that pcscd has for the cards of the beginning. It looks every 0.4 s."""


class Context(Closable):
    """What a scenario is played with; a context manager. `deadline` is of the monotonic clock, for everything."""

    def __init__(self, scenario: Scenario, here: Path, quirks: Quirks) -> None:
        self.scenario = scenario
        self.history = History()
        self.saved: dict[str, Any] = {}
        self.programs: dict[str, Program] = {}
        self.left_alone: dict[str, Program] = {}
        """Those of them that are in the background."""
        self.background: dict[str, tuple[s.Call, Pending]] = {}
        self.triggers: dict[str, tuple[int, Counted]] = {}
        self.marks = {START: 0}
        self.done_since = 0
        self._within = scenario.within
        self._clients = scenario.clients
        self.deadline = monotonic() + scenario.deadline
        self._here = here
        self._undo = contextlib.ExitStack()
        try:
            scratch = self._undo.enter_context(TempDir())
            self.folder = scratch.path / "work"
            self._temporary = scratch.path / "tmp"
            for folder in (self.folder, self._temporary):
                folder.mkdir(mode=0o700)
            self.pcscd = in_pcsc.InPcsc()
            if scenario.pcsc:
                self.pcscd = in_pcsc.start(self._undo, scratch.path / "pcscd", scenario)
            self.simulator = self._undo.enter_context(ScenarioSimulator(self.history, quirks, self.pcscd.place))
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
        """Prepare cards, readers, files and triggers; what takes long is done before the clock runs."""
        self.cards = {name: self._card(name) for name in self.scenario.cards}
        scenario = self.scenario
        for reader, card in scenario.readers.items():
            self.simulator.plug(reader)
            if card is not None:
                self.simulator.insert(reader, self.cards[card])
        for ready in self.cards.values():
            self.simulator.prepare(ready)
        if not self.wait_for_pcscd(_PCSCD_PATIENCE):
            raise OSError(f"pcscd has not taken the cards within {_PCSCD_PATIENCE:.0f} s{self.pcscd.said()}")
        self._names: dict[str, Any] = places(self.simulator.environment, self.folder, self._here)
        self.write(self.scenario.files)
        for name, trigger in scenario.triggers.items():
            self.arm(name, trigger)
        self.deadline = monotonic() + self.scenario.deadline

    def _card(self, name: str) -> CardSource:
        card = self.scenario.cards[name]
        if card.path is None:
            return card.request(name.capitalize(), self._here)
        copy = self.folder / f"{name}.card"
        copy_image(self._here / card.path, copy)  # it may be in use
        return copy if card.passphrase_file is None else EncryptedImage(copy, self._here / card.passphrase_file)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files into the folder of the programs, with ${...} filled in. Raises OSError."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(content))

    def fill(self, text: str) -> str:
        """Return the text with ${...} filled in."""
        return filled(text, {**self._names, **self.saved})

    def until(self, within: float | None) -> float:
        """Return the deadline of a wait that begins now."""
        return min(monotonic() + self.seconds(within), self.deadline)

    def seconds(self, within: float | None) -> float:
        """Return the seconds that a wait may take, for messages; the scenario's deadline may shorten them."""
        return within if within is not None else self._within

    # What conditions ask for (condition.RunState)

    def wait(self, holds: Callable[[], bool], deadline: float) -> bool:
        return self.history.wait(holds, deadline)

    def now(self) -> int:
        return self.history.now

    def position(self, mark: str | None) -> int:
        return self.done_since if mark is None else self.marks[mark]

    def search(self, fits: Fits, since: int) -> Callable[[], bool]:
        return self.history.search(fits, since)

    def occurrences(self, since: int) -> list[Occurrence]:
        return self.history.since(since)

    def is_under_way(self, fits: Fits) -> bool:
        return self.history.is_under_way(fits)

    def trigger(self, name: str) -> Counted:
        return self.triggers[name][1]

    def program(self, name: str) -> Program:
        return self.programs[name]

    def drain(self, program: Program) -> None:
        self.history.wait(lambda: program.is_drained, monotonic() + DRAINING)

    def is_returned(self, background: str) -> bool:
        return self.background[background][1].is_over

    def session_state(self, handle: int) -> int | None:
        return self.simulator.session_state(handle)

    # Clients and saved values

    def running_client(self, name: str) -> ClientProcess | None:
        """Return a client that runs."""
        return self.clients.running(name)

    def has_client(self, name: str) -> bool:
        """Return whether a client of this name has connected."""
        return name in self.clients.by_name

    def start_client(self, name: str) -> ClientProcess:
        """Start a client with its module loaded. Raises OSError."""
        settings = self._clients.get(name, Client())
        module = settings.module or self.simulator.module
        own = {key: self.fill(text) for key, text in settings.environment.items()}
        return self.clients.start(name, self.fill(module), {**self.environment(), **own})

    def save(self, values: Mapping[str, Any]) -> None:
        """Save values under names."""
        self.saved.update(values)

    def lookup(self, name: str) -> Any:
        """Return a saved value, or the slot of a reader. Raises KeyError."""
        if name in self.saved:
            return self.saved[name]
        slot = self.simulator.slot(name)
        if slot is None:
            raise KeyError(name)
        return slot

    def wait_for_pcscd(self, seconds: float) -> bool:
        """Wait until pcscd has all cards, at most so long; return at once without a pcscd that runs."""
        pcsc = self.simulator.pcsc
        return pcsc is None or self.simulator.is_pcscd_stopped or not pcsc.wait_until_shown(max(0.0, seconds))

    def arm(self, name: str, model: TriggerModel) -> None:
        """Arm a trigger, in place of the one of that name."""
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

    def environment(self) -> dict[str, str]:
        """Return the variables of every program and client."""
        variables = self.scenario.environment
        own = {name: self.fill(text) for name, text in variables.items()}
        return {
            **os.environ,
            "TMPDIR": str(self._temporary),
            **self.pcscd.environment,
            **self.simulator.environment,
            **own,
        }

    def _end_programs(self) -> None:
        for program in self.programs.values():
            program.close()
