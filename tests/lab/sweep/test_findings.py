# SPDX-License-Identifier: MIT
"""What docs/findings.md says of real programs is so, and can be played again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cardtear.lab.scenario import Status, play_file
from cardtear.lab.scenario.shipped import find, findings

from ...shared.installed import version

MENDED = {
    "libp11-crash": ("libengine-pkcs11-openssl", (0, 4, 13)),
    "libp11-hang": ("libengine-pkcs11-openssl", (0, 4, 21)),
    "opensc-hang": ("opensc", (0, 26, 1)),
}
"""The packages in which faults are, and the first versions that are known to show them no more."""

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "findings.md").read_text()


@pytest.mark.parametrize("path", findings(), ids=lambda path: path.stem)
def test_findings(path: Path) -> None:
    """The scenario shows the fault, or that it is mended."""
    outcome = play_file(path)
    if outcome.status is Status.SKIPPED:
        pytest.skip(outcome.message)
    if is_mended(path.stem):
        assert outcome.status is Status.FAILED
        assert "the fault does not show any more" in outcome.message
    else:
        assert outcome.passed, outcome.message
        assert outcome.message == "the fault is still there"


def is_mended(name: str) -> bool:
    package, first = MENDED.get(name, ("", ()))
    return name in MENDED and version(package) >= first


def test_what_is_mended_is_told() -> None:
    """The page says by which version."""
    for name, (_, first) in MENDED.items():
        row = next(line for line in TEXT.splitlines() if f"`cardtear play findings/{name}`" in line)
        assert f"not in {row.split('|')[2].split()[0]} {'.'.join(map(str, first))}" in row


def test_no_claim_without_its_scenario() -> None:
    """Every row of the table has one, and every one a row."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    named = [re.findall(r"`cardtear play ([\w/-]+)`", row) for row in rows]
    assert all(len(each) == 1 for each in named)
    assert {find(name) for (name,) in named} == set(findings())
