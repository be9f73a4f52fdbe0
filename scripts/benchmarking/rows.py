# SPDX-License-Identifier: MIT
"""The measurements, each a function that yields rows of the table, and their targets."""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cardtear.lab.control.client import Control

from .equipment import Equipment, InProcess, MeasuringApplication, ServedSimulator

THEIRS, PLAIN = "SoftHSM2", "cryptography"

Times = dict[str, list[int]]
"""Nanoseconds by what was measured, and by whom if that was not our module."""


class Amount(NamedTuple):
    """How often each measurement is repeated."""

    turns: int
    removals: int
    windows: int
    starts: int
    rates: int
    searches: int
    ciphers: int
    pairs: int
    fixtures: int
    pages: int
    points: int


FULL = Amount(
    turns=100,
    removals=1000,
    windows=10_000,
    starts=20,
    rates=12,
    searches=50,
    ciphers=50,
    pairs=100,
    fixtures=100,
    pages=3,
    points=64,
)
QUICK = Amount(
    turns=5, removals=50, windows=100, starts=1, rates=1, searches=3, ciphers=2, pairs=2, fixtures=3, pages=0, points=4
)


class ResultRow(NamedTuple):
    """One line of the table. `value` has to be at most `limit` (`at_least`: at least); without one it is only shown."""

    what: str
    p50: float
    p99: float | None
    unit: str
    references: dict[str, float]
    target: str = ""
    value: float = 0
    limit: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Return whether the target is met; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class BenchmarkRun(NamedTuple):
    """What every measurement works with. `theirs` is None if SoftHSM2 is not installed."""

    equipment: Equipment
    amount: Amount
    served: ServedSimulator
    ours: MeasuringApplication
    theirs: MeasuringApplication | None
    plain: InProcess

    def in_turns(self, counts: dict[str, int], turns: int, alone: Sequence[str] = ()) -> Times:
        """Measure the kinds in turn with every module, those in `alone` with ours only. The first turn is discarded."""
        times: Times = defaultdict(list)
        for turn in range(turns + 1):
            for name, count in counts.items():
                results = {name: self.ours.measure(name, count)}
                if self.theirs is not None and name not in alone:
                    results[f"{THEIRS} {name}"] = self.theirs.measure(name, count)
                if name.startswith("sign"):
                    results[f"{PLAIN} {name}"] = self.plain.measure(name, count)
                if turn > 0:
                    for key, values in results.items():
                        times[key] += values
        return times

    def apdus(self, name: str, count: int, calls: Sequence[str]) -> int:
        """Count the APDUs of these functions in `count` measurements."""
        with Control(self.served.control) as control:
            before = max(record["number"] for record in control.stream("trace", after=0, follow=False))
            self.ours.measure(name, count)
            records = list(control.stream("trace", after=before, follow=False))
        counted = {record["call"] for record in records if record["kind"] == "call" and record["name"] in calls}
        if len(counted) < count * len(calls):
            raise SystemExit(f"{len(counted)} calls of {', '.join(calls)} in the trace")
        return sum(record["kind"] == "apdu" and record["call"] in counted for record in records)


def polling_and_signing(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure polling calls and signatures, beside a round trip and the bare signature."""
    counts = {"echo": 50, "C_GetSlotInfo": 50, "C_GetSessionInfo": 50, "sign_rsa": 10, "sign_ec": 20}
    times = run.in_turns(counts, run.amount.turns, alone=("echo", "C_GetSlotInfo", "C_GetSessionInfo"))
    echo = _p50(times["echo"])
    for name in ("C_GetSlotInfo", "C_GetSessionInfo"):
        yield at_most(name, times[name], "2 x echo", 2 * echo, {"echo": echo})
    references = _references(times, "sign_rsa")
    what = "SignInit + Sign, RSA-2048"
    yield at_most(what, times["sign_rsa"], "1.2 x cryptography", 1.2 * references[PLAIN], references)
    references = _references(times, "sign_ec") | {"echo": echo}
    limit = references[PLAIN] + 6 * echo
    yield at_most("SignInit + Sign, P-256", times["sign_ec"], "cryptography + 6 echoes", limit, references)
    if THEIRS in references:
        ours, theirs = 1e6 / _p50(times["sign_ec"]), 1e6 / references[THEIRS]
        yield _rate("P-256 signatures", ours, {THEIRS: theirs}, 0.5)


def rates(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the rate of RSA signatures of one application on one card."""
    for threads, factor in ((1, 1.0), (4, 0.8)):
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(run.amount.rates):
            found[""].append(_together([run.ours], threads))
            if run.theirs is not None:
                found[THEIRS].append(_together([run.theirs], threads))
        references = {name: statistics.median(values) for name, values in found.items() if name}
        what = f"RSA-2048 signatures, {threads} thread{'s' if threads > 1 else ''}"
        yield _rate(what, statistics.median(found[""]), references, factor)


def two_cards(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the rate of RSA signatures of two applications with a card each, beside one alone."""
    with contextlib.ExitStack() as undo:
        with Control(run.served.control) as control:
            control.do("plug", reader="back")
            control.do("insert", reader="back", card={"name": "Bob"})
        second = undo.enter_context(run.equipment.ours(run.served, token=1))
        other = undo.enter_context(run.equipment.ours(undo.enter_context(run.equipment.simulator("second"))))
        hosts = {"one": [run.ours], "one simulator": [run.ours, second], "two simulators": [run.ours, other]}
        theirs = run.equipment.theirs()
        if run.theirs is not None and theirs is not None:
            hosts[f"{THEIRS} one"], hosts[THEIRS] = [run.theirs], [run.theirs, undo.enter_context(theirs)]
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(run.amount.rates):
            for name, members in hosts.items():
                found[name].append(_together(members, 1))
        rate = {name: statistics.median(values) for name, values in found.items()}
        for name in ("one simulator", "two simulators", *([THEIRS] if THEIRS in rate else [])):
            alone = rate[f"{THEIRS} one" if name == THEIRS else "one"]
            yield _rate(f"RSA-2048 signatures, 2 applications, {name}", rate[name], {"1 application": alone})
        with Control(run.served.control) as control:
            control.do("unplug", reader="back")


def encryption(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the encryption of a megabyte, which goes through the socket and back."""
    times = run.in_turns({"aes_gcm": 2}, run.amount.ciphers)
    references = _references(times, "aes_gcm")
    limit = 2 * references[THEIRS] if THEIRS in references else None
    yield at_most("AES-256-GCM of 1 MB", times["aes_gcm"], "2 x SoftHSM2", limit, references)


def key_generation(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the generation of RSA keys on the card. The mean is compared, because the search for primes is random."""
    times = run.in_turns({"generate_rsa": 1}, run.amount.pairs)
    mean = {name: statistics.fmean(values) / 1000 for name, values in times.items()}
    references = _references(times, "generate_rsa")
    theirs = mean.get(f"{THEIRS} generate_rsa")
    target, limit = ("", None) if theirs is None else (f"mean <= 1.3 x SoftHSM2 = {1.3 * theirs:.0f}", 1.3 * theirs)
    values = times["generate_rsa"]
    what = "RSA-2048 key generation"
    yield ResultRow(what, _p50(values), _p99(values), "us", references, target, mean["generate_rsa"], limit)


def search(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the search of 100 data objects, just after the insertion of the card and later."""
    hosts = [run.ours] if run.theirs is None else [run.ours, run.theirs]
    for host in hosts:
        host.measure("make_objects")
    cold = run.ours.measure("cold_search", run.amount.searches)
    run.ours.measure("search", 1)
    apdus = run.apdus("search", 1, ("C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal"))
    times = run.in_turns({"search": 5, "echo": 5}, run.amount.searches, alone=("echo",))
    references = _references(times, "search")
    for host in hosts:
        host.measure("destroy_objects")
    yield at_most("search of 100 objects, card just inserted", cold, "", 5000, {})
    yield at_most("the same again", times["search"], "", None, references | {"echo": _p50(times["echo"])})
    yield count("APDUs of the same again", apdus)


def removals(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure how soon a waiting call returns, and count the sessions that are left."""
    waits = run.ours.measure("wait", run.amount.removals)
    p99 = _p99(waits)
    yield ResultRow("remove -> C_WaitForSlotEvent", _p50(waits), p99, "us", {}, "p99 <= 1000", p99, 1000)
    (alive,) = run.ours.measure("window", run.amount.windows)
    yield count(f"sessions alive after remove, of {run.amount.windows}", alive)
    yield count(
        "APDUs of 200 polling calls",
        sum(run.apdus(name, 100, (name,)) for name in ("C_GetSlotInfo", "C_GetSessionInfo")),
    )


def starts(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the start of an application with a card just inserted, and of the simulator."""
    times: Times = defaultdict(list)
    with Control(run.served.control) as control:
        for _ in range(run.amount.starts):
            control.do("remove", reader="front")
            control.do("insert", reader="front")
            times["first"].append(run.equipment.first_signature(run.served))
            if run.equipment.softhsm is not None:
                times[f"{THEIRS} first"].append(run.equipment.first_signature(None))
    references = _references(times, "first")
    yield at_most("dlopen to first RSA signature", times["first"], "", 15_000, references)
    ready, memory = [], []
    for number in range(run.amount.starts):
        with run.equipment.simulator(f"start-{number}") as served:
            ready.append(served.duration)
            memory.append(served.resident())
    yield at_most("cardtear serve to ready", ready, "", 400_000, {})
    resident = statistics.median(memory)
    yield ResultRow("cardtear serve, resident", resident, None, "MB", {}, "<= 60", resident, 60)


def _together(hosts: Sequence[MeasuringApplication], threads: int) -> float:
    """Return the RSA signatures a second of programs that sign at the same time."""
    for host in hosts:
        host.begin("rate", threads)
    return sum(1e9 / duration for host in hosts for duration in host.results())


def _references(times: Times, name: str) -> dict[str, float]:
    return {who: _p50(times[f"{who} {name}"]) for who in (PLAIN, THEIRS) if f"{who} {name}" in times}


def _p50(times: list[int]) -> float:
    return statistics.median(times) / 1000


def _p99(times: list[int]) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * 99 // 100)] / 1000


def at_most(what: str, times: list[int], words: str, limit: float | None, references: dict[str, float]) -> ResultRow:
    """Return the row of a time, whose median is compared with a limit in microseconds."""
    p50 = _p50(times)
    target = "" if limit is None else " = ".join(part for part in (f"p50 <= {words}".rstrip(), f"{limit:.0f}") if part)
    return ResultRow(what, p50, _p99(times), "us", references, target.replace("<= =", "<="), p50, limit)


def _rate(what: str, rate: float, references: dict[str, float], factor: float | None = None) -> ResultRow:
    """Return the row of a rate, which is compared with a part of that of SoftHSM2."""
    theirs = references.get(THEIRS)
    if factor is None or theirs is None:
        return ResultRow(what, rate, None, "1/s", references)
    limit = factor * theirs
    target = f">= {factor} x SoftHSM2 = {limit:.0f}"
    return ResultRow(what, rate, None, "1/s", references, target, rate, limit, at_least=True)


def count(what: str, count: int) -> ResultRow:
    """Return the row of a number that has to be 0."""
    return ResultRow(what, count, None, "", {}, "0", count, 0)
