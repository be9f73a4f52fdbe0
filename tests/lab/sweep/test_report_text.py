# SPDX-License-Identifier: MIT
"""The report on a terminal: points that fail of one cause stand together."""

from __future__ import annotations

import pytest
from cardtear.lab.sweep import report_text
from cardtear.lab.sweep.command import Ended
from cardtear.lab.sweep.outcome import CommandRun, PointOutcome, Verdict
from cardtear.lab.sweep.report import Report


def crashed(number: int, name: str, seconds: float, error: str) -> PointOutcome:
    run = CommandRun(Ended(code=139, signal=None, output="", seconds=seconds), failures={error: 1})
    return PointOutcome(number, name, "", Verdict.CRASH, run)


def rows(report: Report, capsys: pytest.CaptureFixture[str], all_points: bool = False) -> list[str]:
    report_text.console().print(report_text.table(report, [], all_points))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines() if "host#" in line]


def test_points_of_one_cause_stand_together(capsys: pytest.CaptureFixture[str]) -> None:
    """What came of them is said once, without the times, which differ; another cause, another row."""
    outcomes = [
        crashed(1, "host#1:1/C_Login#1@before", 0.11, "C_Login CKR_DEVICE_REMOVED"),
        crashed(2, "host#1:1/C_Sign#1@before", 0.22, "C_Sign CKR_DEVICE_REMOVED"),
        crashed(3, "host#1:1/C_Logout#1@before", 0.33, "C_Login CKR_DEVICE_REMOVED"),
    ]
    first = CommandRun(Ended(code=0, signal=None, output="", seconds=0.1))
    settings = {"command": ["host"], "when": ["before"]}
    report = Report(settings, first, 1.0, [], outcomes={each.number: each for each in outcomes})
    together, second, alone = rows(report, capsys)
    assert "C_Login#1@before" in together
    assert together.endswith("exit 139, which is SIGSEGV; first error C_Login CKR_DEVICE_REMOVED")
    assert second.split() == ["3", "host#1:1/C_Logout#1@before"]
    assert alone.endswith("exit 139, which is SIGSEGV, after 0.22 s; first error C_Sign CKR_DEVICE_REMOVED")
    every = rows(report, capsys, all_points=True)
    assert [line.split()[0] for line in every] == ["1", "2", "3"]
    assert all(" after 0." in line for line in every)
