# SPDX-License-Identifier: MIT
"""A pcscd of one's own: in the foreground, with vpcd and nothing else in it, for root.

Nobody else reaches it. Where the system lets us, it has a /run/pcscd that nobody else sees, so that it neither meets
the machine's pcscd nor others of its kind, and a network in which it is alone, so that vpcd's ports are open to nobody.
Where it does not (a container without CAP_SYS_ADMIN), it is the machine's only one, a lock keeps others waiting, and a
library that is loaded into it lets in nobody but root, and nothing from outside (csrc/only_us.c).
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import logging
import os
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from ...card.shown import lines
from ...csrc import only_us_path, only_us_preload
from ...reader.pcsc.network_namespace import NetworkNamespace
from ...reader.pcsc.pcscd_call import refusal
from ...reader.pcsc.reader_conf import READER, configuration, copies, find_daemon, find_driver, options
from ...reader.pcsc.vpcd_slots import SLOTS_OF_VPCD, PcscSlots
from ...reader.pcsc.vpcd_wire import PORT
from ..processes.kept_process import KeptProcess, ProcessError
from ..processes.paths import SHORT_FOLDER
from ..processes.temp_dir import TempDir, for_sockets

LOG = logging.getLogger(__name__)

_RUN = Path("/run/pcscd")
"""Where every pcscd has its socket."""

_SOCKET = "pcscd.comm"

_HIDE = 'mount --bind "$1" /run/pcscd && shift && exec "$@"'
_WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""It ends with the thread that has started it, also with one that is killed."""

_NAME = "PCSCLITE_CSOCK_NAME"

_PORTS = range(20_000, 32_000, 4)
"""Below those that the system gives out."""

_PLAIN = re.compile(r"[A-Za-z0-9/._-]{1,100}")
"""A path that reader.conf can have, which knows no quotes there: not with a blank, as a TMPDIR may have."""

_LINES = 20
"""How many lines of what it has said are shown."""


def why_not() -> str | None:
    """Return why there can be no pcscd of one's own, None if there can be one."""
    if find_daemon() is None or find_driver() is None:
        return "pcscd and vpcd are not installed (Debian: pcscd, vsmartcard-vpcd)"
    if os.getuid() != 0:
        return "only root can start a pcscd"
    return None


class OwnPcscd(KeptProcess):
    """A pcscd that is not started yet, with its files in `folder`; `close` it. A context manager, which starts it.

    `name` is what programs find in the names of its readers, of which there are at least `readers`; `place` is where
    its vpcd is. Until it is closed, this process finds it, too. Raises ProcessError where there can be none, ValueError
    for a name that no reader can have.
    """

    def __init__(self, folder: Path, name: str = READER, readers: int = SLOTS_OF_VPCD) -> None:
        reason, driver, daemon = why_not(), find_driver(), find_daemon()
        if reason is not None or driver is None or daemon is None:
            raise ProcessError(reason)
        super().__init__("pcscd", self._spawn_it, self._answers_us, lambda: self.log)
        self._folder = folder
        self._command = (daemon, "--foreground", "--config", str(self._configuration), *options(daemon))
        self._undo = contextlib.ExitStack()
        try:
            self._run = for_sockets(folder / "run", _SOCKET, self._undo)
            for each in (self._run, self._configuration, _RUN):
                each.mkdir(mode=0o755, parents=True, exist_ok=True)  # whatever the umask: nobody else may write there
            self._hidden = self._own_folder()
            self.place = self._own_network(readers)
            self.configure(configuration(self._driver(driver, readers), self.place.port, readers, name=name))
        except BaseException:
            self._undo.close()
            raise
        self._undo.callback(_be_found_again, *_be_found(self.socket))

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

    def start(self) -> bool:
        """Start it as every kept process. Raises ProcessError, also if it refuses us."""
        has_begun = super().start()
        if has_begun and (refused := refusal()) is not None:
            self.stop()
            raise ProcessError(f"{refused}. {self.said}")
        return has_begun

    def close(self) -> None:
        """Stop it, and let the next one be. That it had to be killed is logged: it is gone, and all else goes on."""
        with self._undo:
            try:
                self.stop()
            except ProcessError as error:
                LOG.warning("%s", error)

    @property
    def socket(self) -> Path:
        """Return the path where programs reach it."""
        return (self._run if self._hidden else _RUN) / _SOCKET

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which programs find it."""
        return {_NAME: str(self.socket)}

    @property
    def log(self) -> str:
        """Return the end of its output as text."""
        try:
            said = (self._folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return lines("\n".join(said.splitlines()[-_LINES:]))

    def configure(self, text: str) -> None:
        """Set the reader.conf of the next start."""
        (self._configuration / "vpcd").write_text(text)

    @property
    def _configuration(self) -> Path:
        return self._folder / "reader.conf.d"

    def _own_folder(self) -> tuple[str, ...]:
        """Return the command that gives it a /run/pcscd of its own; none, when no other one may be, where it cannot."""
        hidden = ("unshare", "--mount", "sh", "-c", _HIDE, "sh", str(self._run))
        if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode == 0:
            return hidden
        lock = self._undo.enter_context((_RUN / "cardtear.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.warning(
                "only one pcscd can be here, for none can have a %s of its own; waiting for another's end", _RUN
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        return ()

    def _own_network(self, readers: int) -> PcscSlots:
        """Return where vpcd will be: in a network of its own, else in this one. Raises ProcessError."""
        try:
            network = NetworkNamespace()
        except OSError as error:
            if not only_us_path().exists():
                raise ProcessError(
                    f"others could reach it: no network can be made for it ({error}), which needs CAP_SYS_ADMIN, and "
                    f"{only_us_path()} is missing; install cardtear again, with a C compiler"
                ) from None
            port = free_ports(readers)
            LOG.warning(
                "pcscd can have no network of its own here (%s), which needs CAP_SYS_ADMIN; vpcd listens on loopback "
                "only, from port %d on, and lets in nobody but root",
                error.strerror,
                port,
            )
            return PcscSlots(port, daemon=self)
        self._undo.callback(network.close)
        return PcscSlots(PORT, inside=network.entered, daemon=self)

    def _driver(self, driver: str, readers: int) -> str:
        """Return the path of vpcd; for more readers than it has slots a copy, with further copies beside it.

        It lies with our other files, or in /tmp where reader.conf cannot have their path.
        """
        if readers <= SLOTS_OF_VPCD:
            return driver
        folder = self._folder
        if not _PLAIN.fullmatch(str(folder)):
            folder = self._undo.enter_context(TempDir(SHORT_FOLDER)).path
        folder /= "drivers"
        folder.mkdir(exist_ok=True)
        copied = str(shutil.copy(driver, folder))
        for each in copies(copied, readers):
            shutil.copy(driver, each)
        return copied

    def _spawn_it(self) -> subprocess.Popen[bytes]:
        command = (*_WITH_US, *self._hidden, *self._command)
        with (self._folder / "log").open("ab") as log, self.place.inside():
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._variables,
                process_group=0,  # Ctrl-C is for the program
            )

    @property
    def _variables(self) -> dict[str, str]:
        """Return its environment. With a folder and a network of its own it needs nothing that keeps others out."""
        is_alone = self._hidden and self.place.inside is not contextlib.nullcontext
        return dict(os.environ) if is_alone else {**os.environ, "LD_PRELOAD": only_us_preload()}

    def _answers_us(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(str(self.socket))
            return True
        return False


@functools.cache
def _socket_here() -> Path:
    """Return where this process looks for a pcscd of its own, decided once when it first needs PC/SC."""
    undo = contextlib.ExitStack()
    atexit.register(undo.close)
    folder = for_sockets(undo.enter_context(TempDir()).path, _SOCKET, undo)
    folder.mkdir(exist_ok=True)
    return folder / _SOCKET


def _be_found(place: Path | None) -> tuple[Path | None, str | None]:
    """Lead this process to a socket; return where it led before, and the variable's value."""
    link, known = _socket_here(), os.environ.get(_NAME)
    before = link.readlink() if link.is_symlink() else None
    link.unlink(missing_ok=True)
    if place is not None:
        link.symlink_to(place)
    os.environ[_NAME] = str(link)
    return before, known


def _be_found_again(before: Path | None, known: str | None) -> None:
    """Restore what `_be_found` changed."""
    _be_found(before)
    if known is None:
        del os.environ[_NAME]
    else:
        os.environ[_NAME] = known


def free_ports(count: int) -> int:
    """Return the first of so many consecutive free ports, others each time. Raises ProcessError."""
    for _ in range(100):
        port = random.SystemRandom().choice(_PORTS)
        with contextlib.suppress(OSError):
            for each in range(port, port + count):
                socket.create_server(("", each)).close()
            return port
    raise ProcessError(f"no {count} free ports")
