# SPDX-License-Identifier: MIT
"""The report of a sweep as JUnit XML: a test case for each point."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree

from .outcome import FINE, MEANING, Outcome, Verdict, tell
from .report import Report

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(report: Report, path: Path, allowed: Collection[Verdict]) -> None:
    """A failure for a point that is neither fine nor allowed, `skipped` for one that was not played or reached."""
    outcomes = report.in_order()
    failing = {each.number for each in report.failing(allowed)}
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(f"cardtear sweep {report.settings['action']} -- {shlex.join(report.command)}"),
        tests=str(len(report.points)),
        failures=str(len(failing)),
        errors="0",
        skipped=str(len(report.left) + sum(_is_skipped(each, failing) for each in outcomes)),
        time=f"{report.seconds:.3f}",
    )
    for point in report.points:
        outcome = report.outcomes.get(point.number)
        time = outcome.run.ended.seconds if outcome is not None and outcome.run is not None else 0.0
        program = _clean(point.place.program)
        case = ElementTree.SubElement(suite, "testcase", classname=program, name=_name(point.number, point.name))
        case.set("time", f"{time:.3f}")
        if outcome is None:
            ElementTree.SubElement(case, "skipped", message="not played")
        elif point.number in failing:
            failure = ElementTree.SubElement(case, "failure", type=str(outcome.verdict), message=_clean(tell(outcome)))
            failure.text = _clean(f"{MEANING[outcome.verdict]}\n{outcome.run.ended.output if outcome.run else ''}")
        elif _is_skipped(outcome, failing):
            ElementTree.SubElement(case, "skipped", message=f"{outcome.verdict}, which is allowed")
    tree = ElementTree.ElementTree(suite)
    ElementTree.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _is_skipped(outcome: Outcome, failing: Collection[int]) -> bool:
    return outcome.number not in failing and outcome.verdict not in FINE


def _name(number: int, name: str) -> str:
    return _clean(f"{number} {name}")


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
