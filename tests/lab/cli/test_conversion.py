# SPDX-License-Identifier: MIT
"""The command line's own conversion of plain values, held to typer's, for every parameter of every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.cli import main
from cardtear.lab.cli.conversion import PlainFirst

VALUES = (
    None,
    "",
    "text",
    "0",
    "007",
    "65536",
    "-1",
    "1.5",
    "9" * 30,
    "9" * 5000,
    "\u0661",
    "-",
    "both",
    "stop",
    0,
    1.0,
)
LISTS: tuple[Any, ...] = ((), ("one",), ["a", "b"], ("1", ""))


def parameters() -> Iterator[Any]:
    """Yield every parameter of which typer has a descriptor: none in versions that convert without pydantic."""
    commands = [command for file in main.FILES for command in main._commands(file).values()]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        yield from (each for each in command.params if hasattr(each, "get_runtime_param"))


def outcome(converter: Any, parameter: Any, value: Any) -> Any:
    """What comes of a value: itself with its type, or the refusal."""
    try:
        found = converter.coerce(value, param=parameter, ctx=None)
    except Exception as error:
        return type(error), str(error)
    return type(found), found


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    Path("dangling").symlink_to("nowhere")
    return ["file", "folder", "folder/../file", "dangling", "missing", "file/below", str(tmp_path)]


def test_a_value_is_converted_as_typer_does(paths: list[str]) -> None:
    for parameter in parameters():
        ours = PlainFirst(parameter, parameter.get_runtime_param)
        is_multiple = parameter.multiple or parameter.nargs == -1
        for value in (None, *LISTS) if is_multiple else (*VALUES, *paths):
            expected = outcome(parameter.get_runtime_param(), parameter, value)
            assert outcome(ours, parameter, value) == expected, (parameter.name, value)


def test_a_plain_value_is_not_left_to_typer() -> None:
    def unwanted() -> Any:
        raise AssertionError

    kinds = {str: ("text", "text"), int: ("7", 7), Path: ("missing", Path("missing")), list[str]: (("a",), ["a"])}
    for parameter in parameters():
        annotation, options = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
        ours = PlainFirst(parameter, unwanted)
        absent = () if parameter.multiple or parameter.nargs == -1 else None
        assert ours.coerce(None, parameter, None) == absent
        if annotation in kinds and options.min is options.max is None and not options.exists:
            given, expected = kinds[annotation]
            assert ours.coerce(given, parameter, None) == expected
