# SPDX-License-Identifier: MIT
"""`cardtear play` and `cardtear scenarios`, as CI meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cardtear.lab.cli.main import app
from cardtear.lab.scenario.schema import is_fresh, text
from cardtear.lab.scenario.shipped import find
from typer.testing import CliRunner, Result

from ...shared.waiting import wait_until

Write = Callable[..., Path]
CARDTEAR = str(Path(sys.executable).parent / "cardtear")
GOOD = "about: good\nsteps:\n- call: C_GetSlotList()\n"
BAD = "about: bad\nsteps:\n- call: C_GetSlotList()\n- remove: front\n- call: C_GetSlotInfo(front) -> CKR_NO_EVENT\n"


def cardtear(*words: str | Path) -> Result:
    """In this process, which has been started already."""
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_installed_program() -> None:
    done = subprocess.run([CARDTEAR, "play", "B10"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "1 passed" in done.stdout


def test_good_and_bad(write: Write, tmp_path: Path) -> None:
    junit, trace = tmp_path / "junit.xml", tmp_path / "trace.jsonl"
    good, bad = write(GOOD, "good.yaml"), write(BAD, "bad.yaml")
    done = cardtear("play", good, bad, "--junit", junit, "--trace", trace)
    assert done.exit_code == 1
    assert f"{bad}:5: step 3, call C_GetSlotInfo(front) -> CKR_NO_EVENT: awaited C_GetSlotInfo" in done.stdout
    assert "Alice's card is pulled out of front" in done.stdout
    assert "1 passed, 1 failed" in done.stdout
    suite = ElementTree.parse(junit).getroot()
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    assert [case.get("name") for case in suite] == ["good", "bad"]
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    assert {record["scenario"] for record in records} == {"good", "bad"}
    good_only = cardtear("play", good)
    assert good_only.exit_code == 0
    assert "pulled" not in good_only.stdout


def test_what_a_program_prints_in_junit(write: Write, tmp_path: Path) -> None:
    """As text, as everywhere."""
    scenario = write("steps:\n- run: [printf, '%b', '\\033[31m\\0342\\0200\\0256']\n  output: nothing\n")
    done = cardtear("play", scenario, "--junit", tmp_path / "junit.xml")
    assert done.exit_code == 1
    assert "\\x1b[31m\\u202e" in ElementTree.parse(tmp_path / "junit.xml").getroot().findtext("*/failure", "")


def test_json(write: Write) -> None:
    done = cardtear("play", write(BAD), "--json")
    assert done.exit_code == 1
    (said,) = json.loads(done.stdout)
    assert (said["status"], len(said["steps"])) == ("failed", 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps:\n- remov: front\n", ":2: steps[0]: a step has no field 'remov'; did you mean 'remove'?"),
        (None, "no scenario of that name comes with"),
    ],
)
def test_what_cannot_be_read_is_not_played(write: Write, tmp_path: Path, text: str | None, said: str) -> None:
    """Nothing is played of a list in which one cannot be read."""
    path = tmp_path / "none" if text is None else write(text, "odd.yaml")
    name = "no-such-scenario" if text is None else str(path)
    done = cardtear("play", write(GOOD, "good.yaml"), name)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "passed" not in done.stdout


def test_no_file_at_all() -> None:
    done = cardtear("play")
    assert done.exit_code == 2
    assert "name scenario files, or scenarios that `cardtear scenarios` lists" in done.stderr


def test_what_is_not_installed(write: Write) -> None:
    path = write("needs: [no-such-program]\n" + GOOD)
    assert cardtear("play", path).exit_code == 1
    assert cardtear("play", path, "--skip-missing").exit_code == 0


def test_shipped_ones_by_name_and_quirks() -> None:
    done = cardtear("play", "B10", "--quirks", "finalize_mode=no_event")
    assert done.exit_code == 1
    assert "but came CKR_NO_EVENT" in done.stdout
    assert cardtear("play", "B10", "--quirks", "odd").exit_code == 2


def test_broken_shows_the_bug_and_plain_does_not() -> None:
    """Once for each of the scenario's own sets of quirks."""
    assert cardtear("play", "B13").exit_code == 0
    done = cardtear("play", "B13", "B27", "--broken")
    assert done.exit_code == 1
    assert "✗ B13 with event_dup" in done.stdout
    assert "awaited C_WaitForSlotEvent -> CKR_NO_EVENT, but came CKR_OK" in done.stdout
    assert "✗ B27 with zero_handle=accepted" in done.stdout
    assert "✗ B27 with zero_handle=crash" in done.stdout
    assert "3 failed; with --broken a scenario is expected to fail" in done.stdout
    said = json.loads(cardtear("play", "B13", "--broken", "--json").stdout)
    assert [(each["name"], each["quirks"], each["status"]) for each in said] == [("B13", ["event_dup"], "failed")]


def test_broken_wants_to_know_with_what(write: Write) -> None:
    done = cardtear("play", write(GOOD, "good.yaml"), "--broken")
    assert done.exit_code == 2
    assert "good does not say with which quirks it fails: it has no 'fails-with'" in done.stderr


def test_a_finding_says_what_its_pass_means(write: Write) -> None:
    done = cardtear("play", write("finding: true\n" + GOOD, "found.yaml"))
    assert done.exit_code == 0
    assert "the fault is still there" in done.stdout
    done = cardtear("play", write("finding: true\n" + BAD, "mended.yaml"), "--json")
    assert done.exit_code == 1
    assert "the fault does not show any more" in json.loads(done.stdout)[0]["message"]
    assert "still there" not in cardtear("play", write(GOOD, "good.yaml")).stdout


def test_the_list() -> None:
    listed = json.loads(cardtear("scenarios", "--json").stdout)
    names = [each["name"] for each in listed]
    assert "B10" in names
    assert all(each["about"] for each in listed)
    commands = [each["reproduce"] for each in listed]
    assert "cardtear play B05 --broken" in commands
    assert "cardtear play findings/libp11-hang" in commands
    assert all(Path(find(name)).exists() for name in names), "each is played by the name that is listed"
    assert "B10" in cardtear("scenarios").stdout


def test_the_schema() -> None:
    """It knows every step, and a scenario that is an example is of it as far as its keys go."""
    schema = json.loads(cardtear("play", "--schema").stdout)
    assert schema["required"] == ["steps"]
    assert {"Remove", "Call", "Expect", "TriggerModel"} <= set(schema["$defs"])
    assert "with" in schema["$defs"]["Stop"]["properties"]


def test_a_stale_schema_is_known_whatever_made_it() -> None:
    fresh = text()
    other = fresh.replace("made with pydantic", "made with another pydantic")
    assert is_fresh(fresh)
    assert is_fresh(other.replace('"maximum": 1,', '"maximum": 1.0,'))
    assert not is_fresh(fresh.replace('"maximum": 1,', '"maximum": 2,'))
    assert not is_fresh(other.replace('"probability"', '"chance"'))
    assert not is_fresh("")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For what is temporary; its path is short, for there will be sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupt_leaves_nothing_behind(
    write: Write, tmp_path: Path, short_folder: Path, number: signal.Signals
) -> None:
    pid = tmp_path / "pid"
    folder = short_folder
    path = write(f"steps:\n- run: [sh, -c, 'echo $$ > {pid}; exec sleep 300']\n  within: 1m\n")
    process = subprocess.Popen(
        [CARDTEAR, "play", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    wait_until(lambda: pid.exists() and pid.read_text().strip() != "")
    process.send_signal(number)
    assert process.wait(30) != 0
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    wait_until(lambda: not stat.exists() or ") Z " in stat.read_text())  # whoever adopts it may be slow to bury it
    wait_until(lambda: not any(folder.iterdir()))


def test_a_deep_temporary_folder(write: Write, tmp_path: Path) -> None:
    """Neither the simulator's sockets nor that of forked clients can lie in it; they go with the rest."""
    path = write("""\
        clients: {child: {}}
        steps:
        - call: C_GetInfo()
        - call: fork("child")
        - call: C_Initialize()
          client: child
        - exit: child
        """)
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    done = subprocess.run(
        [CARDTEAR, "play", str(path)],
        env={**os.environ, "TMPDIR": str(deep)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: not any(deep.iterdir()))
