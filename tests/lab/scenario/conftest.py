# SPDX-License-Identifier: MIT
"""Scenarios as texts, played."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.scenario import Outcome, play_file

Play = Callable[..., Outcome]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A file with this text, its indentation taken away."""

    def make(text: str, name: str = "some.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return make


@pytest.fixture
def play(write: Callable[..., Path]) -> Play:
    """The outcome of a scenario of this text."""

    def make(text: str, **options: Any) -> Outcome:
        return play_file(write(text), **options)

    return make


@pytest.fixture
def passes(play: Play) -> Play:
    """The same of one that has to pass."""

    def make(text: str, **options: Any) -> Outcome:
        outcome = play(text, **options)
        assert outcome.passed, outcome.message
        return outcome

    return make
