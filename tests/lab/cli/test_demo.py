# SPDX-License-Identifier: MIT
"""The demonstration runs, draws its picture, and fails when something is not as it has to be."""

from __future__ import annotations

import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from cardtear.lab.clients import demo
from cardtear.reader.reader import Reader
from rich.console import Console

DEADLINE = 60


def test_the_demo_passes_and_draws_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    done = subprocess.run(
        (sys.executable, "-m", "cardtear.lab.clients.demo", "--svg", str(picture)),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("CKR_SESSION_HANDLE_INVALID", "CKR_DEVICE_REMOVED", "CKS_RO_PUBLIC_SESSION", "Bob's card goes into"):
        assert shown in done.stdout
    assert "✗" not in done.stdout
    drawn = "".join(ElementTree.parse(picture).getroot().itertext()).replace("\xa0", " ")
    assert "Alice's card is pulled out of front" in drawn


def test_the_demo_fails_when_a_removal_comes_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown is checked: here the hand misses the card."""
    monkeypatch.setattr(Reader, "remove", lambda self: self.insertion.card)
    monkeypatch.setattr("cardtear.lab.clients.demo_application.DEADLINE", 4.0)
    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(demo.Wrong, match="C_Sign"):
        demo.Demonstration(console).play()
