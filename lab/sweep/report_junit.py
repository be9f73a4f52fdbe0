# SPDX-License-Identifier: MIT
"""The report of a sweep as JUnit XML: a test case for each point."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from xml.etree import ElementTree

from ...card.shown import lines
from ..trace.junit import document
from .outcome import FINE, MEANING, PointOutcome, Verdict, tell
from .report import Report


def text(report: Report, allowed: Collection[Verdict]) -> str:
    """Write a failure for a point that is neither fine nor allowed, `skipped` for one not played or reached."""
    outcomes = report.in_order()
    failing = {each.number for each in report.failing(allowed)}
    suite = ElementTree.Element(
        "testsuite",
        name=lines(f"cardtear sweep {report.settings['action']} -- {shlex.join(report.command)}"),
        tests=str(len(report.points)),
        failures=str(len(failing)),
        errors="0",
        skipped=str(len(report.left) + sum(_is_skipped(each, failing) for each in outcomes)),
        time=f"{report.seconds:.3f}",
    )
    for point in report.points:
        outcome = report.outcomes.get(point.number)
        time = outcome.run.ended.seconds if outcome is not None and outcome.run is not None else 0.0
        program = lines(point.place.program)
        case = ElementTree.SubElement(suite, "testcase", classname=program, name=_name(point.number, point.name))
        case.set("time", f"{time:.3f}")
        if outcome is None:
            ElementTree.SubElement(case, "skipped", message="not played")
        elif point.number in failing:
            failure = ElementTree.SubElement(case, "failure", type=str(outcome.verdict), message=lines(tell(outcome)))
            failure.text = lines(f"{MEANING[outcome.verdict]}\n{outcome.run.ended.output if outcome.run else ''}")
        elif _is_skipped(outcome, failing):
            ElementTree.SubElement(case, "skipped", message=f"{outcome.verdict}, which is allowed")
    return document(suite)


def _is_skipped(outcome: PointOutcome, failing: Collection[int]) -> bool:
    return outcome.number not in failing and outcome.verdict not in FINE


def _name(number: int, name: str) -> str:
    return lines(f"{number} {name}")
