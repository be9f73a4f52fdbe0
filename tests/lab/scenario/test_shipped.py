# SPDX-License-Identifier: MIT
"""The scenarios that come with cardtear: each passes as the module is, and fails with the quirks that it names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from cardtear.lab.scenario import Status, load, play_file
from cardtear.lab.scenario.shipped import shipped

FILES = shipped()
SCENARIOS = {path.stem: load(path) for path in FILES}


def _with_quirks() -> Iterator[tuple[str, int]]:
    for name, scenario in SCENARIOS.items():
        for number in range(len(scenario.fails_with)):
            yield name, number


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_passes(path: Path) -> None:
    outcome = play_file(path)
    if outcome.status is Status.SKIPPED:
        pytest.skip(outcome.message)
    assert outcome.passed, outcome.message


@pytest.mark.parametrize(("name", "number"), list(_with_quirks()))
def test_fails_with_the_bug(name: str, number: int) -> None:
    failure = SCENARIOS[name].fails_with[number]
    outcome = play_file(next(path for path in FILES if path.stem == name), quirks=failure.quirks)
    if outcome.status is Status.SKIPPED:
        pytest.skip(outcome.message)
    assert outcome.status is Status.FAILED
    assert failure.message.search(outcome.message), outcome.message


@pytest.mark.parametrize("name", SCENARIOS)
def test_says_where_it_comes_from(name: str) -> None:
    """A comment names the bug, and there are quirks with which it fails: there is none that no quirk shows."""
    text = next(path for path in FILES if path.stem == name).read_text()
    assert text.startswith("# ")
    assert SCENARIOS[name].about
    assert SCENARIOS[name].fails_with


def test_no_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What fails is said in the outcome."""
    with caplog.at_level(logging.ERROR):
        play_file(FILES[0])
    assert not caplog.records
