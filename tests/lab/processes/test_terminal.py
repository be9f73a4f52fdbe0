# SPDX-License-Identifier: MIT
"""Text from outside is shown as text, in every command that prints such text; JSON stays faithful."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.shown import lines as as_lines
from cardtear.card.shown import shown
from cardtear.csrc import module_path
from cardtear.lab.cli import tables
from cardtear.lab.cli.main import app
from cardtear.lab.control import report
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.call_counter import Place
from cardtear.lab.sweep import report_html, report_svg, report_text
from cardtear.lab.sweep.command import Ended
from cardtear.lab.sweep.outcome import CommandRun, PointOutcome, Verdict
from cardtear.lab.sweep.points import Point
from cardtear.lab.sweep.report import Report
from cardtear.lab.trace.timeline import Timeline
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

DEADLINE = 60.0
CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")
EVIL = "e\x1b[31mv\x1b]0;t\x07\x9b2J\x7f\u202ei[bold]l[b]\\\r\b\x0b:smile:"
"""Escape sequences of C0 and C1, DEL, a mark of direction, rich's markup, and what rich takes away silently."""
SHOWN = r"e\x1b[31mv\x1b]0;t\x07\x9b2J\x7f\u202ei[bold]l[b]" + "\\" + r"\r\x08\x0b:smile:"

texts = st.text(st.characters(), max_size=20)


def dangerous(text: str) -> set[str]:
    """The characters in it that a terminal could carry out; the ends of lines are not."""
    return {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}


def is_safe(text: str) -> bool:
    """Whether nothing is left that a terminal would carry out; spaces at line ends do not count."""
    return not dangerous(text)


@given(texts)
def test_shown(text: str) -> None:
    """One line, nothing but printable characters, and all that was printable as it was."""
    result = shown(text)
    assert result.isprintable()
    assert shown(result) == result
    if text.isprintable():
        assert result == text
    assert is_safe(as_lines(text))
    assert as_lines(text).count("\n") == text.replace("\r\n", "\n").count("\n")


@pytest.mark.parametrize(
    ("text", "awaited"),
    [
        (EVIL, SHOWN),
        ("a\nb\tc", r"a\nb\tc"),
        ("\udcff", r"\xff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("Jörg 日本 😀", "Jörg 日本 😀"),
        ("\u2028\u200b\u2066", r"\u2028\u200b\u2066"),
    ],
)
def test_how_it_is_shown(text: str, awaited: str) -> None:
    assert shown(text) == awaited


def printed(print_it: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    print_it()
    return capsys.readouterr().out


def record(kind: str, text: str) -> dict[str, Any]:
    """An entry of the trace with a text from outside wherever there can be one."""
    fields: dict[str, dict[str, Any]] = {
        "call": {"application": f"{text}[7]", "thread": 1, "name": "C_Sign", "arguments": [text]},
        "return": {"name": "C_Sign", "value": 5, "rv": text},
        "apdu": {
            "reader": text,
            "card": text,
            "command": "00200080",
            "command_length": 4,
            "response": "",
            "response_length": 0,
            "status": "9000",
        },
        "event": {"change": "insert", "reader": text, "card": text},
    }
    return {"kind": kind, "number": 1, "time": 0.0, "call": 1, **fields[kind]}


@settings(max_examples=40)
@given(text=texts)
def test_the_time_line(text: str) -> None:
    """In all its forms, on a console that does nothing about it."""
    for folds in (False, True):
        stream = io.StringIO()
        timeline = Timeline(Console(file=stream, width=1000), folds=folds)
        for kind in ("call", "apdu", "event", "return"):
            timeline.add(record(kind, text))
        timeline.flush()
        lines = stream.getvalue().split("\n")
        assert is_safe(stream.getvalue())
        assert len(lines) == 5
        assert shown(text) in lines[0]
        assert f"{shown(text)}'s card goes into {shown(text)}" in lines[2]


@settings(max_examples=20, suppress_health_check=[])
@given(text=texts)
def test_the_report_of_pytest(text: str) -> None:
    """The section of a failing test, and the reason why there is none."""

    class Stub:
        def trace(self) -> list[dict[str, Any]]:
            return [record(kind, text) for kind in ("call", "apdu", "event", "return")]

    class Broken:
        def trace(self) -> list[dict[str, Any]]:
            raise OSError(text)

    assert is_safe(report.time_line(Stub()))  # type: ignore[arg-type]
    assert shown(text) in report.time_line(Broken())  # type: ignore[arg-type]


def swept(text: str) -> Report:
    """A report of one point that fails, with a text wherever there can be one."""
    ended = Ended(code=1, signal=None, output=f"{text}\n{text}", seconds=0.1)
    run = CommandRun(ended, text, {text: 1}, (text,), 0, 0, 1, 1)
    point = Point(Place(text, 1, 1, "C_Sign", 1, None), "before", text, 1)
    records = [record(kind, text) for kind in ("call", "apdu", "event", "return")]
    outcome = PointOutcome(1, point.name, text, Verdict.CRASH, run, ended, 0, 0, 0.0, records)  # type: ignore[arg-type]
    asked = {"command": [text], "action": text, "when": ["before"], "then": [text], "quirks": [text], "card": [text]}
    asked |= {"prepare": text, "copy": text, "recover": text, "own_home": False, "seed": 0}
    return Report(asked, run, 1.0, [point], [text], {1: outcome})


@pytest.mark.parametrize("text", [EVIL, "a\nb", "[red]x[/red]"])
def test_reports_of_a_sweep(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On the terminal and as a picture; of a page the text is what counts. JSON has what was there."""
    found = swept(text)
    console = report_text.console

    def show() -> None:
        console().print(report_text.table(found, [], True))
        console().print(report_text.story(found.outcomes[1]))

    output = printed(show, capsys)
    assert is_safe(output)
    assert shown(f"{text}#1:1/C_Sign#1@before") in output
    assert is_safe(report_svg.picture(found, []))
    assert json.loads(found.as_json())["outcomes"][0]["about"] == text
    assert is_safe(report_html.page(found, []))


def test_status(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of readers of PC/SC, cards, applications, and words of triggers."""
    reader = dict.fromkeys(("name", "card", "profile", "atr", "from_pcsc"), EVIL) | {"contactless": True, "pcsc": None}
    trigger = {"trigger": 1, "on": {"signal": EVIL}, "then": {"do": EVIL}, "seen": 0, "fired": 0}
    found = {
        "readers": [reader],
        "applications": [{"name": EVIL, "sessions": 1, "logged_in": True}],
        "triggers": [trigger],
    }
    output = printed(lambda: tables.status(found), capsys)
    assert is_safe(output)
    assert output.count(SHOWN) == 8


@pytest.mark.parametrize(
    "command",
    [
        ("card", "show", EVIL),
        ("card", "new", f"{EVIL}/card"),
        ("card", "copy", EVIL, "copy"),
        ("card", "export", EVIL),
        ("card", "import", EVIL, EVIL),
        ("card", "ca", "--out", f"{EVIL}/ca"),
        ("insert", EVIL),
        ("play", EVIL),
        ("play", "B05", "--junit", f"{EVIL}/x"),
        ("run", "--quirks", EVIL, "--", "true"),
        ("run", "--", EVIL),
        ("sweep", "--action", EVIL, "--", "true"),
        ("sweep", "--html", f"{EVIL}/x", "--", "true"),
        ("status", f"--{EVIL}"),
        (EVIL,),
        ("pcsc", "--write", f"{EVIL}/x"),
        ("serve", "--folder", f"/proc/{EVIL}"),
    ],
    ids=lambda command: " ".join(command[:2]).replace(EVIL, "EVIL"),
)
def test_errors(command: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever is named in a message."""
    environment = {**os.environ, "CARDTEAR_CONTROL": f"{tmp_path}/{EVIL}", "NO_COLOR": "1"}
    done = subprocess.run(
        [*CARDTEAR, *command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode in (1, 2, 127)
    assert is_safe(done.stdout + done.stderr)
    assert "e\\x1b[31mv" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_commands_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and cards with such names, made and shown; a new line in a name makes no second line."""
    monkeypatch.chdir(tmp_path)
    name, visible = f"{EVIL}\n", f"{SHOWN}\\n"
    for command, awaited in (
        (["card", "new", name], f"{visible} is a piv card of Alice\n"),
        (["card", "copy", name, "copy"], f"copy is a copy of {visible}\n"),
        (["card", "export", "copy", "-o", f"{name}x"], f"{visible}x has what is on copy; no private keys"),
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(awaited)
        assert done.stdout.count("\n") == 1
        assert is_safe(done.stdout)
    done = CliRunner().invoke(app, ["card", "copy", name, "other", "--json"])
    assert json.loads(done.stdout) == {"image": "other"}


def test_scenarios(tmp_path: Path) -> None:
    """Names, labels, what a program prints, and what is wrong in a file; JSON has it as it was."""
    quoted = json.dumps(EVIL)
    fails = tmp_path / "fails.yaml"
    fails.write_text(f"name: {quoted}\nabout: x\nsteps:\n  - run: [printf, '%s', {quoted}]\n    exits: 3\n")
    odd = tmp_path / "odd.yaml"
    odd.write_text(f"about: x\n{quoted}: 3\nsteps:\n  - {quoted}: front\n")
    for file in (fails, odd):
        done = subprocess.run([*CARDTEAR, "play", file], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode in (1, 2)
        assert is_safe(done.stdout + done.stderr)
        assert "e\\x1b[31mv" in done.stdout + done.stderr
    done = subprocess.run([*CARDTEAR, "play", fails, "--json"], capture_output=True, text=True, timeout=DEADLINE)
    assert json.loads(done.stdout)[0]["name"] == EVIL


def test_a_program_with_such_a_name(simulator: Simulator, tmp_path: Path) -> None:
    """In the trace, followed and beside it, and in the status; JSON has it as it was."""
    name = "\x1b[7m[b]\u202e"
    script = "import subprocess, sys\nfrom cardtear.lab.clients.pkcs11 import Module\n"
    script += f"open('/proc/self/comm', 'w').write({name!r})\nm = Module({str(module_path())!r})\n"
    script += "m.initialize()\nm.slots()\n"
    script += "for each in (['status'], ['trace', '--no-follow'], ['trace', '--no-follow', '--json']):\n"
    script += "    subprocess.run([sys.executable, '-m', 'cardtear.lab.cli.main', *each])\n"
    environment = {**os.environ, **simulator.environment}
    run = [sys.executable, "-c", script]
    beside = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=True)
    *text, last = [each for each in beside.stdout.splitlines() if "C_GetSlot" in each or "7m" in each]
    assert is_safe(beside.stdout), beside.stdout
    assert sum("\\x1b[7m[b]\\u202e[" in each for each in text) >= 2, beside.stdout
    assert json.loads(next(each for each in [*text, last] if each.startswith("{")))["application"].startswith(name)


def test_on_a_terminal(tmp_path: Path) -> None:
    """Our own styles are there, and text is text; help has its styles."""
    able = {**os.environ, "TERM": "xterm-256color"}  # whatever terminal the tests have
    able.pop("NO_COLOR", None)

    def on_terminal(*command: str) -> str:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*CARDTEAR, *command], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=able
        ) as process:
            os.close(theirs)
            output = b""
            try:
                while part := os.read(ours, 1 << 16):
                    output += part
            except OSError:  # the other end is closed
                pass
            process.wait(DEADLINE)
        os.close(ours)
        return output.decode()

    for command in (("card", "profiles"), ("--help",)):
        assert "\x1b[1m" in on_terminal(*command)
    for command in (("card", "show", EVIL), (EVIL,), ("status", f"--{EVIL}")):
        assert is_safe(on_terminal(*command).replace("\r\n", "\n"))
    image = tmp_path / "a"
    module = subprocess.run([*CARDTEAR, "module"], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert module.stdout == f"{module_path()}\n"
    assert not image.exists()
