# SPDX-License-Identifier: MIT
"""A pcscd of the tests' own, in the foreground, with vpcd and nothing else in it."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest
from cardtear.lab.pcscd import READER, configuration, find_driver

from . import pcsc

DEADLINE = 20.0
RUN = Path("/run/pcscd")
"""Where every pcscd has its socket."""

HIDE = 'mount --bind "$1" /run/pcscd && shift && exec "$@"'


class Pcscd:
    """pcscd, not yet started, with its socket in `folder` where the system lets us hide /run/pcscd from it.

    Programs find it by `environment`. Where it cannot be hidden (a container without CAP_SYS_ADMIN), it is the
    machine's only one, and a lock keeps others of its kind waiting. `port` is that of the first slot, the second
    follows.
    """

    def __init__(self, folder: Path, name: str = READER) -> None:
        self._folder = folder
        self._run = folder / "run"
        self._run.mkdir(exist_ok=True)
        self._configuration = folder / "reader.conf.d"
        self._configuration.mkdir(exist_ok=True)
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._daemon = shutil.which("pcscd", path=f"{os.environ['PATH']}:/usr/sbin")
        driver = find_driver()
        if self._daemon is None or driver is None:
            pytest.skip("pcscd and vpcd are not installed (Debian: pcscd, vsmartcard-vpcd)")
        if os.getuid() != 0:
            pytest.skip("only root can start a pcscd")
        RUN.mkdir(exist_ok=True)
        hidden = ["unshare", "--mount", "sh", "-c", HIDE, "sh", str(self._run)]
        self._lock = None
        if subprocess.run([*hidden, "true"], capture_output=True).returncode == 0:
            self._hidden, self.socket = hidden, self._run / "pcscd.comm"
        else:
            self._hidden, self.socket = [], RUN / "pcscd.comm"
            self._lock = (RUN / "cardtear-tests.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.port = free_ports()
        self.configure(configuration(driver, self.port, name=name))

    @property
    def environment(self) -> dict[str, str]:
        """By which programs find this pcscd."""
        return {"PCSCLITE_CSOCK_NAME": str(self.socket)}

    def configure(self, text: str) -> None:
        """The reader.conf of the next start."""
        (self._configuration / "vpcd").write_text(text)

    def start(self) -> None:
        """Returns when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._hidden, self._daemon, "--foreground", "--config", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = monotonic() + DEADLINE
        while not self.answers():
            assert self._process.poll() is None, self.log
            assert monotonic() < deadline, f"pcscd does not start: {self.log}"
            sleep(0.01)

    def stop(self) -> None:
        """Returns when it is gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise
            self._process = None

    def close(self) -> None:
        """Stop it, and let the next one be."""
        self.stop()
        if self._lock is not None:
            self._lock.close()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def answers(self) -> bool:
        """Whether programs can talk to it."""
        try:
            pcsc.Context().close()
        except (pcsc.PcscError, OSError):
            return False
        return True


def free_ports(count: int = 2) -> int:
    """The first of so many free ports in a row, below those that the system gives out; another each time."""
    for _ in range(100):
        port = random.SystemRandom().randrange(20_000, 32_000, 4)
        try:
            for each in range(port, port + count):
                socket.create_server(("", each)).close()
        except OSError:
            continue
        return port
    raise RuntimeError(f"no {count} free ports")
