# SPDX-License-Identifier: MIT
"""What docs/findings.md says of real programs is so, and can be played again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cardtear.lab.scenario import Status, play_file
from cardtear.lab.scenario.shipped import find, findings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "findings.md").read_text()


@pytest.mark.parametrize("path", findings(), ids=lambda path: path.stem)
def test_findings(path: Path) -> None:
    """The scenario shows the fault."""
    outcome = play_file(path)
    if outcome.status is Status.SKIPPED:
        pytest.skip(outcome.message)
    assert outcome.passed, outcome.message
    assert outcome.message == "the fault is still there"


def test_no_claim_without_its_scenario() -> None:
    """Every row of the table has one, and every one a row."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    named = [re.findall(r"`cardtear play ([\w/-]+)`", row) for row in rows]
    assert all(len(each) == 1 for each in named)
    assert {find(name) for (name,) in named} == set(findings())
