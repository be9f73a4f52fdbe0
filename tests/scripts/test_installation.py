# SPDX-License-Identifier: MIT
"""Installing the package and starting its command: what is missing is said in a line, and nothing is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cardtear
import pytest

ROOT = Path(cardtear.__file__).resolve().parent

NO_COMPILER = {**os.environ, "CC": "/nonexistent/cc"}


def cardtear_command(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cardtear.lab.cli.main", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_the_command_tells_its_version() -> None:
    assert cardtear_command("--version").stdout == f"cardtear {cardtear.__version__}\n"


def test_a_missing_compiler_is_one_line(tmp_path: Path) -> None:
    tree = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, tree)):
        if (ROOT / name).exists() and not name.startswith("tests/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path / "wheels"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env=NO_COMPILER,
    )
    assert built.returncode != 0
    lines = [line for line in built.stderr.splitlines() if "C compiler" in line]
    assert len(lines) == 1
    assert "apt install gcc" in lines[0]
    assert "[1 lines of output]" in built.stderr, built.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--nosuch", "--", "true"), "--nosuch"),
        (("sweep", "--nosuch", "--", "true"), "--nosuch"),
        (("sweep", "--json", "--", "true"), "'--json' needs a value before --"),
        (("run", "--reader", "--", "true"), "'--reader' needs a value before --"),
    ],
)
def test_an_option_that_cannot_be_taken_is_said(words: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    done = cardtear_command(*words, folder=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", [("echo", "--nosuch"), ("--", "echo", "--nosuch"), ("--", "echo", "--", "x")])
def test_a_program_has_options_of_its_own(program: tuple[str, ...]) -> None:
    done = cardtear_command("run", *program)
    assert (done.returncode, done.stdout.split()) == (0, list(program[program.index("echo") + 1 :]))
