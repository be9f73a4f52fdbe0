# SPDX-License-Identifier: MIT
"""What watches must not change what happens: watchers and parts that raise, are slow, or go while they are called."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKR, CKS
from cardtear.reader import observers
from cardtear.reader.events import Change
from cardtear.reader.observers import Watcher
from cardtear.reader.reader import Event
from cardtear.reader.testbed import Testbed
from cardtear.reader.trace import Entry, Trace

from ..shared.host import probes
from ..shared.host.host import Host

DEADLINE = 10.0


class Watching:
    """A watcher of one of the bad kinds; `calls` is how often it was called."""

    def __init__(self, kind: str) -> None:
        self.kind, self.calls = kind, 0
        self.stop: Callable[[], None] = lambda: None
        self.called, self.released = threading.Event(), threading.Event()

    def __call__(self, _value: object) -> None:
        self.calls += 1
        self.called.set()
        if self.kind == "raises":
            raise KeyError("logout")
        if self.kind == "fails":
            pytest.fail("which is none of Exception's")
        if self.kind == "exits" and threading.current_thread() is not threading.main_thread():
            sys.exit("no reason to end a call's thread")
        if self.kind == "cannot write":
            raise OSError(28, "No space left on device")
        if self.kind == "slow":
            assert self.released.wait(5 * DEADLINE), "somebody has waited for the slow one"
        if self.kind == "unsubscribes":
            self.stop()


KINDS = ("raises", "fails", "exits", "cannot write", "slow", "unsubscribes")


@pytest.mark.parametrize("kind", KINDS)
def test_a_watcher_of_the_trace(simulator: Simulator, host: Host, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The call is answered at once and rightly, changes take effect, a good watcher hears everything in order."""
    bad, good = Watching(kind), [list[Entry](), list[Entry]()]
    trace = simulator.testbed.trace
    stops = [trace.subscribe(good[0].append)]
    bad.stop = trace.subscribe(bad)
    stops.append(trace.subscribe(good[1].append))
    first = trace.entries()[-1].number
    session = host.call(probes.user_session)
    simulator.logout("front")
    assert host.call(Module.session_state, session) == CKS.RO_PUBLIC_SESSION
    simulator.remove("front")
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    for stop in stops:
        stop()
    entries = trace.entries(first)
    assert sorted(good[0]) == sorted(good[1]) == entries
    assert bad.called.wait(DEADLINE)
    assert bad.calls == 1
    bad.released.set()
    bad.stop()
    if kind in ("raises", "fails", "exits", "cannot write"):
        assert sum("it is told nothing more" in each.message for each in caplog.records) == 1
    if kind == "cannot write":
        assert "No space left on device" in caplog.text
        assert "Traceback" not in caplog.text


@pytest.mark.parametrize("kind", ["raises", "fails", "unsubscribes"])
def test_a_listener_of_the_bench(simulator: Simulator, host: Host, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """It runs inside the change; sessions, the other listeners and the order are as without it."""
    bad, good = Watching(kind), [list[Event](), list[Event]()]
    simulator.testbed.subscribe(good[0].append)
    bad.stop = simulator.testbed.subscribe(bad)
    simulator.testbed.subscribe(good[1].append)
    session = host.call(probes.user_session)
    simulator.logout("front")
    simulator.remove("front")
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    assert [each.change for each in good[0]] == [each.change for each in good[1]] == [Change.LOGOUT, Change.REMOVE]
    assert bad.calls == 1
    assert ("and is dropped" in caplog.text) == (kind != "unsubscribes")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_held_up(kind: type[BaseException]) -> None:
    """Ctrl-C may come while a listener runs."""
    bench = Testbed()

    def interrupted(_event: Event) -> None:
        raise kind

    bench.subscribe(interrupted)
    with pytest.raises(kind):
        bench.plug("front")


def test_changes_that_a_listener_makes(simulator: Simulator) -> None:
    """Others hear of them after the change in which they are made."""
    heard: list[Change] = []

    def push_back(event: Event) -> None:
        if event.change is Change.REMOVE:
            simulator.insert("front")

    simulator.testbed.subscribe(push_back)
    simulator.testbed.subscribe(lambda event: heard.append(event.change))
    simulator.remove("front")
    assert heard == [Change.REMOVE, Change.INSERT]


@pytest.mark.parametrize("kind", ["raises", "fails", "exits", "unsubscribes"])
def test_a_watcher_of_calls_and_apdus(
    simulator: Simulator, host: Host, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on as if nobody had watched; others see it."""
    bad, good = Watching(kind), [list[Any](), list[Any]()]
    bad.stop = lambda: simulator.testbed.unwatch(bad)
    for watcher in (good[0].append, bad, good[1].append):
        simulator.testbed.watch(watcher)
    assert host.call(probes.user_session)
    assert good[0] == good[1]
    assert len(good[0]) > 4
    assert bad.calls == 1
    assert ("and is dropped" in caplog.text) == (kind != "unsubscribes")


def test_a_part_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and stays; the others are told."""
    bench, heard = Testbed(), list[Change]()
    bad = Watching("raises")
    bench.add_part(bad)
    bench.add_part(lambda event: heard.append(event.change))
    bench.plug("front")
    bench.unplug("front")
    assert heard == [Change.PLUG, Change.UNPLUG]
    assert bad.calls == 2
    assert "failed at" in caplog.text


def test_a_watcher_that_is_too_far_behind(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and dropped, and nothing is kept for it."""
    monkeypatch.setattr(observers, "ROOM", 100)
    trace, slow = Trace(), Watching("slow")
    trace.subscribe(slow)
    trace.returned(0, "C_GetInfo", 0)
    assert slow.called.wait(DEADLINE)
    for _ in range(200):
        trace.returned(0, "C_GetInfo", 0)
    slow.released.set()
    assert "is 100 entries behind; it is told nothing more" in caplog.text
    assert trace._parts == ()
    assert slow.calls == 1


def test_a_watcher_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is dropped when there is more to tell it."""
    monkeypatch.setattr(observers, "PATIENCE", 0.0)
    trace, slow = Trace(), Watching("slow")
    trace.subscribe(slow)
    trace.returned(0, "C_GetInfo", 0)
    assert slow.called.wait(DEADLINE)
    trace.returned(0, "C_GetInfo", 0)
    slow.released.set()
    assert "has not come back for 0 s" in caplog.text
    assert trace._parts == ()


def test_the_end_of_a_watcher_that_hangs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is not waited for long."""
    monkeypatch.setattr(observers, "LAST_WORDS", 0.05)
    trace, slow = Trace(), Watching("slow")
    stop = trace.subscribe(slow)
    trace.returned(0, "C_GetInfo", 0)
    assert slow.called.wait(DEADLINE)
    stop()
    slow.released.set()
    assert "has not ended within" in caplog.text


def test_no_watcher_costs_nothing(bench: Testbed) -> None:
    """Recording is then one append to a ring, by the very method of the ring."""
    trace = bench.trace
    plain = trace._record
    assert plain == trace._entries.append
    stop = trace.subscribe(lambda _entry: None)
    assert trace._record != plain
    stop()
    assert trace._record == plain
    assert not [each for each in threading.enumerate() if each.name == "watcher"]


def test_errors_that_are_no_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    """One that wants to end its thread ends itself only."""
    caplog.set_level(logging.WARNING)

    def leave(_value: int) -> None:
        raise SystemExit

    watcher = Watcher(leave, "it")
    watcher.tell(1)
    watcher.close()
    assert "it failed; it is told nothing more" in caplog.text
