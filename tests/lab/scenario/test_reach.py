# SPDX-License-Identifier: MIT
"""No method of lab/scenario reaches through one of its objects into another one: `self.a.b.c` is a method of a's."""

from __future__ import annotations

import ast
from pathlib import Path

import cardtear.lab.scenario as room
import pytest

FILES = sorted(Path(str(room.__file__)).parent.glob("*.py"))


def reaching(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        names, inner = 0, node
        while isinstance(inner, ast.Attribute):
            names, inner = names + 1, inner.value
        if names > 2 and isinstance(inner, ast.Name) and inner.id == "self":
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_attribute_is_reached_through_two_objects(file: Path) -> None:
    assert reaching(file.read_text()) == []


def test_the_check_finds_one() -> None:
    assert reaching("self.a.b\nself.a.b()\nself.a.b.c\n") == ["self.a.b.c"]
