# SPDX-License-Identifier: MIT
"""The report of a sweep as a picture of a terminal."""

from __future__ import annotations

import io
import shlex
from collections.abc import Collection

from rich.console import Console

from ..processes.terminal import styled
from .outcome import Verdict
from .report import Report
from .report_text import table

_WIDTH = 150


def picture(report: Report, allowed: Collection[Verdict]) -> str:
    """Draw what is printed at the end, with the command above it."""
    console = Console(record=True, width=_WIDTH, highlight=False, markup=False, file=io.StringIO())
    sides = " ".join(f"--{side}" for side in report.settings["when"])
    console.print(styled(f"$ cardtear sweep {sides} -- {shlex.join(report.command)}", "bold"))
    console.print()
    console.print(table(report, allowed))
    return console.export_svg(title="cardtear sweep")
