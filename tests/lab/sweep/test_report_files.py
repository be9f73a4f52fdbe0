# SPDX-License-Identifier: MIT
"""The files of a sweep's report that are no regular files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.lab.processes import paths
from cardtear.lab.sweep import options

Sweep = Callable[..., Any]
DEADLINE = 30.0
ONE = ["--at", "calls", "--only", "host#1:1/C_Finalize#1@before"]


@pytest.fixture
def fifo(tmp_path: Path) -> Callable[[], str]:
    """A FIFO of that name with a reader; returns what came out of it."""
    path, found = tmp_path / "fifo", []
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: found.append(path.read_text()), daemon=True)
    thread.start()

    def read() -> str:
        thread.join(DEADLINE)
        return str(found[0])

    return read


def test_each_file_of_another_kind(sweep: Sweep, host: str, tmp_path: Path, fifo: Callable[[], str]) -> None:
    """A device stays one, a link leads where it led, a FIFO gets the report once, standard output continues."""
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs to be root")
    page = tmp_path / "page.html"
    page.touch(0o600)
    page.chmod(0o640)
    (tmp_path / "link").symlink_to("page.html")
    files = ["--json", f"{tmp_path}/fifo", "--html", f"{tmp_path}/link", "--svg", f"{tmp_path}/null"]
    swept = sweep([*ONE, *files, "--junit", "/dev/stdout"], host, "clean")
    assert swept.code == 0, swept.output
    assert json.loads(fifo())["counts"]
    assert (tmp_path / "link").is_symlink()
    assert page.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o640
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    _, start, xml = swept.output.partition("<?xml")
    assert ElementTree.fromstring(start + xml).get("tests") == "1"


def test_a_report_on_standard_output(host: str, tmp_path: Path) -> None:
    """It is all that is there: the table for people goes to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "cardtear.lab.cli.main", "sweep", *ONE, "--json", "-", "--", host, "clean"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=tmp_path,
        check=True,
    )
    assert json.loads(done.stdout)["counts"]
    assert "success" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_many_points_in_a_pipe(sweep: Sweep, host: str, tmp_path: Path, fifo: Callable[[], str]) -> None:
    """It is written once, at the end, for what is in a pipe cannot be replaced."""
    swept = sweep(["--at", "calls", "--json", f"{tmp_path}/fifo"], "sh", "-c", f"sleep 0.1; exec {host} clean")
    assert swept.code == 0, swept.output
    report = json.loads(fifo())
    assert len(report["outcomes"]) == len(report["points"])


def test_one_file_that_cannot_be_written(sweep: Sweep, host: str, tmp_path: Path) -> None:
    """The table and the other files are there, and one line says what is missing."""
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("needs to be root")
    files = ["--json", f"{tmp_path}/full", "--html", f"{tmp_path}/page.html"]
    swept = sweep([*ONE, *files], host, "clean")
    assert swept.code == 2
    assert swept.output.endswith(f"cardtear: {tmp_path}/full: No space left on device\n")
    assert (tmp_path / "page.html").exists()


def test_the_image_of_a_sweep_is_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of a card that holds keys lies anywhere, which a killed sweep would leave."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    image = ready_image(CardRequest("blank"), paths.image_cache(), paths.test_ca())
    assert options._image(image) == image.read_bytes()
