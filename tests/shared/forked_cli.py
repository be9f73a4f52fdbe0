# SPDX-License-Identifier: MIT
"""Carries out command lines, each in a fork of a process that has loaded all: a hundredth of a second for each.

Reads lists of words from standard input, a line of JSON each, and answers exit code, standard output and error.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import traceback

from cardtear.lab.cli import main

_DEADLINE = 20
"""Seconds for one command; then it is killed."""


def carry_out(words: list[str]) -> tuple[int, str, str]:
    """The exit code, minus a signal's number, and what was printed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = os.fork()
        if process == 0:
            _child(words, output.fileno(), errors.fileno())
        timer = threading.Timer(_DEADLINE, os.kill, (process, signal.SIGKILL))
        timer.start()
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        timer.cancel()
        output.seek(0)
        errors.seek(0)
        return code, output.read().decode(), errors.read().decode()


def _child(words: list[str], output: int, errors: int) -> None:
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.argv = ["cardtear", *words]
        main.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for name in ("simulators", "readers", "triggers", "play", "sweep", "cards", "quirks", "pcsc", "installation"):
        main._commands(name)
    for name in (
        "lab.cards.personalisation",
        "lab.cards.export",
        "lab.scenario",
        "lab.control.simulator",
        "lab.sweep.session",
    ):
        importlib.import_module(f"cardtear.{name}")
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)
