# SPDX-License-Identifier: MIT
"""Commands that are no good, and what they leave behind: reported, cleaned up, and the sweep goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.sweep import plan
from cardtear.lab.sweep.plan import pack

from ...shared.waiting import wait_until

Sweep = Callable[..., Any]
CALLS = ["--at", "calls"]
DEADLINE = 12.0
CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("/nonexistent/program",), "cannot run '/nonexistent/program': No such file or directory"),
        (("/etc/passwd",), "cannot run '/etc/passwd': Permission denied"),
        (("true",), "made no call of the module"),
        (("sh", "-c", "echo no good; exit 7"), "fails without any action: exit 7"),
        (("sh", "-c", "kill -SEGV $$"), "fails without any action: SIGSEGV"),
        (("sh", "-c", "read answer </dev/tty"), "fails without any action: exit"),
        (("cat", "-"), "made no call of the module"),
    ],
)
def test_commands_that_cannot_be_swept(sweep: Sweep, command: tuple[str, ...], words: str) -> None:
    """One clear message, exit code 2, no report."""
    swept = sweep([], *command)
    assert swept.code == 2, swept.output
    assert words in swept.output
    assert "Traceback" not in swept.output
    assert not swept.report


@pytest.mark.parametrize("mode", ["flood", "wait"])
def test_a_first_run_without_end(sweep: Sweep, host: str, mode: str) -> None:
    """It is ended at the deadline; of what it printed both ends are shown."""
    command = (host, "flood") if mode == "flood" else ("sh", "-c", "sleep 1000 & sleep 1000")
    swept = sweep(["--deadline", "500ms"], *command)
    assert swept.code == 2, swept.output
    assert "has not ended after" in swept.output
    assert len(swept.output) < 20_000
    assert ("bytes ...]" in swept.output) == (mode == "flood")


def test_a_daemon_that_is_left_behind(sweep: Sweep, host: str) -> None:
    """It belongs to nobody any more and ignores SIGTERM; it is named and ended, after each run."""
    swept = sweep(["--only", "host#1:1/C_Sign#1@before"], host, "daemon")
    (point,) = swept.report["outcomes"]
    assert point["verdict"] == "clean error"
    assert point["run"]["ended"]["left"] == ["host"]


def test_a_command_that_kills_who_plays_it(sweep: Sweep, host: str) -> None:
    """Those points are not played, and said to be so; all others are."""
    swept = sweep(CALLS, host, "murder")
    assert swept.code == 1, swept.output
    assert set(swept.counts) == {"not played", "success"}
    assert swept.counts.total() == len(swept.report["points"])
    swept = sweep(["--json", "/dev/null"], "sh", "-c", "kill -KILL $PPID")
    assert swept.code == 2
    assert "ends the process that runs it" in swept.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--action", "explode"], "there is no action 'explode'"),
        (["--then", "explode"], "after the action there can be"),
        (["--then", "insert:500"], "not a span of time: '500'; as 500ms or 2s"),
        (["--then", "insert:"], "not a span of time: ''"),
        (["--action", "delay:2"], "not a span of time: '2'"),
        (["--deadline", "20"], "not a span of time: '20'"),
        (["--set", "mechanisms=CKM_X"], "there is no mechanism 'CKM_X'"),
        (["--at", "calls", "--action", "sw:6F00"], "cannot be at a call: choose --at apdus"),
        (["-j", "65"], "--jobs"),
        (["--shard", "3/2"], "is called as 1/4"),
        (["--deadline", "soon"], "not a span of time"),
        (["--deadline", "0s"], "'0s' is no time at all"),
        (["--action", "delay:0ms"], "'0ms' is no time at all"),
        (["--seed", "7"], "--seed is for --action garble"),
        (["--dask", "nowhere"], "--dask wants the address of a scheduler, as tcp://host:8786, not 'nowhere'"),
        (["--allow", "everything"], "there is no verdict 'everything'"),
        (["--only", "99999"], "there is no point 99999"),
        (["--only", "C_Sign"], "not a point"),
        (["--set", "capacity"], "--set wants NAME=VALUE"),
        (["--profile", "nothing"], "there is no profile 'nothing'"),
        (["--prepare", "exit 3"], "the preparation did not work: exit 3"),
        (["--dask", "tcp://127.0.0.1:1"], "no Dask scheduler answers at tcp://127.0.0.1:1"),
        (["--html", "/nowhere/report.html"], "/nowhere: there is no such folder"),
        (["--junit", "/"], "is a directory"),
        (["--image", "/nowhere.card"], "/nowhere.card"),
    ],
)
def test_options_that_make_no_sense(sweep: Sweep, host: str, options: list[str], words: str) -> None:
    """Refused with a reason."""
    swept = sweep(options, host, "clean")
    assert swept.code == 2, swept.output
    assert words in swept.output
    assert "Traceback" not in swept.output


def test_an_encrypted_card(sweep: Sweep, host: str, tmp_path: Path) -> None:
    """It is named itself, not a copy of it, and what to do."""
    image, key = tmp_path / "secret.card", tmp_path / "key"
    key.write_text("a passphrase")
    command = [*CARDTEAR, "card", "new", str(image), "--passphrase-file", str(key)]
    subprocess.run(command, check=True, timeout=DEADLINE, stdout=subprocess.DEVNULL)
    swept = sweep(["--image", str(image)], host, "clean")
    assert swept.code == 2, swept.output
    assert f"{image} is encrypted" in swept.output
    assert "card copy --no-passphrase" in swept.output


@pytest.mark.parametrize("text", ["", "[]", '{"points": 3}', "no JSON"])
def test_a_report_that_is_none(sweep: Sweep, host: str, tmp_path: Path, text: str) -> None:
    """--resume does not overwrite what it does not know."""
    (tmp_path / "other.json").write_text(text)
    swept = sweep(["--resume", "--json", str(tmp_path / "other.json")], host, "clean")
    assert swept.code == 2
    assert "is not a report of a sweep" in swept.output
    assert (tmp_path / "other.json").read_text() == text


def test_a_report_with_a_number_that_is_none(sweep: Sweep, host: str, tmp_path: Path, one_point: Path) -> None:
    """It is named; a deadline without end would wait for ever."""
    text = re.sub('"deadline": [0-9.]+', '"deadline": Infinity', one_point.read_text())
    (tmp_path / "other.json").write_text(text)
    swept = sweep(["--resume", "--json", str(tmp_path / "other.json")], host, "clean")
    assert swept.code == 2
    assert "is not a report of a sweep ('deadline' is Infinity; give a number that is finite)" in swept.output


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: os.mkfifo(path), "is a pipe, socket or device, which no run can have a copy of; take it out"),
        (lambda path: bound(path), "is a pipe, socket or device, which no run can have a copy of; take it out"),
        (lambda path: large(path, 256 << 20), "is too large for a copy for each run: at most 256 MiB in 100000 files"),
    ],
    ids=["pipe", "socket", "large"],
)
def test_folders_that_no_run_can_have(
    sweep: Sweep, host: str, tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    """Refused before anything runs, wherever in the folder it lies; what a link points to does not count."""
    inside = tmp_path / "copied" / "further"
    inside.mkdir(parents=True)
    (inside / "small").write_bytes(b"x")
    (inside / "everything").symlink_to("/")
    (inside / "pipe").symlink_to("/dev/zero")
    assert pack(tmp_path / "copied", wants_all=True)
    make(inside / "odd")
    swept = sweep(["--copy", str(tmp_path / "copied")], host, "clean")
    assert swept.code == 2, swept.output
    assert words in swept.output
    assert "Traceback" not in swept.output
    assert not swept.report


def bound(path: Path) -> None:
    """A socket at a path, which may be too long for one that is bound there at once."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)


def large(path: Path, size: int) -> None:
    """A file that takes no room, and is one byte too long beside the other."""
    with path.open("wb") as file:
        file.truncate(size)


def test_a_folder_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders count, too."""
    monkeypatch.setattr(plan, "MOST_FILES", 4)
    for name in "abc":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "file").touch()
    assert pack(tmp_path)
    (tmp_path / "c" / "file").touch()
    with pytest.raises(ValueError, match=f"the folder {tmp_path} is too large"):
        pack(tmp_path)


@pytest.fixture(scope="module")
def one_point(host: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a sweep of one point."""
    report = tmp_path_factory.mktemp("one_point") / "report.json"
    options = ("--only", "host#1:1/C_Finalize#1@before", "--json", str(report))
    subprocess.run((*CARDTEAR, "sweep", *options, "--", host, "clean"), check=True, capture_output=True, timeout=60)
    return report


@pytest.mark.parametrize(
    "other", [["--action", "reset"], ["--shard", "2/2"], ["--at", "apdus"], ["--profile", "piv-ec"]]
)
def test_a_report_of_another_sweep(sweep: Sweep, host: str, tmp_path: Path, one_point: Path, other: list[str]) -> None:
    """--resume goes on with the same sweep only."""
    shutil.copy(one_point, tmp_path)
    swept = sweep(["--resume", *other], host, "clean")
    assert swept.code == 2
    assert "is of another sweep: it differs in" in swept.output


def test_output_that_is_no_text(sweep: Sweep, host: str, tmp_path: Path) -> None:
    """Reports stand what a program may print."""
    script = f"printf '\\377\\000\\033[31m\\342\\200\\256\\177]]><b>&'; exec {host} crash"
    files = ["--junit", str(tmp_path / "junit.xml"), "--html", str(tmp_path / "page.html")]
    swept = sweep(["--only", "host#1:1/C_Sign#1@before", *files], "sh", "-c", script)
    assert swept.code == 1
    assert "\ufffd" in swept.report["outcomes"][0]["run"]["ended"]["output"]
    assert "<b>&" not in (tmp_path / "page.html").read_text()
    from xml.etree import ElementTree

    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert suite.get("failures") == "1"
    assert "\ufffd\\x00\\x1b[31m\\u202e\\x7f]]><b>&" in suite.findtext("*/failure", "")


@pytest.fixture
def folder() -> Iterator[Path]:
    """For what is temporary; its path is short, for there will be sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("number", "whom"),
    [(signal.SIGINT, "it"), (signal.SIGTERM, "it"), (signal.SIGKILL, "it"), (signal.SIGKILL, "its group")],
)
def test_an_end_in_the_middle(
    host: str, tmp_path: Path, folder: Path, left_over: Callable[[], list[str]], number: signal.Signals, whom: str
) -> None:
    """What is done is kept, what runs is ended, also when the sweep itself is killed; --resume does the rest.

    A timeout(1) kills the whole group. Nothing is left either when SIGTERM has been blocked by
    whoever started the sweep, and no folder stays.
    """
    report, runs = tmp_path / "report.json", tmp_path / "runs"
    # Well for eight runs, two without action and three points, then hanging; until there is a file `well`.
    script = (
        f"echo >>{runs}; [ -e {tmp_path}/well ] || [ $(wc -l <{runs}) -lt 9 ] || exec {host} hang; exec {host} clean"
    )
    options = [*CALLS, "--deadline", "60s", "-j", "2", "--json", str(report)]
    environment = {**os.environ, "CARDTEAR_TEST": str(tmp_path), "TMPDIR": str(folder)}

    def start(*more: str) -> subprocess.Popen[bytes]:
        command = [*CARDTEAR, "sweep", *options, *more, "--", "sh", "-c", script]
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=begin
        )

    def begin() -> None:
        os.setsid()
        _hear_ctrl_c()
        if number == signal.SIGKILL:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def hanging() -> bool:
        return report.exists() and [each.split()[:2] for each in left_over()].count([host, "hang"]) == 2

    process = start()
    try:
        wait_until(hanging)
        if whom == "it":
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait(DEADLINE)
    assert process.returncode == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    assert b"Traceback" not in errors
    wait_until(lambda: left_over() == [] and not any(folder.iterdir()))
    before = json.loads(report.read_text())
    assert 0 < len(before["outcomes"]) < len(before["points"])
    (tmp_path / "well").touch()
    process = start("--resume")
    process.communicate(timeout=DEADLINE)
    after = json.loads(report.read_text())
    assert process.returncode == 0
    assert not after["interrupted"]
    assert len(after["outcomes"]) == len(after["points"])
    assert [each for each in after["outcomes"] if each in before["outcomes"]] == before["outcomes"]


@pytest.mark.parametrize(("number", "processes"), [(signal.SIGTERM, 5), (signal.SIGTERM, 20), (signal.SIGINT, 12)])
def test_an_end_while_processes_are_started(
    host: str, tmp_path: Path, folder: Path, left_over: Callable[[], list[str]], number: signal.Signals, processes: int
) -> None:
    """A process that has just been forked still has the handlers of the sweep."""
    environment = {**os.environ, "CARDTEAR_TEST": str(tmp_path), "TMPDIR": str(folder)}
    command = [*CARDTEAR, "sweep", "-j", "40", "--", host, "hang"]
    process = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_hear_ctrl_c,
    )
    try:
        wait_until(lambda: len(left_over()) > processes or process.poll() is not None)
        if number == signal.SIGINT:  # as a terminal sends it
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait(DEADLINE)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"Exception" not in errors
    wait_until(lambda: left_over() == [] and not any(folder.iterdir()))


def _hear_ctrl_c() -> None:
    """A shell that starts the tests in the background has told them to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
