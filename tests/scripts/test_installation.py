# SPDX-License-Identifier: MIT
"""Installing the package and starting its command: what is missing is said in a line, and nothing is left out."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
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


def tracked() -> list[str]:
    """The files of the repository that are there, but its tests."""
    tree = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    names = filter(None, map(os.fsdecode, tree))
    return [name for name in names if not name.startswith("tests/") and (ROOT / name).exists()]


def build_wheel(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Build a wheel of a copy of the repository, so that a build folder in the checkout plays no part."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder / "wheels"), str(folder)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**environment, "PIP_NO_COMPILE": "1"},
    )


def test_the_wheel_holds_the_product_and_nothing_else(tmp_path: Path) -> None:
    """No setup.py, no tests, no scripts for maintainers; all modules, the C library, its headers, the scenarios."""
    built = build_wheel(tmp_path, dict(os.environ))
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    rooms = ("card/", "reader/", "p11/", "csrc/", "lab/", "scenarios/")
    product = {name for name in tracked() if name.startswith(rooms) and not name.endswith(".c")}
    libraries = {"csrc/libcardtear-pkcs11.so", "csrc/libcardtear-only-us.so"}
    assert found == {f"cardtear/{name}" for name in {"__init__.py", "py.typed"} | product | libraries}


def test_a_missing_compiler_is_one_line(tmp_path: Path) -> None:
    built = build_wheel(tmp_path, NO_COMPILER)
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
