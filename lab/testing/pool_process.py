# SPDX-License-Identifier: MIT
"""The process of a pool: starts and ends simulators by lines of JSON on standard input, with one reply for each.

It ends, with all its simulators and files, at the end of standard input or of the process that started it. If it is
killed itself, the next one removes its files.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from ...p11.quirks import Quirks
from ...reader.pcsc.vpcd_slots import PcscSlots
from ...reader.waiting import readable
from ..control.simulator import Simulator
from ..processes.library_warnings import silence_library_warnings
from ..processes.temp_dir import TempDir
from ..simulator.own_pcscd import OwnPcscd, why_not

_GRACE = 5.0
"""Seconds that a killed program may take to be gone."""


class PooledSimulators:
    """The simulators by number, and other programs that end with the run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._simulators: dict[int, Simulator] = {}
        self._adopted: list[int] = []
        self._pcscd: OwnPcscd | None = None

    def carry_out(self, line: bytes) -> dict[str, Any]:
        """Carry out the request of a line and return the reply; it has `error` if the request failed."""
        try:
            request = json.loads(line)
            return self._VERBS[request["do"]](self, **request["arguments"])
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """End the simulators, the pcscd and the adopted programs."""
        for simulator in self._simulators.values():
            simulator.close()
        if self._pcscd is not None:
            self._pcscd.close()
        for program in self._adopted:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(program, signal.SIGKILL)
                readable(_GRACE, program)  # its files go next

    def _start(self, quirks: list[str], pcsc: str | None) -> dict[str, Any]:
        # The sockets of one that has ended are the next one's: a module that is still loaded in the tests' process, and
        # has not been finalised, finds it there.
        number = next(each for each in itertools.count(1) if each not in self._simulators)
        place, variables = (None, {}) if pcsc is None else self._pcsc(pcsc)
        simulator = self._simulators[number] = Simulator(self._folder / f"run-{number}", Quirks.parse(quirks), place)
        return {"number": number, "environment": simulator.environment | variables}

    def _pcsc(self, name: str) -> tuple[PcscSlots, dict[str, str]]:
        """Return pcscd's place, and the variables by which programs find it. Raises ProcessError, ValueError."""
        if why_not() is not None:
            return PcscSlots(), {}
        if self._pcscd is None:
            folder = self._folder / "pcscd"
            folder.mkdir()
            daemon = OwnPcscd(folder, name)
            daemon.__enter__()
            self._pcscd = daemon
        self._pcscd.start()  # one test may have stopped it
        return self._pcscd.place, self._pcscd.environment

    def _end(self, number: int) -> dict[str, Any]:
        self._simulators.pop(number).close()
        return {}

    def _make_folder(self) -> dict[str, Any]:
        return {"folder": tempfile.mkdtemp(dir=self._folder)}

    def _adopt(self, process: int) -> dict[str, Any]:
        self._adopted.append(os.pidfd_open(process))  # a number may be another's by then
        return {}

    _VERBS: ClassVar[dict[str, Callable[..., dict[str, Any]]]] = {
        "start": _start,
        "end": _end,
        "make-folder": _make_folder,
        "adopt": _adopt,
    }


def lines(parent: int) -> Iterator[bytes]:
    """Yield the lines of standard input until its end or the parent's: a fork of the parent may keep it open."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    try:
        poll.register(os.pidfd_open(parent), select.POLLIN)
    except ProcessLookupError:
        return
    pending = bytearray()
    while [fd for fd, _ in poll.poll()] == [0] and (some := os.read(0, 65536)):
        pending += some
        if b"\n" in some:
            *whole, rest = bytes(pending).split(b"\n")
            pending[:] = rest
            yield from whole


def main() -> None:
    """Serve requests; the argument is the number of the parent process."""
    silence_library_warnings()
    with TempDir() as scratch, contextlib.closing(PooledSimulators(scratch.path)) as host:
        tempfile.tempdir = str(scratch.path)
        for line in lines(int(sys.argv[1])):
            sys.stdout.write(json.dumps(host.carry_out(line)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
