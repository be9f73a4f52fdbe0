# SPDX-License-Identifier: MIT
"""The list of measurements, and what they run with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .cards import cards
from .equipment import Equipment, InProcess
from .in_tests import fixtures, trace, triggers
from .pcsc import transmissions
from .rows import (
    Amount,
    BenchmarkRun,
    ResultRow,
    encryption,
    key_generation,
    polling_and_signing,
    rates,
    removals,
    search,
    starts,
    two_cards,
)
from .sweeps import sweeps

MEASUREMENTS: tuple[Callable[[BenchmarkRun], Iterator[ResultRow]], ...] = (
    polling_and_signing,
    rates,
    two_cards,
    encryption,
    key_generation,
    search,
    removals,
    starts,
    cards,
    fixtures,
    triggers,
    sweeps,
    trace,
    transmissions,
)
"""In this order; each restores the state of the simulator."""


def measure(folder: Path, amount: Amount) -> Iterator[ResultRow]:
    """Run all measurements; yield each row of the table as soon as it is measured."""
    equipment = Equipment(folder)
    with contextlib.ExitStack() as undo:
        served = undo.enter_context(equipment.simulator("run"))
        ours = undo.enter_context(equipment.ours(served, echo=undo.enter_context(equipment.echo_server())))
        theirs = equipment.theirs()
        if theirs is not None:
            undo.enter_context(theirs)
        run = BenchmarkRun(equipment, amount, served, ours, theirs, InProcess())
        for measurement in MEASUREMENTS:
            yield from measurement(run)
