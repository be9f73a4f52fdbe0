# SPDX-License-Identifier: MIT
"""A pcscd of one's own: in the foreground, with vpcd and nothing else in it, for root.

Where the system lets us, it has a /run/pcscd that nobody else sees, so that it neither meets the machine's pcscd nor
others of its kind. Where it does not (a container without CAP_SYS_ADMIN), it is the machine's only one, and a lock
keeps others waiting.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from ..reader.vpcd_slots import SLOTS_OF_VPCD
from .pcscd import READER, configuration, find_driver
from .scratch import Scratch

DEADLINE = 20.0
"""Seconds that it may take to start, or to end."""

_RUN = Path("/run/pcscd")
"""Where every pcscd has its socket."""

_HIDE = 'mount --bind "$1" /run/pcscd && shift && exec "$@"'
_WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""It ends with the thread that has started it, also with one that is killed."""

_NAME = "PCSCLITE_CSOCK_NAME"

_PORTS = range(20_000, 32_000, 4)
"""Below those that the system gives out."""


class PcscdError(Exception):
    """It does not start or end, and what it has said."""


def why_not() -> str | None:
    """Why there can be none, if there can be none."""
    if _daemon() is None or find_driver() is None:
        return "pcscd and vpcd are not installed (Debian: pcscd, vsmartcard-vpcd)"
    if os.getuid() != 0:
        return "only root can start a pcscd"
    return None


def _daemon() -> str | None:
    return shutil.which("pcscd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


class OwnPcscd:
    """A pcscd that is not started yet, with its files in `folder`; `close` it. A context manager, which starts it.

    `name` is what programs find in the names of its readers. `port` is that of vpcd's first slot, the others follow.
    Until it is closed, this process finds it, too. Raises PcscdError where there can be none.
    """

    def __init__(self, folder: Path, name: str = READER) -> None:
        reason, driver, daemon = why_not(), find_driver(), _daemon()
        if reason is not None or driver is None or daemon is None:
            raise PcscdError(reason)
        self._folder = folder
        self._daemon = daemon
        self._process: subprocess.Popen[bytes] | None = None
        for each in (self._run, self._configuration, _RUN):
            each.mkdir(parents=True, exist_ok=True)
        self._lock = None
        hidden = ("unshare", "--mount", "sh", "-c", _HIDE, "sh", str(self._run))
        self._hidden: tuple[str, ...] = ()
        if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode == 0:
            self._hidden = hidden
        else:
            self._lock = (_RUN / "cardtear.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.socket = (self._run if self._hidden else _RUN) / "pcscd.comm"
        self.port = free_ports(SLOTS_OF_VPCD)
        self.configure(configuration(driver, self.port, name=name))
        self._before = _be_found(self.socket)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _run(self) -> Path:
        return self._folder / "run"

    @property
    def _configuration(self) -> Path:
        return self._folder / "reader.conf.d"

    @property
    def environment(self) -> dict[str, str]:
        """By which programs find it."""
        return {_NAME: str(self.socket)}

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has said."""
        return (self._folder / "log").read_text(errors="replace")

    def configure(self, text: str) -> None:
        """The reader.conf of the next start."""
        (self._configuration / "vpcd").write_text(text)

    def start(self) -> None:
        """Returns when it answers. Raises PcscdError."""
        command = (*_WITH_US, *self._hidden, self._daemon, "--foreground", "--config", str(self._configuration))
        with (self._folder / "log").open("ab") as log, _all_signals():
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = monotonic() + DEADLINE
        while not self._answers():
            if not self.is_running or monotonic() > deadline:
                raise PcscdError(f"pcscd does not start: {self.log}")
            sleep(0.01)  # it tells nobody when it is ready

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(str(self.socket))
            return True
        return False

    def stop(self) -> None:
        """Returns when it is gone. Raises PcscdError if it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise PcscdError(f"pcscd does not end: {self.log}") from None

    def kill(self) -> None:
        """Let it die at once, as of a fault of its own; what it leaves behind stays."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop it, and let the next one be."""
        try:
            self.stop()
        finally:
            _be_found_again(*self._before)
            if self._lock is not None:
                self._lock.close()


@functools.cache
def _socket_here() -> Path:
    """Where this process looks for any pcscd of its own: once, when it first needs PC/SC, and so it is always there."""
    scratch = Scratch()
    atexit.register(scratch.close)
    return scratch.path / "pcscd.comm"


def _be_found(place: Path | None) -> tuple[Path | None, str | None]:
    """Lead this process to a socket; to where it led before, and what the variable was."""
    link, known = _socket_here(), os.environ.get(_NAME)
    before = link.readlink() if link.is_symlink() else None
    link.unlink(missing_ok=True)
    if place is not None:
        link.symlink_to(place)
    os.environ[_NAME] = str(link)
    return before, known


def _be_found_again(before: Path | None, known: str | None) -> None:
    """As it was before `_be_found`."""
    _be_found(before)
    if known is None:
        del os.environ[_NAME]
    else:
        os.environ[_NAME] = known


@contextlib.contextmanager
def _all_signals() -> Iterator[None]:
    """What is started here can be ended by signals, whatever this thread holds back (process.py)."""
    held = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, another each time. Raises PcscdError."""
    for _ in range(100):
        port = random.SystemRandom().choice(_PORTS)
        with contextlib.suppress(OSError):
            for each in range(port, port + count):
                socket.create_server(("", each)).close()
            return port
    raise PcscdError(f"no {count} free ports")
