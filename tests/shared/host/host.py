# SPDX-License-Identifier: MIT
"""A host process: a real application with the built module loaded, which evaluates what a test asks it to.

The test holds a Host; run as a script this file is the other end. Expressions see `m` (lab.client.Module), the
numbers of the standard (CKR, CKA ...) and the functions of probes.py and its neighbours.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

DEADLINE = 20.0
"""Seconds that any evaluation may take, unless a test says otherwise."""


class Raised(Exception):
    """The expression raised: `value` is the CK_RV when it was a function of the module that failed."""

    def __init__(self, text: str, value: int | None) -> None:
        super().__init__(text)
        self.value = value


class Host:
    """A host process. `eval` waits, `start` gives a Future; each evaluation runs in a thread of its own there."""

    def __init__(self, module: Path, environment: dict[str, str]) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(theirs[0]), str(ours[1]), str(module)],
            pass_fds=(theirs[0], ours[1]),
            env={**os.environ, **environment},
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._out = Connection(theirs[1], readable=False)
        self._in = Connection(ours[0], writable=False)
        self._numbers = itertools.count(1)
        self._futures: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, expression: str, **names: Any) -> Future[Any]:
        """Begin an evaluation."""
        number, future = next(self._numbers), Future[Any]()
        with self._lock:
            self._futures[number] = future
            self._out.send((number, expression, names))
        return future

    def eval(self, expression: str, deadline: float = DEADLINE, **names: Any) -> Any:
        """The value of an expression there. Raises Raised, TimeoutError."""
        return self.start(expression, **names).result(deadline)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self) -> None:
        """End the process; one that hangs is killed, and that is an error."""
        try:
            self._out.send(None)
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
                number, ok, value = self._in.recv()
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


def main() -> None:
    """The other end."""
    from cardtear.lab.clients.pkcs11 import Failed, Module
    from cardtear.p11 import constants

    receive = Connection(int(sys.argv[1]), writable=False)
    send = Connection(int(sys.argv[2]), readable=False)
    lock = threading.Lock()
    sys.path.insert(0, str(Path(__file__).parent))
    import key_probes  # type: ignore[import-not-found]
    import nss_probes  # type: ignore[import-not-found]
    import probes  # type: ignore[import-not-found]
    import trigger_probes  # type: ignore[import-not-found]

    scope = {
        **vars(constants),
        **vars(probes),
        **vars(nss_probes),
        **vars(key_probes),
        **vars(trigger_probes),
        "m": Module(sys.argv[3]),
        "Failed": Failed,
        "os": os,
    }

    def evaluate(number: int, expression: str, names: dict[str, Any]) -> None:
        answer: tuple[int, bool, Any]
        try:
            answer = (number, True, eval(expression, {**scope, **names}))  # noqa: S307 - that is what it is for
        except Failed as failure:
            answer = (number, False, (str(failure), failure.value))
        except BaseException as error:
            answer = (number, False, (f"{type(error).__name__}: {error}", None))
        with lock:
            send.send(answer)

    while (asked := receive.recv()) is not None:
        threading.Thread(target=evaluate, args=asked, daemon=True).start()
    sys.stdout.flush()
    os._exit(0)  # without C_Finalize, as browsers do


if __name__ == "__main__":
    main()
