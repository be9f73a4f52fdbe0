# SPDX-License-Identifier: MIT
"""Imports point one way: card <- reader <- p11 <- lab. csrc knows only the call table, scenarios are files."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT: dict[str, set[str]] = {
    "card": {"card"},
    "reader": {"card", "reader"},
    "p11": {"card", "reader", "p11"},
    "csrc": {"csrc", "p11"},
    "scenarios": set(),
    "lab": {"card", "reader", "p11", "csrc", "scenarios", "lab"},
}


def _imported(file: Path) -> Iterator[str]:
    """The folders of ours that a file imports from."""
    folders = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folders[: len(folders) - node.level + 1]
            module = (node.module or "").split(".")
            path = (*base, *(each for each in module if each))
            if path:
                yield path[0]
            else:
                yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("cardtear"), f"{file}: imports among ourselves are relative"
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("cardtear") for alias in node.names), f"{file}: as above"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        assert set(_imported(file)) <= MAY_IMPORT[folder] | {"__version__"}, file


def test_csrc_knows_only_the_tables_of_calls() -> None:
    """What is called, and what may be returned."""
    for file in (ROOT / "csrc").glob("*.py"):
        modules = {
            node.module
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and node.level == 2
        }
        assert modules <= {"p11.calls", "p11.constants", "p11.return_values"}, file


def test_every_package_is_installed() -> None:
    """An import that works in a checkout only works after an installation if the package list names it."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"card", "reader", "p11", "lab", "csrc", "scenarios"}
    found = {file.parent.relative_to(ROOT) for folder in folders for file in (ROOT / folder).rglob("__init__.py")}
    assert set(packages) == {"cardtear"} | {".".join(("cardtear", *path.parts)) for path in found}
