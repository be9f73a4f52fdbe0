# SPDX-License-Identifier: MIT
"""Measurements for tests: the start of a fixture, calls that a trigger misses, the cost of the trace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from time import perf_counter, perf_counter_ns, thread_time
from types import SimpleNamespace
from typing import Any, cast

from cardtear.csrc import module_path
from cardtear.lab.clients import firefox
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.clients.tls_server import TlsServer
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.lab.testing.pool import Pool
from cardtear.lab.trace.records import as_record
from cardtear.p11.constants import CKR
from cardtear.reader.reader import Insertion
from cardtear.reader.trace import ApduEntry, CallEntry, Entry, ReturnEntry, Trace

from .rows import BenchmarkRun, ResultRow, at_most, count

REMOVE = {"do": "remove", "reader": "front"}


def fixtures(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the start of a test's simulator with its card; the first of a run also starts their process."""
    times = []
    with Pool() as pool:
        for _ in range(run.amount.fixtures + 1):
            start = perf_counter_ns()
            simulator = pool.start()
            simulator.plug("front").insert()
            times.append(perf_counter_ns() - start)
            simulator.close()
    first, *others = times
    yield at_most("a test's card, ready", others, "", 50_000, {"the run's first": first / 1000})


def triggers(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Count the calls that do not see a removal that is armed before them."""
    module = Module(module_path())
    module.initialize(run.served.socket)
    try:
        with Control(run.served.control) as control:
            yield count(
                f"calls that outran a trigger, of {run.amount.windows}", outrun(module, control, run.amount.windows)
            )
    finally:
        module.finalize()


def outrun(module: Module, control: Control, turns: int) -> int:
    """Return how many of `turns` calls, or of calls in a second session after them, did not see the removal."""
    info = module.ffi.new("CK_SESSION_INFO *")
    late = 0
    for _ in range(turns):
        first, second = module.open_session(0), module.open_session(0)
        control.do("arm", on={"call": "C_GetSessionInfo"}, then=REMOVE)
        found = [module.call("C_GetSessionInfo", session, info) for session in (first, second)]
        late += found != [CKR.SESSION_HANDLE_INVALID] * 2
        control.do("insert", reader="front")
    return late


def trace(run: BenchmarkRun) -> Iterator[ResultRow]:
    """Measure the share of the trace in the time that Firefox takes for a page; nothing without Firefox."""
    if not run.amount.pages or firefox.Firefox.missing_parts():
        return
    shares, calls = [], []
    ca = paths.test_ca()
    with Simulator() as simulator, TlsServer(ca) as server:
        simulator.plug("front")
        with firefox.Firefox(module_path(), simulator.environment, ca.certificate) as browser:
            for _ in range(run.amount.pages):
                simulator.insert("front")
                entries, seconds = page(simulator, browser, server.url)
                simulator.remove("front")
                browser.wait_for_status(firefox.NOT_PRESENT)
                shares.append(100 * cost(entries) / seconds)
                calls.append(sum(isinstance(entry, CallEntry) for entry in entries))
    share = sorted(shares)[len(shares) // 2]
    what = f"trace of a page in Firefox, {sorted(calls)[len(calls) // 2]} calls"
    yield ResultRow(what, share, None, "%", {}, "< 5 % of its time", share, 5)


def page(simulator: Simulator, browser: firefox.Firefox, url: str) -> tuple[list[Entry], float]:
    """Open a page with a card just inserted; return the trace entries and the seconds that it took."""
    browser.wait_for_status(firefox.NOT_LOGGED_IN)
    (name,) = (each["card"] for each in simulator.status()["readers"])

    def is_known(certificates: list[tuple[str, str]]) -> bool:
        return any(token == name for token, _ in certificates)

    browser.wait(browser.certificates, is_known, f"{name}'s certificates")
    before = max(entry.number for entry in simulator.testbed.trace.entries())
    start = perf_counter()
    if browser.open(url) != f"client: {name}":
        raise SystemExit("the browser does not open a page with the card")
    return simulator.testbed.trace.entries(before), perf_counter() - start


def cost(entries: Sequence[Entry]) -> float:
    """Return the CPU seconds for recording these entries and encoding each as JSON."""
    again = Trace()
    calls: dict[int | None, int] = {}
    again.add_part(_write_down)  # in this thread, whose time is measured
    start = thread_time()
    for entry in entries:
        match entry:
            case CallEntry():
                calls[entry.call] = again.call(entry.application, entry.thread, entry.name, entry.arguments)
            case ReturnEntry():
                again.returned(calls.get(entry.call, 0), entry.name, entry.value)
            case ApduEntry():
                again.apdu(*_exchange(entry))
    return thread_time() - start


def _write_down(entry: Entry) -> None:
    json.dumps(as_record(entry))


def _exchange(entry: ApduEntry) -> tuple[Insertion, bytes, bytes | None]:
    """Return the APDU of an entry, with zeros for bytes that the trace leaves out."""
    place: Any = SimpleNamespace(reader=SimpleNamespace(name=entry.reader), card=SimpleNamespace(name=entry.card))
    command = entry.command.ljust(entry.command_length, b"\0")
    if entry.status is None:
        return cast(Insertion, place), command, None
    return cast(Insertion, place), command, bytes(entry.response_length) + entry.status.to_bytes(2, "big")
