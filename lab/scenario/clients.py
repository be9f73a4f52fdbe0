# SPDX-License-Identifier: MIT
"""The built-in clients, seen from the player: processes that make calls, and what comes back."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..clients.call_process import process as process_module
from ..clients.pkcs11 import rv_name

_NAMING = 5
"""Seconds within which a child that has connected says its name; another one waits for that."""

_STARTING = 30.0
"""Seconds that the start of a client may take, the loading of its module with it; no part of a step's deadline."""
_DYING = 5.0
"""Seconds that the kernel may take to end a killed process."""


class Pending:
    """A call that is under way, or what came of it.

    `answer` is a return value with its result, a string for what could not be called, None while it is under way;
    `is_lost` says that the process is gone.
    """

    def __init__(self) -> None:
        self.answer: tuple[int, Any] | str | None = None
        self.is_lost = False

    @property
    def is_over(self) -> bool:
        """Return whether nothing more will come."""
        return self.answer is not None or self.is_lost

    def __str__(self) -> str:
        if self.is_lost:
            return "the client died"
        if self.answer is None:
            return "it has not returned"
        return self.answer if isinstance(self.answer, str) else rv_name(self.answer[0])


class ClientProcess:
    """A client. `process` is None for one that another client has forked."""

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes] | None, changed: Callable[[], None]):
        self.process = process
        self.pid = process.pid if process is not None else 0
        self.initialized = False
        self.is_gone = False
        self._connection = connection
        self._changed = changed
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="client", daemon=True).start()

    def call(self, thread: str, function: str, arguments: list[Any]) -> Pending:
        """Begin a call in one of its threads."""
        pending, number = Pending(), next(self._numbers)
        with self._lock:
            pending.is_lost = self.is_gone
            self._pending[number] = pending
        try:
            self._connection.send((thread, number, function, arguments))
        except OSError:
            pending.is_lost = True
        return pending

    def leave(self) -> None:
        """Tell it to end by itself."""
        with contextlib.suppress(OSError):
            self._connection.send(None)

    def _listen(self) -> None:
        while True:
            try:
                number, answer = self._connection.recv()
                with self._lock:
                    self._pending.pop(number).answer = answer
            except Exception:  # whatever a pickle raises that is none: the client has ended, or is none of ours
                break
            self._changed()
        with self._lock:
            self.is_gone = True
            for pending in self._pending.values():
                pending.is_lost = True
        self._connection.close()
        self._changed()


SOCKET = "clients.sock"
"""Where forked children say who they are."""


class Clients:
    """The clients of one scenario by name. A context manager: at the end none is left."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self.by_name: dict[str, ClientProcess] = {}
        self._changed = changed
        self._folder = folder
        self._listener: socket.socket | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, module: str, environment: Mapping[str, str]) -> ClientProcess:
        """Start a process with the module loaded. Raises OSError if that fails."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", process_module.__name__, str(theirs.fileno()), module, name],
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._processes.append(process)
        connection = Connection(ours.detach())
        trouble: str | None = f"the client {name!r} does not start"
        with contextlib.suppress(EOFError, OSError):
            if connection.poll(_STARTING):
                trouble = connection.recv()
        if trouble is not None:
            raise OSError(trouble)
        client = self.by_name[name] = ClientProcess(connection, process, self._changed)
        return client

    def named(self, name: str) -> ClientProcess | None:
        """Return a client, also one that has ended; None for one that was not started."""
        return self.by_name.get(name)

    def running(self, name: str) -> ClientProcess | None:
        """Return a client that runs."""
        client = self.by_name.get(name)
        return None if client is None or client.is_gone else client

    def begin_child(self, name: str, pid: int) -> None:
        """Record the process id of a forked child that has connected; it is initialised as its parent was."""
        child = self.by_name[name]
        child.initialized, child.pid = True, pid

    def await_child(self, name: str) -> str:
        """Return the address, in the scenario's private folder, to which a forked child of this name connects."""
        self.by_name.pop(name, None)
        address = str(self._folder / SOCKET)
        if self._listener is None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(address)
            self._listener.listen()
            threading.Thread(target=self._accept, args=(self._listener,), name="clients", daemon=True).start()
        return address

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted = listener.accept()[0]
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _NAMING, 0))
                connection = Connection(os.dup(accepted.fileno()))
                with accepted, contextlib.suppress(Exception):  # a child that ended before it had said its name
                    name = connection.recv()
                    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
                    self.by_name[name] = ClientProcess(connection, None, self._changed)
                    self._changed()

    def close(self) -> None:
        """Kill what is left, with its children."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
        for process in self._processes:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those of its group, and bury it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_DYING)
