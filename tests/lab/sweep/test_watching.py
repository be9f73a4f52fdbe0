# SPDX-License-Identifier: MIT
"""Who watches a point being played does not change what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.sweep.outcome import Verdict
from cardtear.reader.trace import Entry, Trace

POINT = "host#1:1/C_Sign#1@before"


@pytest.mark.parametrize("kind", ["raises", "slow", "unsubscribes"])
def test_a_watcher_of_a_point(play: Callable[..., Any], kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The same verdict and time line as without one, and another watcher sees all of it."""
    heard: list[Entry] = []
    released = threading.Event()
    stops: list[Callable[[], None]] = []

    def bad(_entry: Entry) -> None:
        if kind == "raises":
            raise KeyError("logout")
        if kind == "slow":
            released.wait(20)
        stops[0]()

    def watch(trace: Trace) -> Callable[[], None]:
        stops.append(trace.subscribe(bad))
        stop = trace.subscribe(heard.append)

        def end() -> None:
            stop()
            released.set()
            stops[0]()

        return end

    plain, watched = play("logout", POINT), play("logout", POINT, watch=watch)
    assert plain.verdict is watched.verdict is Verdict.CLEAN
    assert (plain.logins, plain.verifies) == (watched.logins, watched.verifies)
    assert [each["change"] for each in watched.records if each["kind"] == "event"].count("logout") == 1
    assert sum(getattr(each, "change", None) == "logout" for each in heard) == 1
    assert ("is told nothing more" in caplog.text) == (kind == "raises")


def test_logout_with_and_without_only(sweep: Callable[..., Any], host: str) -> None:
    """The same exit code, and the time line has it."""
    options = ["--action", "logout", "--at", "calls"]
    alone = sweep([*options, "--only", POINT], host, "clean")
    (point,) = alone.report["outcomes"]
    everything = sweep(options, host, "clean")
    (same,) = [each for each in everything.report["outcomes"] if each["name"] == POINT]
    assert "Traceback" not in alone.output + everything.output
    assert alone.output.count("is logged out") == 1
    assert (point["verdict"], alone.code) == (same["verdict"], everything.code)
