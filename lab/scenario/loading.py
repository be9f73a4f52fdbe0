# SPDX-License-Identifier: MIT
"""From a YAML file to a scenario, or to errors that say file, line and field.

YAML as people expect it today (1.2's core schema): `on` is a word, `012` has its zero, `6F00` and `1e3` are words.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from ...card.files import input_file
from ...card.shown import shown
from ...card.wording import meant
from ..simulator.verbs import TABLE, Type
from .checking import Contradiction
from .scenario import Scenario

MOST_NODES = 100_000
"""Values in a file, those counted again that aliases repeat."""
_LONGEST = 4 << 20
_DEEPEST = 60

_Mark = tuple[int, int]
Place = tuple[str | int, ...]
"""Where something is in a scenario: ("steps", 3, "insert")."""


class ScenarioError(ValueError):
    """A scenario that cannot be read or contradicts itself; `FILE:LINE: FIELD: ...` for each error."""

    code = "scenario-error"
    has_lines = False
    """Whether the message has a line for each of several errors; text from outside is shown in them."""


class _Loader(yaml.SafeLoader):
    """Resolves null, true, false, decimal numbers; everything else is a string."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})", list("-0123456789")),
    ("float", r"-?[0-9]{1,17}\.[0-9]{1,17}", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


class Loaded(NamedTuple):
    """A scenario, and the line of each of its fields."""

    scenario: Scenario
    lines: dict[Place, int]


def load(path: Path) -> Scenario:
    """Load the scenario in a file. Raises ScenarioError, OSError."""
    return loads(read(path), str(path), path.stem)


def read(path: Path) -> str:
    """Read the text of a file. Raises ScenarioError, OSError."""
    content = input_file.read(path, _LONGEST)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ScenarioError(f"{path}:{line}: not UTF-8") from None


def loads(text: str, origin: str = "<text>", name: str = "scenario") -> Scenario:
    """Load the scenario in a text; `origin` is for messages, `name` the name if it has none. Raises ScenarioError."""
    return loads_with_lines(text, origin, name).scenario


def loads_with_lines(text: str, origin: str, name: str) -> Loaded:
    """Load a scenario and the lines of its fields, as `loads` does. Raises ScenarioError."""
    content, marks = _read(text, origin)
    if isinstance(content, dict) and "name" not in content:
        content = {"name": name, **content}
    fields: dict[int, list[str]] = {}
    try:
        scenario = Scenario.model_validate(content, context=fields)
    except ValidationError as error:
        refusal = ScenarioError("\n".join(map(shown, _lines(error, content, marks, origin, fields))))
        refusal.has_lines = True
        raise refusal from None
    return Loaded(scenario, {place: line for place, (line, _) in marks.items()})


def _read(text: str, origin: str) -> tuple[Any, dict[Place, _Mark]]:
    """Read plain values, and the location of each of them."""
    if len(text) > _LONGEST:
        raise ScenarioError(f"{origin}:1: longer than {_LONGEST} characters")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise ScenarioError(f"{origin}:1: there is no scenario in it")
            reading = _Reading(loader, origin)
            return reading.value(node, ()), reading.marks
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ScenarioError(f"{origin}:{line}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, ScenarioError):
            raise
        raise ScenarioError(f"{origin}:1: not YAML: {error}") from None


class _Reading:
    def __init__(self, loader: yaml.SafeLoader, origin: str) -> None:
        self.marks: dict[Place, _Mark] = {}
        self._loader = loader
        self._origin = origin
        self._count = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        """Return the value of a node. Raises ScenarioError for what is no plain data."""
        self.marks.setdefault(place, self._mark(node))
        self._count += 1
        if self._count > MOST_NODES or len(place) > _DEEPEST:
            raise self._error(node, "too much: aliases without end?")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, place)
            case yaml.SequenceNode():
                return [self.value(each, (*place, number)) for number, each in enumerate(node.value)]
        if node.tag.partition("2002:")[2] not in ("null", "bool", "int", "float", "str"):
            raise self._error(node, f"no place for {node.tag}")
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key is a word")
            if key.value in found:
                raise self._error(key, f"{key.value!r} is there twice")
            self.marks[*place, key.value] = self._mark(key)
            found[key.value] = self.value(value, (*place, key.value))
        return found

    def _mark(self, node: yaml.Node) -> _Mark:
        return node.start_mark.line + 1, node.start_mark.column + 1

    def _error(self, node: yaml.Node, message: str) -> ScenarioError:
        return ScenarioError(f"{self._origin}:{self._mark(node)[0]}: {message}")


def _lines(
    error: ValidationError, content: Any, marks: dict[Place, _Mark], origin: str, fields: dict[int, list[str]]
) -> list[str]:
    """Return one line for each error, in the order of the file; `fields` are those that each mapping could have."""
    found: dict[tuple[_Mark, str], None] = {}
    for each in error.errors(include_url=False):
        cause = each.get("ctx", {}).get("error")
        place = cause.path if isinstance(cause, Contradiction) else _place(each["loc"], content)
        mark = next(marks[place[:length]] for length in range(len(place), -1, -1) if place[:length] in marks)
        field = _field(place)
        message = str(cause) if isinstance(cause, Exception) else _plain(each["msg"])
        if each["type"] == "string_type":
            message = _text_wanted(place, each["input"])
        message = _WANTED.get(each["type"], message)
        if each["type"] in _OF_NUMBERS:
            message += f", not {each['input']!r}"
        if each["type"] == "extra_forbidden":
            message += _possible(str(place[-1]), fields.get(id(_found(content, place[:-1])), []))
        found[mark, f"{origin}:{mark[0]}: {field}: {message}" if field else f"{origin}:{mark[0]}: {message}"] = None
    return [line for _, line in sorted(found)]


_OF_NUMBERS = frozenset(
    {"int_type", "int_parsing", "int_from_float", "float_type", "float_parsing", "finite_number", "literal_error"}
    | {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "bool_type", "bool_parsing"}
)
"""Pydantic's errors of values that are never secret, and which its sentences do not repeat."""


_WANTED = {
    "model_type": "a mapping of its fields is wanted",
    "dict_type": "a mapping is wanted, as {NAME: ...}",
    "list_type": "a list is wanted",
}
"""Words for Pydantic's errors that name classes of Python."""


def _text_wanted(place: Place, value: Any) -> str:
    """Say what text is wanted at a place, and that something else is there; not what, it may be a PIN."""
    verb = TABLE.get(str(place[-1]))
    if place[:1] == ("readers",):
        wanted = "the name of a card under `cards` is wanted, or `empty`"
    elif verb is not None and verb.parameters and verb.parameters[0].type in (Type.READER, Type.NEW_READER):
        wanted = f"the name of a reader is wanted, as {place[-1]}: front"
    else:
        wanted = "a name or text is wanted"
    if value is None:
        return f"{wanted}; there is none"
    kinds: dict[type, str] = {dict: "a mapping", list: "a list"}
    return f"{wanted}, not {kinds.get(type(value), 'a number, true or false; write it in quotes')}"


def _place(location: tuple[str | int, ...], content: Any) -> Place:
    """Return a location of pydantic's without the names of alternatives in it."""
    place: list[str | int] = []
    for number, each in enumerate(location):
        is_last = number == len(location) - 1
        if isinstance(content, dict) and isinstance(each, str):
            if each not in content and (each.startswith("=") or not is_last):
                continue
            place.append(each)
            content = content.get(each)
        elif isinstance(content, list) and isinstance(each, int) and each < len(content):
            place.append(each)
            content = content[each]
    return tuple(place)


def _found(content: Any, place: Place) -> Any:
    """Return the value at a location."""
    for each in place:
        content = content[each]
    return content


def _possible(field: str, known: list[str]) -> str:
    """Return what might have been meant by a field that does not exist."""
    return f"{meant(field, known) or ';'} there are: {', '.join(known)}" if known else ""


def _field(place: Place) -> str:
    """Write a location as people do: steps[3].insert."""
    text = ""
    for each in place:
        text += f"[{each}]" if isinstance(each, int) else f".{each}" if text else each
    return text


def _plain(message: str) -> str:
    """Return pydantic's sentence, written as the others are."""
    known = {
        "Extra inputs are not permitted": "there is no such field",
        "Field required": "it is missing",
    }
    return known.get(message, message[:1].lower() + message[1:])
