# SPDX-License-Identifier: MIT
"""A small application that misbehaves on purpose, and sweeps of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.csrc import module_path
from cardtear.lab.sweep import runner, worker
from cardtear.lab.sweep.options import EVERYTHING, Asked
from cardtear.lab.sweep.outcome import PointOutcome
from cardtear.lab.sweep.plan import Action, Plan, Then
from cardtear.lab.sweep.points import parse

DEADLINE = 90.0
CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The application (host.c)."""
    program = tmp_path_factory.mktemp("host") / "host"
    source, headers = Path(__file__).with_name("host.c"), module_path().parent
    options = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{headers}", "-pthread")
    subprocess.run(["cc", *options, "-o", str(program), str(source), "-ldl"], check=True, timeout=DEADLINE)
    return str(program)


class Swept(NamedTuple):
    """How `cardtear sweep` ended, and its report, if there is one."""

    code: int
    output: str
    report: dict[str, Any]

    @property
    def counts(self) -> Counter[str]:
        """Points by verdict."""
        return Counter(self.report["counts"])

    def of(self, verdict: str) -> list[dict[str, Any]]:
        """The points of a verdict."""
        return [each for each in self.report["outcomes"] if each["verdict"] == verdict]

    def at(self, words: str) -> list[dict[str, Any]]:
        """The points whose names have these words."""
        return [each for each in self.report["outcomes"] if words in each["name"]]


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Swept]:
    """Runs `cardtear sweep`: options in a list, and the command. Nothing of it is left, which is checked."""

    def run(options: list[str], *command: str, **environment: str) -> Swept:
        report = tmp_path / "report.json"
        kept = [] if "--json" in options else ["--json", str(report)]
        marked = {**os.environ, "CARDTEAR_TEST": str(tmp_path), **environment}
        done = subprocess.run(
            [*CARDTEAR, "sweep", *kept, *options, "--", *command],
            env=marked,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert _left_over(str(tmp_path)) == []
        return Swept(done.returncode, done.stdout, json.loads(report.read_text()) if report.exists() else {})

    return run


def _left_over(mark: str) -> list[str]:
    """The command lines of processes that have CARDTEAR_TEST=mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"CARDTEAR_TEST={mark}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return found


@pytest.fixture
def left_over(tmp_path: Path) -> Callable[[], list[str]]:
    """The command lines of what a sweep with CARDTEAR_TEST=tmp_path has started and not ended."""
    return lambda: _left_over(str(tmp_path))


@pytest.fixture(scope="session")
def workers() -> Iterator[Executor]:
    """Processes that play points."""
    with runner.local(2)(2) as executor:
        yield executor


@pytest.fixture(scope="session")
def plan(host: str) -> Plan:
    """The application without fault, with the standard card."""
    return Asked((host, "clean")).plan(CardRequest())


@pytest.fixture(scope="session")
def survey(workers: Executor, plan: Plan) -> runner.Survey:
    """What it does without any action, at all moments."""
    return runner.survey(workers, plan, EVERYTHING)


@pytest.fixture
def play(workers: Executor, plan: Plan, survey: runner.Survey) -> Callable[..., PointOutcome]:
    """Plays a point by its name with an action, and what is to follow; here, if somebody watches."""

    def one(action: str, name: str, *then: str, watch: worker.Watch | None = None, **changes: Any) -> PointOutcome:
        asked = replace(plan, action=Action.parse(action), then=tuple(map(Then.parse, then)), **changes)
        if watch is not None:
            return worker.play(asked, survey.first, parse(name), DEADLINE, watch)
        return workers.submit(worker.play, asked, survey.first, parse(name), DEADLINE).result(DEADLINE)

    return one
