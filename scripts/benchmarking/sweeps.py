# SPDX-License-Identifier: MIT
"""Measurements of a sweep: the time of a point above its command, and the use of the cores."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.sweep import runner
from cardtear.lab.sweep.options import Asked
from cardtear.lab.sweep.outcome import PointOutcome
from cardtear.lab.sweep.plan import Plan
from cardtear.lab.sweep.points import Choice

from .rows import BenchmarkRun, ResultRow, at_most

COMMAND = (
    "pkcs11-tool --module {module} --login --pin 123456 --sign --mechanism SHA256-RSA-PKCS --id 01 "
    "-i {module} -o {dir}/signature"
)
AT_A_TIME = 8


def sweeps(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Sweep a signature of pkcs11-tool, one point at a time and then more than there are cores."""
    if shutil.which("pkcs11-tool") is None:
        return
    plan = Asked(tuple(COMMAND.split())).plan(CardRequest())
    with runner.local(1)(1) as executor:
        survey = runner.survey(executor, plan, Choice())
    alone, _, _ = _swept(plan, survey, run.amount.points, 1)
    own = [round(each.overhead * 1e9) for each in alone]
    command = survey.first.ended.seconds * 1e6
    yield at_most("a sweep point, above the time of its command", own, "", 60_000, {"the command": command})
    together, seconds, share = _swept(plan, survey, run.amount.points, AT_A_TIME)
    cores = len(os.sched_getaffinity(0))
    limit = 80 * min(AT_A_TIME, cores) / cores
    what = f"cores' time used by a sweep, {AT_A_TIME} points at a time"
    references = {"points a second": len(together) / seconds}
    yield ResultRow(what, share, None, "%", references, f">= {limit:.0f} %", share, limit, at_least=True)


def _swept(plan: Plan, survey: runner.Survey, count: int, jobs: int) -> tuple[list[PointOutcome], float, float]:
    """Sweep `count` points; return their outcomes, the seconds, and the share of the free CPU time used, in %."""
    points = list(itertools.islice(survey.points, count))
    told: list[PointOutcome] = []
    start, worked, idle = perf_counter(), _worked(), _idle()
    runner.sweep(runner.local(jobs), plan, survey.first, points, survey.deadline, told.append)
    seconds, worked, idle = perf_counter() - start, _worked() - worked, _idle() - idle
    return told, seconds, 100 * worked / (worked + idle)


def _worked() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _idle() -> float:
    """Return the seconds that our cores have been idle or have waited for a disk (proc(5), stat)."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    ticks = sum(int(words[4]) + int(words[5]) for words in lines if words[0] in ours)
    return ticks / os.sysconf("SC_CLK_TCK")
