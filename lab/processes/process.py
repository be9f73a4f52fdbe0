# SPDX-License-Identifier: MIT
"""Running a program to its end, and the signals that end a command. Signals are blocked and waited for: no handlers."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Mapping

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
"""Signals at which a command ends."""

_FORWARDED = ENDING | {signal.SIGUSR1, signal.SIGUSR2}
_SI_KERNEL = 0x80  # siginfo(7); the terminal's Ctrl-C comes with it


def allow_many_files() -> None:
    """Raise the limit of open files to the hard limit: each card's image is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def hold_signals() -> None:
    """Block the signals that `run_program` and `wait_for_the_end` wait for. Call it before any thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED | {signal.SIGCHLD})


def wait_for_the_end(stopped: threading.Event) -> None:
    """Wait for one of the ENDING signals, or until `stopped` is set."""

    def watch() -> None:
        stopped.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="wait-for-shutdown", daemon=True).start()
    signal.sigwait(ENDING)


def run_program(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end with this process's terminal and files; return its exit code, 128 + N for signal N.

    Signals sent to this process are passed on; those of the terminal go to the whole process group anyway. Raises
    OSError if the program cannot be started.
    """
    program = os.posix_spawnp(
        command[0], command, environment, setsigmask=(), setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
    )
    while True:
        caught = signal.sigwaitinfo(_FORWARDED | {signal.SIGCHLD})
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if caught.si_signo != signal.SIGCHLD and caught.si_code != _SI_KERNEL:
            os.kill(program, caught.si_signo)
