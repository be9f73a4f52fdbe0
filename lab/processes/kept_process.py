# SPDX-License-Identifier: MIT
"""KeptProcess: a daemon that is restarted when it ends by itself."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from time import monotonic, sleep

LOG = logging.getLogger(__name__)

DEADLINE = 20.0
"""Seconds within which the process has to be ready, or to end."""

_ENDS, _PERIOD = 5, 10.0
"""The process is given up when it has ended by itself so often within so many seconds."""


class ProcessError(Exception):
    """The process does not start or end; the message has its output."""


class KeptProcess:
    """A process that runs from `start` to `stop`, and is restarted meanwhile; threads may share it.

    `spawn` starts a process, `is_ready` returns whether it is ready, `log` returns its output.
    """

    def __init__(
        self,
        name: str,
        spawn: Callable[[], subprocess.Popen[bytes]],
        is_ready: Callable[[], bool],
        log: Callable[[], str],
    ) -> None:
        self._name, self._spawn, self._is_ready, self._log = name, spawn, is_ready, log
        self._process: subprocess.Popen[bytes] | None = None
        self._is_kept = False
        self._was_ready = False
        self._starts = threading.Lock()
        self._change = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Return whether the process has been started and has not ended."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def is_there(self) -> bool:
        """Return whether the process has been ready and has not been stopped; it may be restarting."""
        return self._is_kept and self._was_ready

    def start(self) -> bool:
        """Start the process and wait until it is ready; return False if it runs or is restarting already.

        Raises ProcessError.
        """
        with self._starts:
            with self._change:
                if self._is_kept:
                    return False
                self._is_kept, self._was_ready = True, False
            started: Future[None] = Future()
            threading.Thread(target=self._keep, args=(started,), name=self._name, daemon=True).start()
            started.result()
            return True

    def stop(self) -> bool:
        """End the process and wait for its end; return False if it did not run.

        Raises ProcessError if it had to be killed.
        """
        process = self._let_go()
        if process is None:
            return False
        was_running = process.poll() is None
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ProcessError(
                f"{self._name} did not end within {DEADLINE:.0f} s, and was killed. {self.said}"
            ) from None
        return was_running

    def kill(self) -> None:
        """Kill the process, as if it had crashed; the files that it leaves behind stay."""
        process = self._let_go()
        if process is not None:
            process.kill()
            process.wait()

    def _let_go(self) -> subprocess.Popen[bytes] | None:
        """Return the running process, and do not restart it any more."""
        with self._change:
            self._is_kept = False
            process, self._process = self._process, None
        return process

    def _keep(self, started: Future[None]) -> None:
        """Start and restart the process from one thread, for PR_SET_PDEATHSIG means the thread that started it."""
        ends: deque[float] = deque(maxlen=_ENDS)
        process = None
        while True:
            with self._change:
                if self._process is not process and started.done():
                    return None
                try:
                    with _all_signals():
                        process = self._process = self._spawn()
                except OSError as error:
                    return self._give_up(started, str(error))
            is_ready = self._wait_until_ready(process)
            if not started.done():
                if not is_ready:
                    process.kill()
                    process.wait()
                    return self._give_up(started, f"{self._name} does not start. {self.said}")
                self._was_ready = True
                started.set_result(None)
            process.wait()
            with self._change:
                if self._process is not process:
                    return None
            ends.append(monotonic())
            if len(ends) == _ENDS and ends[-1] - ends[0] < _PERIOD:
                return self._give_up(started, f"{self._name} ends again and again, and is left alone. {self.said}")
            LOG.warning("%s has ended by itself (%s) and is started again. %s", self._name, _how(process), self.said)

    def _give_up(self, started: Future[None], why: str) -> None:
        """Report the reason to `start` if it waits, otherwise to the log; do not restart the process."""
        self._is_kept = False
        if started.done():
            LOG.error("%s", why)
        else:
            started.set_exception(ProcessError(why))

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the process is ready. Return False if it ended, or was not ready in time."""
        deadline = monotonic() + DEADLINE
        while not self._is_ready():
            if process.poll() is not None or monotonic() > deadline:
                return False
            sleep(0.01)  # no event tells when it is ready
        return True

    @property
    def said(self) -> str:
        """Return the process's output, as a sentence for an error message."""
        log = self._log()
        return f"It said:\n{log}" if log else "It has said nothing."


def _how(process: subprocess.Popen[bytes]) -> str:
    """Return how a process ended: its exit code or signal."""
    code = process.returncode
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@contextlib.contextmanager
def _all_signals() -> Iterator[None]:
    """Unblock all signals in the block, for the processes started there: a signal mask is inherited (process.py)."""
    held = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
