# SPDX-License-Identifier: MIT
"""scripts/benchmark: how fast the module is, beside references measured in the same run.

Times are taken by a C application (benchmark_host.c) against `cardtear serve` in a process of its own, as a user has
it. What is compared is measured in turns of a few milliseconds, so that the machine's moods fall on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.backends.openssl import backend

from ..csrc import module_path
from . import benchmark_token
from .benchmark_bed import FULL, QUICK, Amount, Bed, Host, InProcess, Row, Times, ended, p50, p99, timed
from .control import Control

TURN = {"echo": 50, "C_GetSlotInfo": 50, "C_GetSessionInfo": 50, "sign_rsa": 10, "sign_ec": 20}
"""Measurements of each kind in one turn."""


def measure(bed: Bed, amount: Amount) -> list[Row]:
    """Everything, as the rows of the table."""
    starts, memory = _starts(bed, amount.starts)
    with bed.simulator():
        first = _first_signatures(bed, amount.starts)
        with bed.hosts() as (ours, theirs):
            apdus = _apdus_of_polling(bed, ours)
            times = _in_turns(ours, theirs, InProcess(), amount.turns)
            waits = ours.measure("wait", amount.removals)
            (alive,) = ours.measure("window", amount.windows)
    echo = p50(times["echo"])
    rows = [
        timed(name, times[name], f"p50 <= 2 x echo = {2 * echo:.0f}", 2 * echo, echo=echo)
        for name in ("C_GetSlotInfo", "C_GetSessionInfo")
    ]
    for name, what in (("sign_rsa", "SignInit + Sign, RSA-2048"), ("sign_ec", "SignInit + Sign, P-256")):
        plain = p50(times[f"cryptography {name}"])
        references = {"cryptography": plain}
        if f"SoftHSM2 {name}" in times:
            references["SoftHSM2"] = p50(times[f"SoftHSM2 {name}"])
        if name == "sign_rsa":
            limit, target = 1.2 * plain, f"p50 <= 1.2 x cryptography = {1.2 * plain:.0f}"
        else:
            limit, target = plain + 6 * echo, f"p50 <= cryptography + 6 echoes = {plain + 6 * echo:.0f}"
        rows.append(timed(what, times[name], target, limit, **references))
    slowest = p99(waits)
    rows.append(Row("remove -> C_WaitForSlotEvent", p50(waits), slowest, "p99 <= 1000", slowest, 1000, {}))
    beside = {"SoftHSM2": p50(first["SoftHSM2"])} if "SoftHSM2" in first else {}
    rows.append(timed("dlopen to first RSA signature", first["cardtear"], "p50 <= 15000", 15_000, **beside))
    rows.append(timed("cardtear serve to ready", starts, "p50 <= 400000", 400_000))
    rows += [
        Row("cardtear serve, resident", None, None, "<= 60", memory, 60, {}, "MB"),
        Row(f"sessions alive after remove, of {amount.windows}", None, None, "0", alive, 0, {}, ""),
        Row("APDUs of 200 polling calls", None, None, "0", apdus, 0, {}, ""),
    ]
    return rows


def _in_turns(ours: Host, theirs: Host | None, plain: InProcess, turns: int) -> Times:
    """All that is compared, a few of each kind in turn. The first turn warms up."""
    times: Times = defaultdict(list)
    for turn in range(turns + 1):
        for name, count in TURN.items():
            results = {name: ours.measure(name, count)}
            if name.startswith("sign"):
                results[f"cryptography {name}"] = plain.measure(name, count)
                if theirs is not None:
                    results[f"SoftHSM2 {name}"] = theirs.measure(name, count)
            if turn > 0:
                for key, values in results.items():
                    times[key] += values
    return times


def _first_signatures(bed: Bed, count: int) -> Times:
    """With a card that has just been inserted, so that nothing is known of it yet."""
    times: Times = defaultdict(list)
    with Control(bed.control) as control:
        for _ in range(count):
            control.do("remove", reader="front")
            control.do("insert", reader="front")
            times["cardtear"].append(bed.first_signature(str(module_path()), f"socket={bed.socket}"))
            if bed.softhsm is not None:
                times["SoftHSM2"].append(bed.first_signature(bed.softhsm, ""))
    return times


def _starts(bed: Bed, count: int) -> tuple[list[int], float]:
    """Times from the start of the simulator until it is ready, and its resident memory then, in MB."""
    times, memory = [], []
    for number in range(count + 1):
        process, duration = bed.start_simulator(bed.folder / f"start-{number}")
        with ended(process):
            if number > 0:  # the first one makes the card
                times.append(duration)
                memory.append(_resident(process.pid))
    return times, statistics.median(memory)


def _apdus_of_polling(bed: Bed, ours: Host) -> int:
    """APDUs in the trace of 100 C_GetSlotInfo and 100 C_GetSessionInfo."""
    with Control(bed.control) as control:
        last = max(record["number"] for record in control.stream("trace", after=0, follow=False))
        # The host looks for its keys after each measurement, so that each has its own end in the trace.
        names = ("C_GetSlotInfo", "C_GetSessionInfo")
        for name in names:
            ours.measure(name, 100)
        records = list(control.stream("trace", after=last, follow=False))
    polls = {record["call"] for record in records if record["kind"] == "call" and record["name"] in names}
    if len(polls) != 200:
        raise SystemExit(f"{len(polls)} polling calls in the trace, not 200")
    return sum(record["kind"] == "apdu" and record["call"] in polls for record in records)


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def machine() -> dict[str, Any]:
    """What was measured on, and how busy it was with other things: `load` is the average of the last minute."""
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


def show(about: dict[str, Any], rows: list[Row]) -> None:
    """The table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python {about['python']}, "
        f"{about['openssl']}, load {about['load']} at the start; times in microseconds"
    )
    for column in ("what", "p50", "p99", "references, p50", "target", ""):
        table.add_column(column, justify="right" if column.startswith("p") else "left")
    for row in rows:
        p50 = f"{row.p50:.0f}" if row.p50 is not None else f"{row.value:.0f} {row.unit}".strip()
        table.add_row(
            row.what,
            p50,
            f"{row.p99:.0f}" if row.p99 is not None else "",
            ", ".join(f"{name} {value:.0f}" for name, value in row.references.items()),
            row.target,
            "met" if row.met else "[bold]missed[/bold]",
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def main() -> int:
    """The entry point. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description="Measure the module beside its references.")
    parser.add_argument("--quick", action="store_true", help="take fewer samples")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="cardtear-benchmark-") as folder:
        bed, amount = Bed(Path(folder)), QUICK if options.quick else FULL
        rows = measure(bed, amount) + benchmark_token.measure(bed, amount)
    if options.json:
        print(json.dumps({"machine": about, "rows": [{**row._asdict(), "met": row.met} for row in rows]}, indent=2))
    else:
        show(about, rows)
    return int(options.check and not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
