# SPDX-License-Identifier: MIT
"""A host whose module has quirks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.quirks import Quirks
from cardtear.reader.trace import CallEntry

from ...shared.host.host import Host, NewHost
from ...shared.waiting import wait_until


class Bed(NamedTuple):
    """A simulator with the standard card in `front`, and a host with the module initialised."""

    simulator: Simulator
    host: Host

    def again(self) -> None:
        """The card is pulled and put back."""
        card = self.simulator.remove("front")
        self.simulator.insert("front", card)

    def wait_for_call(self, name: str, count: int = 1) -> None:
        """Until the module has made so many calls of that name."""
        trace = self.simulator.testbed.trace
        wait_until(lambda: sum(isinstance(each, CallEntry) and each.name == name for each in trace.entries()) >= count)

    def wait_for_waiter(self) -> None:
        """Until a thread waits for an event."""
        wait_until(lambda: any(each.waiters for each in self.simulator._server.applications))


@pytest.fixture
def new_bed(new_host: NewHost) -> Iterator[Callable[..., Bed]]:
    """Makes a bed of quirks, as a script names them; without any, one that is as it should be."""
    with ExitStack() as stack:

        def make(*quirks: str) -> Bed:
            simulator = stack.enter_context(Simulator(quirks=Quirks.parse(quirks)))
            simulator.plug("front")
            simulator.insert("front")
            return Bed(simulator, new_host(simulator))

        yield make
