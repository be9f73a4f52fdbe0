# SPDX-License-Identifier: MIT
"""Readers of the bench as programs of PC/SC see them: one pcscd for each test module, real programs, deadlines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.pcsc.vpcd import VpcdAdapter
from cardtear.reader.trace import ApduEntry

from ...shared.programs import Ended, Run, Succeed, runner, well
from . import pcsc
from .daemon import OwnPcscd, own_pcscd
from .pcsc import DEADLINE, READER, SECOND_READER


@pytest.fixture(scope="module")
def pcscd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a pcscd has its files."""
    return tmp_path_factory.mktemp("pcscd")


@pytest.fixture(scope="module")
def pcscd(pcscd_folder: Path) -> Iterator[OwnPcscd]:
    """A running pcscd; programs and this process find it by their environment."""
    with own_pcscd(pcscd_folder) as daemon:
        daemon.start()
        yield daemon


@pytest.fixture
def context(pcscd: OwnPcscd) -> Iterator[pcsc.Context]:
    """A PC/SC program, before any card is there."""
    context = pcsc.Context()
    context.wait(READER, pcsc.EMPTY, DEADLINE)
    yield context
    with contextlib.suppress(pcsc.PcscError):  # that pcscd may be gone
        context.close()


@pytest.fixture
def adapter(simulator: Simulator, context: pcsc.Context, pcscd: OwnPcscd) -> Iterator[VpcdAdapter]:
    """The standard card in a reader that pcscd sees."""
    adapter = VpcdAdapter(
        simulator.testbed, pcscd.place.port, simulator.testbed.reader("front"), inside=pcscd.place.inside
    )
    context.wait(READER, pcsc.PRESENT, DEADLINE)
    yield adapter
    adapter.close()
    context.wait(READER, pcsc.EMPTY, DEADLINE)


@pytest.fixture
def shown(pcscd: OwnPcscd, context: pcsc.Context) -> Iterator[Simulator]:
    """A simulator whose reader `front`, with the standard card, is in pcscd."""
    with Simulator(pcsc=pcscd.place) as simulator:
        simulator.plug("front")
        simulator.insert("front")
        context.wait(READER, pcsc.PRESENT, DEADLINE)
        yield simulator
    again = pcsc.Context()  # pcscd may have been restarted
    again.wait(READER, pcsc.EMPTY, DEADLINE)
    again.wait(SECOND_READER, pcsc.EMPTY, DEADLINE)
    again.close()


@pytest.fixture
def run(pcscd: OwnPcscd, tmp_path: Path) -> Run:
    """Runs a program of PC/SC in a folder of its own. Fails when it hangs or crashes."""
    return runner(tmp_path, pcscd.environment)


@pytest.fixture
def succeed(run: Run) -> Succeed:
    """Runs a program that has to succeed; its output."""
    return well(run)


class Pulling:
    """Runs a program of PC/SC three times: undisturbed, with the card pulled while it works, and with it back again."""

    def __init__(self, simulator: Simulator, run: Run, context: pcsc.Context) -> None:
        self._simulator = simulator
        self._run = run
        self._context = context

    def in_the_middle(self, *command: str, ins: int | None = None, **options: Any) -> tuple[str, Ended]:
        """What it says undisturbed, and how it ends without its card, which is pulled at the middle one of its APDUs
        (of that instruction)."""
        before = self._simulator.testbed.trace.entries()[-1].number
        undisturbed = self._run(*command, **options)
        sent = [
            entry.command
            for entry in self._simulator.testbed.trace.entries(before)
            if isinstance(entry, ApduEntry) and ins in (None, entry.command[1])
        ]
        assert sent, f"{command[0]} has not used the card"
        wanted = sent[len(sent) // 2]
        nth = sum(each[1] == wanted[1] for each in sent[: len(sent) // 2 + 1])
        self._simulator.arm(Trigger("remove", {"reader": "front"}, ins=wanted[1], nth=nth))
        pulled = self._run(*command, **options)
        assert self._simulator.testbed.reader("front").insertion is None, f"nothing was pulled:\n{pulled.output}"
        self._context.wait(READER, pcsc.EMPTY, DEADLINE)
        self._simulator.insert("front")
        self._context.wait(READER, pcsc.PRESENT, DEADLINE)
        again = self._run(*command, **options)
        assert again.code == undisturbed.code, again.output
        return undisturbed.output, pulled


@pytest.fixture
def pulling(shown: Simulator, run: Run, context: pcsc.Context) -> Pulling:
    """The card pulled under a program."""
    return Pulling(shown, run, context)
