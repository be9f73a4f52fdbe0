# SPDX-License-Identifier: MIT
"""The benchmark's rows for the token as a whole: threads, two cards, searches, ciphers, key generation."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Sequence
from time import perf_counter_ns

from .benchmark_bed import Amount, Bed, Host, Row, Times, ended, p50, timed
from .control import Control

_OBJECTS = 100
_COMPARED = {"sign_rsa": 20, "sign_ec": 40, "threads": 80, "encrypt": 5, "generate": 2}
"""What SoftHSM2 does too, and how many of each in one turn."""


def measure(bed: Bed, amount: Amount) -> list[Row]:
    """The rows. Without SoftHSM2 there is nothing to compare with, and those that need it are left out."""
    with bed.simulator(), bed.hosts() as (ours, theirs):
        times = _in_turns(ours, theirs, max(amount.turns // 5, 2))
        ours.measure("create", _OBJECTS)
        warm = ours.measure("find", 10 * amount.starts)
        cold = ours.measure("find_cold", amount.starts)
        scaling = _scaling(bed, ours, 20 * amount.turns)
    rows = []
    if theirs is not None:
        rows = [
            _beside("RSA-2048 signature, beside SoftHSM2", times, "sign_rsa", 1.0),
            _beside("RSA-2048 signature, 4 threads on one card", times, "threads", 1 / 0.8),
            _beside("P-256 signature, beside SoftHSM2", times, "sign_ec", 1 / 0.5),
            _beside("AES-GCM of 1 MB, session key", times, "encrypt", 1 / 0.5),
            _beside("RSA-2048 key generation", times, "generate", 1.3),
        ]
    return [
        *rows,
        timed(f"C_FindObjects over {_OBJECTS} objects, cold", cold, "p50 <= 5000", 5000),
        timed(f"C_FindObjects over {_OBJECTS} objects, warm", warm, "three round trips", 5000),
        *scaling,
    ]


def _in_turns(ours: Host, theirs: Host | None, turns: int) -> Times:
    times: Times = defaultdict(list)
    for turn in range(turns + 1):
        for name, count in _COMPARED.items():
            results = {name: ours.measure(name, count)}
            if theirs is not None:
                results[f"SoftHSM2 {name}"] = theirs.measure(name, count)
            if turn > 0:  # the first turn warms up
                for key, values in results.items():
                    times[key] += values
    return times


def _beside(what: str, times: Times, name: str, most: float) -> Row:
    """A row that may take `most` times what SoftHSM2 takes."""
    reference = p50(times[f"SoftHSM2 {name}"])
    target = f"p50 <= {most:.2f} x SoftHSM2 = {most * reference:.0f}"
    return timed(what, times[name], target, most * reference, SoftHSM2=reference)


def _scaling(bed: Bed, ours: Host, count: int) -> list[Row]:
    """How many RSA signatures two cards make, each with an application of its own, beside one."""
    alone = _rate([ours], count)
    with Control(bed.control) as control:
        control.do("plug", reader="second")
        control.do("insert", reader="second", card={"name": "Bob"})
    with bed.host(slot=1) as second:
        together = _rate([ours, second], count)
    process, _ = bed.start_simulator(bed.folder / "other")
    with ended(process), bed.host(socket=bed.folder / "other" / "p11.sock") as elsewhere:
        apart = _rate([ours, elsewhere], count)
    return [
        Row(what, None, None, "", rate, rate, {"one card": alone}, "signatures/s")
        for what, rate in (
            ("two cards, two applications, one simulator", together),
            ("two cards, two applications, two simulators", apart),
        )
    ]


def _rate(hosts: Sequence[Host], count: int) -> float:
    """RSA signatures per second of all hosts at once."""
    with contextlib.ExitStack() as threads:
        start = perf_counter_ns()
        for host in hosts:
            thread = threading.Thread(target=host.measure, args=("sign_rsa", count))
            thread.start()
            threads.callback(thread.join)
    return len(hosts) * count * 1e9 / (perf_counter_ns() - start)
