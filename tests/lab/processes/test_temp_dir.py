# SPDX-License-Identifier: MIT
"""Temporary folders of simulators: there while one lives, gone with it, however it ends."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cardtear.lab.processes.temp_dir import TempDir

from ...shared.waiting import wait_until

DEADLINE = 30.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_one_for_each(folder: Path) -> None:
    """A second one leaves the first alone; each is private, and gone when it is closed."""
    with TempDir() as one, TempDir() as two:
        (one.path / "card").write_text("card")
        assert one.path.stat().st_mode & 0o777 == 0o700
        assert set(folder.iterdir()) == {one.path, two.path}
    assert not list(folder.iterdir())


def test_what_a_killed_run_left_behind(folder: Path) -> None:
    """`cardtear run` killed with -9: its cards go with it, and not those of a simulator that lives."""
    command = (sys.executable, "-m", "cardtear.lab.cli.main", "run", "--", "sh", "-c", "echo ready; cat")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)}
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        (left,) = folder.glob("cardtear-*")
        with TempDir():
            assert list(left.glob("*.card"))
            before = set(folder.iterdir())
            running.send_signal(signal.SIGKILL)
            running.wait(DEADLINE)
            wait_until(lambda: not left.exists())
            assert set(folder.iterdir()) == before - {left}


def test_what_was_left_with_nobody_to_take_it_away(folder: Path) -> None:
    """The next simulator does, but not while somebody lives in it."""
    for name in ("cardtear-dead", "cardtear-alive"):
        (folder / name).mkdir()
        (folder / name / "alive").touch()
        (folder / name / "a.card").write_text("card")
    with (folder / "cardtear-alive" / "alive").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with TempDir() as ours:
            assert set(folder.iterdir()) == {ours.path, folder / "cardtear-alive"}


def test_others_are_left_alone(folder: Path) -> None:
    """Folders that are no simulator's, and links to one."""
    (folder / "cardtear-mine").mkdir()
    (folder / "cardtear-link").symlink_to(folder / "cardtear-mine")
    (folder / "cardtear-file").write_text("mine")
    with TempDir():
        pass
    assert {each.name for each in folder.iterdir()} == {"cardtear-mine", "cardtear-link", "cardtear-file"}


def test_many_at_once(folder: Path) -> None:
    """Nobody sweeps away what another is just making."""

    def make(_: int) -> bool:
        with TempDir() as scratch:
            return scratch.path.is_dir()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(make, range(400)))
    assert not list(folder.iterdir())
