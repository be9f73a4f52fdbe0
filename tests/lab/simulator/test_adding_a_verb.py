# SPDX-License-Identifier: MIT
"""A verb is one row and one method: CONTRIBUTING's way, gone in a copy of the sources, and found at every interface."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cardtear
import pytest

ROOT = Path(cardtear.__file__).resolve().parent
DEADLINE = 120

ROW = """    Verb(
        "twinkle",
        "Twinkle the lamp of a reader.",
        (_READER, Parameter("times", Type.NUMBER, "How often.", needed=False, default=1, least=1, most=9)),
        _HAND,
        command="readers",
        done="{reader} twinkles",
        words="{reader} twinkles: {about}",
    ),
"""
METHOD = '''
    def twinkle(self, reader: str, times: int = 1) -> None:
        """Twinkle the lamp of a reader."""
        self.testbed.reader(reader)
        self.testbed.trace.verb("twinkle", reader, f"{times} times")
'''
SCRIPT = """
import contextlib, inspect, io, json, sys
from typer.testing import CliRunner
from rich.console import Console
from cardtear import Simulator, Trigger, RemoteSimulator, play
from cardtear.lab.cli.main import app
from cardtear.lab.scenario import schema
from cardtear.lab.scenario.loading import loads
from cardtear.lab.simulator.requests import Request, decode
from cardtear.lab.trace.records import as_record
from cardtear.lab.trace.timeline import Timeline

found = {}
asked = {"do": "twinkle", "reader": "front", "times": 2}
found["request"] = list(decode(asked))
later = {"do": "later", "seconds": 1, "then": asked | {"times": 0}}
for name, wrong in (("request", asked | {"times": 10}), ("later", later)):
    try:
        decode(wrong)
    except ValueError as error:
        found[name + " refused"] = str(error)
with Simulator() as simulator:
    simulator.plug("front")
    run = lambda *words: CliRunner(env=simulator.environment).invoke(app, list(words)).output
    found["command"] = run("twinkle", "front", "--times", "3")
    found["help"] = run("twinkle", "--help")
    found["arm"] = run("arm", "twinkle", "front", "4", "--signal", "go")
    simulator.later(0, Request("twinkle", {"reader": "front", "times": 5}))
    remote = RemoteSimulator(simulator.environment)
    found["signature"] = str(inspect.signature(remote.reader("front").twinkle))
    remote.reader("front").twinkle(6)
    remote.twinkle("front", 7)
    found["heard"] = remote.signal("go")
    remote.wait_for("verb", verb="twinkle", about="5 times")
    remote.close()
    stream = io.StringIO()
    line = Timeline(Console(file=stream, width=200))
    for entry in simulator.testbed.trace.entries():
        line.add(as_record(entry))
    found["time line"] = stream.getvalue()
text = "readers: {front: empty}\\ntriggers: {t: {on: {signal: go}, do: {twinkle: front, times: 2}}}\\nsteps:\\n"
scenario = loads(text + "  - twinkle: front\\n    times: 8\\n  - signal: go\\n  - expect: {trigger: t}\\n")
outcome = play(scenario)
found["scenario"] = "" if outcome.passed else outcome.message
found["schema"] = schema.schema()["$defs"].get("Twinkle")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with a verb more, and what is generated made anew."""
    copy = tmp_path_factory.mktemp("copy") / "cardtear"
    copy.mkdir()
    for room in ("card", "csrc", "p11", "reader", "scenarios"):
        (copy / room).symlink_to(ROOT / room)
    for folder in ("lab", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__init__.py", copy)
    for file, text, before in (
        ("verbs.py", ROW, '    Verb(\n        "apdu",'),
        ("simulator.py", METHOD, "\n    def kill("),
    ):
        path = copy / "lab" / "simulator" / file
        old = path.read_text()
        assert old.count(before) == 1
        path.write_text(old.replace(before, text + before))
    python(copy, "-m", "verb_table")
    return copy


def python(copy: Path, *words: str) -> str:
    path = os.pathsep.join((str(copy.parent), str(ROOT / "scripts")))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = (sys.executable, "-P", *words)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(copy: Path) -> dict[str, Any]:
    """What the script above has found."""
    result: dict[str, Any] = json.loads(python(copy, "-c", SCRIPT).splitlines()[-1])
    return result


def test_requests(found: dict[str, Any]) -> None:
    """Decoded, and held to the limits of the row, also in a `later`."""
    assert found["request"] == ["twinkle", {"reader": "front", "times": 2}]
    assert found["request refused"] == "'times' of 'twinkle' is 1 to 9, not 10"
    assert "'times' of 'twinkle' is 1 to 9, not 0" in found["later refused"]


def test_the_command_line(found: dict[str, Any]) -> None:
    assert found["command"] == "front twinkles\n"
    assert "Twinkle the lamp of a reader." in found["help"]
    assert "How often." in found["help"]
    assert found["arm"] == "armed as 1: twinkle front 4\n"


def test_the_remote_objects(found: dict[str, Any], copy: Path) -> None:
    """With real signatures, in the generated file."""
    assert found["signature"] == "(times: 'int' = 1) -> 'None'"
    assert (
        "def twinkle(self, reader: str, times: int = 1)" in (copy / "lab" / "control" / "remote_verbs.py").read_text()
    )


def test_triggers_and_the_time_line(found: dict[str, Any]) -> None:
    assert found["heard"] == 1
    for times in range(3, 8):
        assert f"front twinkles: {times} times" in found["time line"]


def test_scenarios(found: dict[str, Any]) -> None:
    assert found["scenario"] == ""
    assert found["schema"]["properties"]["times"]["maximum"] == 9
    assert found["schema"]["required"] == ["twinkle"]


@pytest.mark.parametrize("page", ["control.md", "scenarios.md", "pytest.md"])
def test_the_documentation(copy: Path, page: str) -> None:
    assert "twinkle" in (copy / "docs" / page).read_text()
