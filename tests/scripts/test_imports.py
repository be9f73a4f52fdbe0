# SPDX-License-Identifier: MIT
"""Imports point one way, from room to room and from file to file; those that are for types only count, too."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BELOW_LAB = ("card", "reader", "p11", "csrc")
LAB = (
    "lab/processes",
    "lab/cards",
    "lab/simulator",
    "lab/trace",
    "lab/control",
    "lab/clients",
    "lab/scenario",
    "lab/sweep",
    "lab/testing",
    "lab/cli",
)
ORDER = (*BELOW_LAB, *LAB)
"""The rooms, from below to above: each may import from itself and from those before it."""

INSIDE_CARD = ("card/files", "card", "card/crypto", "card/image", "card/applet", "card/issuing")
"""The folders of card/, likewise."""

FREE = ("scenarios", "__version__")
"""What every room may import: files that come along, and the version."""


def files() -> list[Path]:
    """All modules of the package."""
    folders = (*BELOW_LAB, "lab", "scenarios")
    return [ROOT / "__init__.py", *sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]


def room(module: str) -> str:
    """The room of a module: one folder, in lab two."""
    parts = module.split(".")
    return "/".join(parts[:2]) if parts[0] == "lab" else parts[0]


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> frozenset[str]:
    return frozenset(map(dotted, files()))


def imported(file: Path) -> Iterator[str]:
    """The modules of ours that a file imports, anywhere in it."""
    folders = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*folders[: len(folders) - node.level + 1], *filter(None, (node.module or "").split("."))))
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                yield whole if whole in modules() or not base else base
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("cardtear"), f"{file}: imports among ourselves are relative"
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("cardtear") for alias in node.names), f"{file}: as above"


@pytest.mark.parametrize("where", ORDER)
def test_rooms_import_only_from_below(where: str) -> None:
    inside = [file for file in files() if room(dotted(file)) == where]
    assert inside
    may = {*ORDER[: ORDER.index(where) + 1], *FREE}
    for file in inside:
        for module in imported(file):
            assert room(module) in may, f"{dotted(file)} imports {module}"


@pytest.mark.parametrize("folder", INSIDE_CARD)
def test_folders_of_card_import_only_from_below(folder: str) -> None:
    inside = list((ROOT / folder).glob("*.py"))
    assert inside
    may = {ROOT / each for each in INSIDE_CARD[: INSIDE_CARD.index(folder) + 1]}
    for file in inside:
        for module in imported(file):
            path = ROOT.joinpath(*module.split("."))
            assert (path if path.is_dir() else path.parent) in may, f"{dotted(file)} imports {module}"


def test_every_folder_of_card_has_its_order() -> None:
    assert {str(file.parent.relative_to(ROOT)) for file in (ROOT / "card").rglob("*.py")} == set(INSIDE_CARD)


def test_no_circles() -> None:
    """Neither at run time nor for types only."""
    graph = {dotted(file): set(imported(file)) - {dotted(file)} for file in files()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_every_file_is_in_a_room() -> None:
    """lab has rooms only; a new room has its place in the order."""
    for file in files():
        module = dotted(file)
        assert module in ("__init__", "lab", "scenarios") or room(module) in ORDER, module


def test_scenarios_import_nothing() -> None:
    for file in (ROOT / "scenarios").rglob("*.py"):
        assert not set(imported(file)), file


def test_csrc_knows_only_the_tables_of_calls() -> None:
    """What is called, and what may be returned."""
    for file in (ROOT / "csrc").glob("*.py"):
        outside = {module for module in imported(file) if not module.startswith("csrc")}
        assert outside <= {"p11.calls", "p11.constants", "p11.return_values"}, file


def test_no_room_holds_more_than_a_quarter() -> None:
    """Of the lines of Python and C outside the tests."""
    lines = {
        room: sum(
            len(file.read_text().splitlines())
            for suffix in ("py", "c", "h")
            for file in (ROOT / room).rglob(f"*.{suffix}")
        )
        for room in (*ORDER, "scripts")
    }
    room, most = max(lines.items(), key=lambda each: each[1])
    assert most <= sum(lines.values()) / 4, room


def test_every_package_is_installed() -> None:
    """An import that works in a checkout only works after an installation if the package list names it."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"card", "reader", "p11", "lab", "csrc", "scenarios"}
    found = {file.parent.relative_to(ROOT) for folder in folders for file in (ROOT / folder).rglob("__init__.py")}
    assert set(packages) == {"cardtear"} | {".".join(("cardtear", *path.parts)) for path in found}


SHARED_NAMES = {
    "Card": "a card, and its fields in a scenario file",
    "PinPad": "a reader's PIN pad, and its step in a scenario file",
}
"""Names that two classes have, and why."""


def test_no_two_classes_share_a_name() -> None:
    """One word has one meaning, in the product and in the scripts for maintainers."""
    found = defaultdict(list)
    for file in (*files(), *(ROOT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(file.relative_to(ROOT).as_posix())
    shared = {name: where for name, where in found.items() if len(where) > 1 and name not in SHARED_NAMES}
    assert not shared
