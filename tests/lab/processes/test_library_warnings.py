# SPDX-License-Identifier: MIT
"""Warnings of libraries stay away from the terminal; ours, and those that Python is asked for, do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cardtear

SCRIPT = """
import warnings
from cardtear.lab.processes.library_warnings import silence_library_warnings
silence_library_warnings()
from cryptography.utils import CryptographyDeprecationWarning
class Ours(UserWarning): __module__ = "cardtear.card"
for category in (CryptographyDeprecationWarning, DeprecationWarning, FutureWarning, UserWarning):
    warnings.warn_explicit("of a library", category, "/usr/lib/python3/x.py", 1)
    if category is not UserWarning:
        warnings.warn_explicit("of a library", category, OURS, 1)
warnings.warn_explicit("by its class", Ours, "/usr/lib/python3/x.py", 2)
warnings.warn_explicit("by its file", UserWarning, OURS, 2)
"""


def said(*options: str) -> str:
    script = f"OURS = {str(Path(cardtear.__file__).resolve().parent / 'card' / 'ca.py')!r}\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, *options, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr


def test_only_ours_are_shown() -> None:
    shown = said()
    assert "of a library" not in shown
    assert "by its class" in shown
    assert "by its file" in shown


def test_who_asks_for_all_gets_all() -> None:
    assert said("-W", "always").count("of a library") == 7


def test_a_client_that_forks_beside_threads(tmp_path: Path) -> None:
    """Python 3.12 and newer warn of it, and show that, as it happens in a program's main file."""
    path = tmp_path / "fork.yaml"
    path.write_text("steps:\n- call: C_GetSlotList()\n- call: fork('child')\n- call: C_Initialize()\n  client: child\n")
    command = (sys.executable, "-m", "cardtear.lab.cli.main", "play", path)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
