# SPDX-License-Identifier: MIT
"""A host process as a test holds it: functions of the test run there, with the loaded module as first argument."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import cloudpickle
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator

from .probes import return_value
from .process import NUMBER_LENGTH

DEADLINE = 20.0
"""Seconds that any call may take, unless a test says otherwise."""

_ROOT = Path(__file__).resolve().parents[3]
_IMPORTED_THERE = ("cardtear.", __package__)
"""Modules that the host process imports itself; functions of any other one are sent whole."""

P = ParamSpec("P")
R = TypeVar("R")
HostFunction = Callable[Concatenate[Module, P], R]


class Raised(Exception):
    """A function raised in the host process: `value` is the CK_RV when a function of the module failed."""

    def __init__(self, text: str, value: int | None) -> None:
        super().__init__(text)
        self.value = value


class Host:
    """A host process. `call` waits, `start` gives a Future; each function runs in a thread of its own there.

    A function is a method of Module, one of the probes beside this file, or a lambda of the test, whose variables are
    sent along: they must be values, not objects of this process.
    """

    def __init__(self, module: Path, environment: dict[str, str]) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.process", str(theirs[0]), str(ours[1]), str(module)],
            pass_fds=(theirs[0], ours[1]),
            env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'scripts'}", **environment},
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._out = Connection(theirs[1], readable=False)
        self._in = Connection(ours[0], writable=False)
        self._numbers = itertools.count(1)
        self._futures: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, function: HostFunction[P, R], *arguments: P.args, **named: P.kwargs) -> Future[R]:
        """Begin a function there; the Future raises Raised if the function does, EOFError if the process ends."""
        if not function.__module__.startswith(_IMPORTED_THERE):
            cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
        request = cloudpickle.dumps((function, arguments, named))
        number, future = next(self._numbers), Future[R]()
        with self._lock:
            self._futures[number] = future
            self._out.send_bytes(number.to_bytes(NUMBER_LENGTH, "big") + request)
        return future

    def call(self, function: HostFunction[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Return what a function returns there. Raises Raised, EOFError, TimeoutError after DEADLINE."""
        return self.start(function, *arguments, **named).result(DEADLINE)

    def start_rv(self, function: HostFunction[P, R], *arguments: P.args, **named: P.kwargs) -> Future[int]:
        """Begin a function that may fail: the CK_RV of the call in it that failed, or CKR_OK."""
        return self.start(return_value, function, *arguments, **named)

    def rv(self, function: HostFunction[P, R], *arguments: P.args, **named: P.kwargs) -> int:
        """Return the CK_RV of the call that fails in a function, or CKR_OK."""
        return self.start_rv(function, *arguments, **named).result(DEADLINE)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self) -> None:
        """End the process. One that hangs is killed. Raises AssertionError if it hung or crashed."""
        try:
            self._out.send_bytes(b"")
            self.process.wait(DEADLINE)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()
            raise
        finally:
            self._out.close()
        if self.process.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(f"the host process ended with {self.process.returncode}")

    def _listen(self) -> None:
        while True:
            try:
                number, ok, value = pickle.loads(self._in.recv_bytes())
            except (EOFError, OSError):
                break
            with self._lock:
                future = self._futures.pop(number)
            if ok:
                future.set_result(value)
            else:
                future.set_exception(Raised(*value))
        with self._lock:
            for future in self._futures.values():
                future.set_exception(EOFError("the host process is gone"))
            self._futures.clear()


class NewHost(Protocol):
    """Start host processes (fixture `new_host`)."""

    def __call__(
        self,
        simulator: Simulator | None = None,
        initialize: bool = True,
        library: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        **variables: str,
    ) -> Host:
        """Start one with the simulator's environment and these variables; it calls C_Initialize unless told not to."""
