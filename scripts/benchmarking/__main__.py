# SPDX-License-Identifier: MIT
"""The benchmark as a program; it prints a table, Markdown or JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.backends.openssl import backend

from .plan import measure
from .rows import FULL, QUICK, ResultRow

COLUMNS = ("what", "p50", "p99", "references, p50", "target", "")
_NUMBERS = ("p50", "p99")


def machine() -> dict[str, Any]:
    """Describe the machine and its load (the average of the last minute)."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": backend.openssl_version_text(),
        "load": round(os.getloadavg()[0], 2),
    }


def title(about: dict[str, Any]) -> str:
    """Return the description of the machine as one line."""
    return (
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python {about['python']}, "
        f"{about['openssl']}, load {about['load']} at the start; times in microseconds"
    )


def cells(row: ResultRow) -> tuple[str, ...]:
    """Return the cells of a row as text, in the order of COLUMNS."""
    return (
        row.what,
        f"{row.p50:.0f} {row.unit if row.unit != 'us' else ''}".strip(),
        f"{row.p99:.0f}" if row.p99 is not None else "",
        ", ".join(f"{name} {value:.0f}" for name, value in row.references.items()),
        row.target,
        {None: "", True: "met", False: "missed"}[row.met],
    )


def show(about: dict[str, Any], rows: list[ResultRow]) -> None:
    """Print the rows as a table for a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title(about))
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in _NUMBERS else "left")
    for row in rows:
        table.add_row(*cells(row), style="bold" if row.met is False else None)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def show_markdown(about: dict[str, Any], rows: list[ResultRow]) -> None:
    """Print the rows as a Markdown table."""
    print(f"{title(about)}\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"|{'|'.join('---:' if column in _NUMBERS else '---' for column in COLUMNS)}|")
    for row in rows:
        print(f"| {' | '.join(cells(row))} |")


def collect(measured: Iterator[ResultRow]) -> list[ResultRow]:
    """Return all rows. Prints each on standard error when it is measured, because all of them take minutes."""
    rows = []
    for row in measured:
        print(f"{row.what}: {cells(row)[1]}", file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description="Measure the module beside its references.")
    parser.add_argument("--quick", action="store_true", help="take fewer samples")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a table for a page")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="cardtear-benchmark-") as folder:
        rows = collect(measure(Path(folder), QUICK if options.quick else FULL))
    if options.json:
        print(json.dumps({"machine": about, "rows": [{**row._asdict(), "met": row.met} for row in rows]}, indent=2))
    elif options.markdown:
        show_markdown(about, rows)
    else:
        show(about, rows)
    return int(options.check and any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
