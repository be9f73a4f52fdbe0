# SPDX-License-Identifier: MIT
"""A point that is played alone can be watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")
DEADLINE = 60.0


def test_what_happens_is_shown_while_it_happens(host: str, tmp_path: Path, left_over: Callable[[], list[str]]) -> None:
    """The program hangs after the card has gone: all until then has been shown by now. Ctrl-C ends it, wholly."""
    folder = tmp_path / "t"
    folder.mkdir()
    environment = {**os.environ, "CARDTEAR_TEST": str(tmp_path), "TMPDIR": str(folder)}
    options = ["--only", "host#1:1/C_Sign#1@before", "--deadline", f"{DEADLINE:.0f}s"]
    process = subprocess.Popen(
        [*CARDTEAR, "sweep", *options, "--", host, "hang"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    try:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if "CKR_SESSION_HANDLE_INVALID" in line:
                break
        assert process.poll() is None
        text = "".join(shown)
        assert text.index("C_Login(") < text.index("C_Sign(") < text.index("Alice's card is pulled out of front")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait(DEADLINE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert left_over() == []
    assert list(folder.iterdir()) == []


def _hear_ctrl_c() -> None:
    """A shell that starts the tests in the background has told them to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
