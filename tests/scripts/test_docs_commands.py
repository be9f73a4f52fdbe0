# SPDX-License-Identifier: MIT
"""Every `cardtear` command that README and docs show is one, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer
from cardtear.lab.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
FILES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *sorted(f"docs/{each.name}" for each in ROOT.glob("docs/*.md"))]
MOST_COMMANDS = ["README.md", "docs/cards.md", "docs/pcsc.md", "docs/recipes.md"]


def shown(text: str) -> Iterator[str]:
    """Find the commands in blocks of shell lines and between backquotes."""
    text = text.replace("$(cardtear module)", "MODULE")
    for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(r"(?:^|[\s;&'])(cardtear [a-z].*)", line)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`(cardtear [a-z][^`]*)`", prose)


def unknown(command: str) -> str | None:
    """Return the word of a command line that cardtear does not know, or None."""
    words = shlex.split(command, comments=True)[1:]
    found = typer.main.get_command(app)
    while words and hasattr(found, "get_command") and not words[0].startswith("-"):
        name = words.pop(0)
        found = found.get_command(typer.Context(found), name.partition("|")[0])
        if found is None:
            return name
    options = {name for each in found.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    own = words[: words.index("--")] if "--" in words else words
    return next((word for word in own if word.startswith("--") and word.partition("=")[0] not in options), None)


@pytest.mark.parametrize("name", FILES)
def test_commands_that_are_shown_exist(name: str) -> None:
    commands = list(shown((ROOT / name).read_text()))
    assert [(each, word) for each in commands if (word := unknown(each))] == []
    assert len(commands) > 10 or name not in MOST_COMMANDS


@pytest.mark.parametrize("command", ["cardtear remvoe front", "cardtear card shwo x", "cardtear serve --pccs -- --x"])
def test_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    assert unknown(command) in ("remvoe", "shwo", "--pccs")


@pytest.mark.parametrize("name", FILES)
def test_python_names_that_are_shown_exist(name: str) -> None:
    """Imports in blocks of Python, and modules between backquotes. yubikit and pyscard may be missing."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("from cardtear")]
    for module, names in (re.fullmatch(r"from (\S+) import ([\w, ]+?)(?:  #.*)?", line).groups() for line in lines):
        found = pytest.importorskip(module, exc_type=ImportError) if "connection" in module else import_module(module)
        assert [each for each in names.split(", ") if not hasattr(found, each)] == []
    for module in re.findall(r"`(cardtear(?:\.\w+)+)`", text):
        assert import_module(module)
