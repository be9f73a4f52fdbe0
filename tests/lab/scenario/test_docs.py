# SPDX-License-Identifier: MIT
"""What the documentation shows can be played, and its tables have every step, condition and field of the model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cardtear.lab.scenario import Scenario
from cardtear.lab.scenario.conditions import CONDITIONS, HAPPENINGS
from cardtear.lab.scenario.fields import Model
from cardtear.lab.scenario.steps import STEPS

from .conftest import Play

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = [
    text
    for file in ("README.md", "docs/scenarios.md")
    for text in re.findall(r"^```yaml\n(.*?)^```", (ROOT / file).read_text(), re.DOTALL | re.MULTILINE)
    if "steps:" in text
]


@pytest.mark.needs("pkcs11-tool")
@pytest.mark.parametrize("text", EXAMPLES, ids=["README", "reference"])
def test_an_example(passes: Play, text: str) -> None:
    passes(text)


def rows() -> list[str]:
    text = (ROOT / "docs/scenarios.md").read_text()
    return [line for line in text.splitlines() if line.startswith("| `")]


def fields_of(model: type[Model], key: str) -> set[str]:
    names = {field.alias or name for name, field in model.model_fields.items()}
    return names - {key, "note", "since", "within"}


@pytest.mark.parametrize("key", sorted(STEPS))
def test_every_step_has_a_row_with_its_fields(key: str) -> None:
    row = next(row for row in rows() if re.search(rf"^\| [^|]*`{key}(?![\w-])", row))
    assert {field for field in fields_of(STEPS[key], key) if not re.search(rf"\b{field}\b", row)} == set()


@pytest.mark.parametrize("key", sorted(set(CONDITIONS) - {"value"}))
def test_every_condition_has_a_row_with_its_fields(key: str) -> None:
    row = next(row for row in rows() if row.startswith(f"| `{{{key}: "))
    assert {field for field in fields_of(CONDITIONS[key], key) if not re.search(rf"\b{field}\b", row)} == set()
    assert ("only `expect`" in row) == (key not in HAPPENINGS)


def test_the_fields_of_a_scenario_are_those_of_the_table() -> None:
    table = (ROOT / "docs/scenarios.md").read_text().split("| field |")[1].split("\n\n")[0]
    told = {name for row in table.splitlines()[2:] for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    assert told == {field.alias or name for name, field in Scenario.model_fields.items()}
