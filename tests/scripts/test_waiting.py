# SPDX-License-Identifier: MIT
"""Tests wait for states and events: none but the one helper sleeps, and none asks the clock in a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
HELPER = TESTS / "shared" / "waiting.py"
CLOCKS = {"monotonic", "perf_counter", "time"}


def name_of(node: ast.AST) -> str:
    """Return the last part of the name that is called or used, such as `sleep` of `time.sleep`."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def faults(program: str) -> Iterator[tuple[int, str]]:
    """Give line and kind of each sleep, pause in disguise and hand-written poll in a program."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Call) and name_of(node) == "sleep":
            yield node.lineno, "sleep"
        elif isinstance(node, ast.Call) and node.args and is_wait_for_new_event(node.func):
            yield node.lineno, "wait for an event that nobody sets"
        elif isinstance(node, ast.While) and any(map(is_clock, ast.walk(node))):
            yield node.lineno, "loop that asks the clock"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "sleep(" in node.value:
            yield node.lineno, "sleep in an embedded program"


def is_wait_for_new_event(function: ast.expr) -> bool:
    """Return whether a function is `Event().wait`, of an event that has no name."""
    if not isinstance(function, ast.Attribute) or function.attr != "wait":
        return False
    return isinstance(function.value, ast.Call) and name_of(function.value) == "Event"


def is_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and name_of(node) in CLOCKS


@pytest.mark.parametrize(
    ("program", "kinds"),
    [
        ("import time\ntime.sleep(1)", ["sleep"]),
        ("sleep(1)", ["sleep"]),
        ("threading.Event().wait(1)", ["wait for an event that nobody sets"]),
        ("threading.Event().wait()\nevent.wait(1)", []),
        ("while not done:\n    assert time.monotonic() < end", ["loop that asks the clock"]),
        ("PROGRAM = 'import time; time.sleep(600)'", ["sleep in an embedded program"]),
        ("start = monotonic()\nwhile not done:\n    look()", []),
    ],
)
def test_what_is_found(program: str, kinds: list[str]) -> None:
    assert [kind for _, kind in faults(program)] == kinds


def test_only_the_helper_sleeps() -> None:
    """Every other file of the tests waits by it, or for an event."""
    files = sorted(file for file in TESTS.rglob("*.py") if file not in (HELPER, Path(__file__)))
    assert len(files) > 100
    found = [f"{file.relative_to(TESTS)}:{line}: {kind}" for file in files for line, kind in faults(file.read_text())]
    assert found == []
