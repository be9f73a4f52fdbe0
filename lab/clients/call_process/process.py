# SPDX-License-Identifier: MIT
"""The built-in client: a process of its own that loads a module and makes the calls it is told to, in named threads.

`python -m cardtear.lab.clients.call_process.process FD MODULE NAME`; the other end is scenario/clients.py.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ....p11.constants import CKR
from ...processes.library_warnings import silence_library_warnings
from ..pkcs11 import Module
from .calls import Calls

_Task = tuple[int, str, list[Any]]


class Process:
    """What there is once in a client: the module, the connection to the player, and threads by name."""

    def __init__(self, connection: Connection, module: Module) -> None:
        self._connection = connection
        self._module = module
        self._calls = Calls(module)
        self._threads: dict[str, queue.SimpleQueue[_Task]] = {}
        self._sending = threading.Lock()

    def serve(self) -> None:
        """Carry out requests until the player ends."""
        while (asked := self._asked()) is not None:
            thread, number, function, arguments = asked
            if thread not in self._threads:
                self._threads[thread] = queue.SimpleQueue()
                threading.Thread(target=self._work, args=(self._threads[thread],), name=thread, daemon=True).start()
            self._threads[thread].put((number, function, arguments))

    def _asked(self) -> tuple[str, int, str, list[Any]] | None:
        try:
            thread, number, function, arguments = self._connection.recv()
            return str(thread), number, str(function), list(arguments)
        except Exception:  # the end, or nothing that a player says
            return None

    def _work(self, tasks: queue.SimpleQueue[_Task]) -> None:
        while True:
            number, function, arguments = tasks.get()
            try:
                answer: object = self._call(function, arguments)
            except Exception as error:
                answer = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
            with self._sending, contextlib.suppress(OSError):
                self._connection.send((number, answer))

    def _call(self, function: str, arguments: list[Any]) -> tuple[int, Any]:
        if function == "fork":
            return self._fork(*arguments)
        return self._calls.call(function, arguments)

    def _fork(self, name: str, address: str) -> tuple[int, Any]:
        """Fork a child that is a client with a connection of its own; return its process number."""
        with self._sending:  # no half-sent answer is copied
            child = os.fork()
        if child == 0:
            code = 1
            try:
                _name_yourself(name)
                there = socket.socket(socket.AF_UNIX)
                there.connect(address)
                connection = Connection(there.detach())
                connection.send(name)
                Process(connection, self._module).serve()
                code = 0
            finally:
                os._exit(code)
        threading.Thread(target=os.waitpid, args=(child, 0), daemon=True).start()
        return int(CKR.OK), child


def _name_yourself(name: str) -> None:
    """Set the name by which the trace knows this process."""
    Path("/proc/self/comm").write_text(name[:15])


def main() -> None:
    """Run the process; it ends without C_Finalize unless the scenario calls it, but with the module's destructors."""
    silence_library_warnings()  # Python's own of a fork beside threads, too: it is asked for
    descriptor, module, name = sys.argv[1:]
    _name_yourself(name)
    connection = Connection(int(descriptor))
    try:
        loaded = Module(module)
    except OSError as error:
        connection.send(str(error))
        return
    connection.send(None)
    with contextlib.suppress(EOFError, OSError):
        Process(connection, loaded).serve()


if __name__ == "__main__":
    main()
