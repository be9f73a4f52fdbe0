# SPDX-License-Identifier: MIT
"""A simulator in another process, with the verbs of Simulator. All of it goes over the control channel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from .client import Control, ControlFailure
from .remote_verbs import ReaderVerbs, SimulatorVerbs

if TYPE_CHECKING:
    from ..simulator.trigger import Trigger
    from ..trace.records import Record

DEADLINE = 30.0
"""Seconds that something may be waited for, unless a test says otherwise."""


class RemoteSimulator(SimulatorVerbs["RemoteReader"]):
    """Client of the simulator that `environment` names. `close` also calls `end`. Threads may share it.

    What a verb refuses is a ControlFailure, and has changed nothing.
    """

    def __init__(self, environment: Mapping[str, str], end: Callable[[], None] | None = None) -> None:
        self.environment = dict(environment)
        """The variables by which programs find the module and this simulator."""
        self._path = Path(environment["CARDTEAR_CONTROL"])
        self._control = Control(self._path)
        self._lock = threading.Lock()
        self._end = end

    def close(self) -> None:
        """Close the connection, and end the simulator if this object started it."""
        self._control.close()
        if self._end is not None:
            self._end()

    def do(self, verb: str, **arguments: Any) -> Any:
        """Send any verb of the control channel (docs/control.md), and return its result when it has taken effect."""
        with self._lock:
            return self._control.do(verb, **arguments)

    def carry_out(self, verb: str, **arguments: Any) -> Any:
        """Send a verb with its arguments, those without None, and return the result."""
        return self.do(verb, **{name: _written(value) for name, value in arguments.items() if value is not None})

    def reader(self, name: str) -> RemoteReader:
        """Return a reader that is, or will be, plugged in."""
        return RemoteReader(self, name)

    def arm(self, trigger: Trigger) -> int:
        """Do what the trigger says when its moment comes; a number for `disarm`. The trigger itself stays here: how
        often it has fired, `status` says."""
        from ..simulator.trigger_encoding import as_request

        return int(self.do("arm", **as_request(trigger))["trigger"])

    def status(self) -> dict[str, Any]:
        """Return readers, applications and armed triggers."""
        found: dict[str, Any] = self.do("status")
        return found

    def trace(self, after: int = 0) -> list[Record]:
        """Return the entries of the trace with a number above `after`: calls, APDUs and events in their order."""
        with Control(self._path) as control:
            control.limit(DEADLINE)
            return list(control.stream("trace", after=after, follow=False))

    def wait_for(self, kind: str, *, after: int = 0, deadline: float = DEADLINE, **fields: Any) -> Record:
        """The first entry of the trace with a number above `after` that has these fields, as soon as it is there:
        `wait_for("call", name="C_WaitForSlotEvent")`. Raises TimeoutError, ValueError for what no entry has."""
        from ..trace.records import check

        check(kind, fields)
        end = monotonic() + deadline
        with Control(self._path) as control, contextlib.suppress(TimeoutError):
            records = control.stream("trace", after=after)
            control.limit(deadline)
            for record in records:
                if record["kind"] == kind and all(record.get(name) == value for name, value in fields.items()):
                    return record
                control.limit(max(end - monotonic(), 0.001))
        wanted = ", ".join([kind, *(f"{name} {value}" for name, value in fields.items())])
        raise TimeoutError(f"waited {deadline:g} s for: {wanted}")


class RemoteReader(ReaderVerbs):
    """Client of one reader of a simulator in another process."""

    simulator: RemoteSimulator

    @property
    def card(self) -> str | None:
        """Return the name of the card in it, or None."""
        for each in self.simulator.status()["readers"]:
            if each["name"] == self.name:
                return each["card"]  # type: ignore[no-any-return]
        raise ControlFailure("no-such-reader", f"there is no reader {self.name!r}")

    def wait_for_pcsc(self, deadline: float = DEADLINE) -> None:
        """Wait until pcscd has the card that is in it. Raises TimeoutError."""
        end = monotonic() + deadline
        while not self._is_in_pcscd():
            if monotonic() > end:
                raise TimeoutError(f"waited {deadline:g} s for pcscd to have the card in {self.name}")
            sleep(0.02)  # pcscd itself looks every 0.4 s

    def _is_in_pcscd(self) -> bool:
        readers = self.simulator.status()["readers"]
        return any(each["name"] == self.name and each["pcsc"] and each["pcsc"]["shown"] for each in readers)


def _written(value: object) -> object:
    """Return an argument as JSON has it."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.hex()
    from ..simulator.value_types import as_card

    return as_card(value)
