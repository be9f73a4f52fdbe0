# SPDX-License-Identifier: MIT
"""The time line of a simulator as text, for reports."""

from __future__ import annotations

import io
import traceback

from rich.console import Console

from ...card.shown import lines, shown
from ...card.wording import counted
from ..trace.timeline import Timeline
from .client import ControlFailure
from .remote import RemoteSimulator

LINES = 300
"""The last lines that are kept: what went wrong is at the end."""


def time_line(simulator: RemoteSimulator) -> str:
    """Return what has happened so far, or why it cannot be told. Raises nothing: a report must not end the run."""
    try:
        return _time_line(simulator)
    except (ControlFailure, OSError) as error:
        return f"the simulator cannot be asked: {shown(str(error))}"
    except Exception:
        return f"the time line cannot be shown:\n{lines(traceback.format_exc())}"


def _time_line(simulator: RemoteSimulator) -> str:
    text = io.StringIO()
    timeline = Timeline(Console(file=text, width=1000, highlight=False, color_system=None), most_apdus=10, folds=True)
    for record in simulator.trace():
        timeline.add(record)
    timeline.flush()
    printed = text.getvalue().splitlines()
    left_out = len(printed) - LINES
    return "\n".join([f"({counted(left_out, 'line')} before)"] * (left_out > 0) + printed[-LINES:])
