# SPDX-License-Identifier: MIT
"""Wait for a state that another thread or process brings about, never for a fixed time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from time import monotonic, sleep
from typing import Any, ParamSpec, TypeVar

import pytest

Value = TypeVar("Value")
P = ParamSpec("P")

DEADLINE = 30.0
"""Seconds that a wait may take: an upper limit for what hangs, also on a busy machine."""

_SHORTEST, _LONGEST = 0.001, 0.05
"""Seconds between two looks at a condition; they grow, so that a long wait leaves the processor to others."""


def wait_until(
    condition: Callable[[], Value], about: str | Callable[[], str] = "", *, deadline: float = DEADLINE
) -> Value:
    """Return the first true value of a condition; fail the test after the deadline, with `about` in the message.

    For a state that nobody tells: where there is an event, a future, a stream or an end of a process, wait for that.
    """
    end, pause = monotonic() + deadline, _SHORTEST
    while not (value := condition()):
        if monotonic() > end:
            told = about if isinstance(about, str) else about()
            raise AssertionError(f"the awaited state did not come within {deadline:g} s: {told or condition}")
        sleep(pause)
        pause = min(1.5 * pause, _LONGEST)
    return value


def wait_for_success(
    attempt: Callable[[], Value], *errors: type[Exception], about: str = "", deadline: float = DEADLINE
) -> Value:
    """Return the value of the first attempt that raises none of these errors; each attempt may repeat safely."""
    values: list[Value] = []

    def succeeds() -> bool:
        try:
            values.append(attempt())
        except errors:
            return False
        return True

    wait_until(succeeds, about, deadline=deadline)
    return values[0]


def assert_waits_on(future: Future[Any], seconds: float) -> None:
    """Fail the test if the call behind a future ends within so many seconds."""
    with pytest.raises(TimeoutError):
        future.result(seconds)


def call_with_deadline(function: Callable[P, Value], *arguments: P.args, **named: P.kwargs) -> Value:
    """Return what a call returns, or raise what it raises; fail the test if it takes longer than DEADLINE."""
    future: Future[Value] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=call, daemon=True).start()
    return future.result(DEADLINE)


def take_time(seconds: float) -> None:
    """Keep the calling thread busy for so long: for doubles that are slow on purpose, and for the pace of changes."""
    sleep(seconds)
