# SPDX-License-Identifier: MIT
"""What is measured, one after the other, with what."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .bed import Bed, InProcess
from .cards import cards
from .in_tests import fixtures, trace, triggers
from .pcsc import transmissions
from .rows import (
    Amount,
    Row,
    Run,
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

MEASUREMENTS: tuple[Callable[[Run], Iterator[Row]], ...] = (
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
"""In this order; each undoes what it has done to the simulator."""


def measure(folder: Path, amount: Amount) -> Iterator[Row]:
    """Everything, as the rows of the table, each as soon as it is known."""
    bed = Bed(folder)
    with contextlib.ExitStack() as undo:
        served = undo.enter_context(bed.simulator("run"))
        ours = undo.enter_context(bed.ours(served, echo=undo.enter_context(bed.echo_server())))
        theirs = bed.theirs()
        if theirs is not None:
            undo.enter_context(theirs)
        run = Run(bed, amount, served, ours, theirs, InProcess())
        for measurement in MEASUREMENTS:
            yield from measurement(run)
