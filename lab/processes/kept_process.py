# SPDX-License-Identifier: MIT
"""A daemon that is started again when it ends by itself."""

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
"""Seconds that it may take to start, or to end."""

_ENDS, _PERIOD = 5, 10.0
"""It is not started again when it has ended by itself so often within so many seconds."""


class ProcessError(Exception):
    """It does not start or end; the message has what it has said."""


class KeptProcess:
    """A process from `start` to `stop`, by whatever threads they are called.

    `spawn` starts one, `answers` says whether it is ready, and `log` what it has said.
    """

    def __init__(
        self,
        name: str,
        spawn: Callable[[], subprocess.Popen[bytes]],
        answers: Callable[[], bool],
        log: Callable[[], str],
    ) -> None:
        self._name, self._spawn, self._answers, self._log = name, spawn, answers, log
        self._process: subprocess.Popen[bytes] | None = None
        self._is_kept = False
        self._has_answered = False
        self._starts = threading.Lock()
        self._change = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and has not ended."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def is_there(self) -> bool:
        """Whether it has answered since it was started, and has not been stopped; it may be starting again."""
        return self._is_kept and self._has_answered

    def start(self) -> bool:
        """Start it, and return True when it answers; False if it runs, or is just started again.

        Raises ProcessError.
        """
        with self._starts:
            with self._change:
                if self._is_kept:
                    return False
                self._is_kept, self._has_answered = True, False
            started: Future[None] = Future()
            threading.Thread(target=self._keep, args=(started,), name=self._name, daemon=True).start()
            started.result()
            return True

    def stop(self) -> bool:
        """End it, and return True when it is gone; False if it did not run.

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
        """Let it die at once, as of a fault of its own; what it leaves behind stays."""
        process = self._let_go()
        if process is not None:
            process.kill()
            process.wait()

    def _let_go(self) -> subprocess.Popen[bytes] | None:
        """Return the process that runs now, which is not started again from now on."""
        with self._change:
            self._is_kept = False
            process, self._process = self._process, None
        return process

    def _keep(self, started: Future[None]) -> None:
        """Start it, and again whenever it ends by itself, in one thread: it may end with the one that began it."""
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
            is_ready = self._is_ready(process)
            if not started.done():
                if not is_ready:
                    process.kill()
                    process.wait()
                    return self._give_up(started, f"{self._name} does not start. {self.said}")
                self._has_answered = True
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
        self._is_kept = False
        if started.done():
            LOG.error("%s", why)
        else:
            started.set_exception(ProcessError(why))

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it answers. Return False when it has ended, or has not answered in time."""
        deadline = monotonic() + DEADLINE
        while not self._answers():
            if process.poll() is not None or monotonic() > deadline:
                return False
            sleep(0.01)  # it tells nobody when it is ready
        return True

    @property
    def said(self) -> str:
        """Return what it has said, as a sentence of an error."""
        log = self._log()
        return f"It said:\n{log}" if log else "It has said nothing."


def _how(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@contextlib.contextmanager
def _all_signals() -> Iterator[None]:
    """What is started here can be ended by signals, whatever this thread holds back (process.py)."""
    held = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
