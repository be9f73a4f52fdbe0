# SPDX-License-Identifier: MIT
"""Commands made from the table of verbs: those whose arguments are readers, words, numbers and flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..processes.terminal import say
from ..simulator.verbs import VERBS, Parameter, Type, Verb, commands
from .answers import do, the_reader
from .options import AnyReader, Json, ReaderName
from .parsing import App


def add_commands(app: App, file: str) -> None:
    """Add the commands of a file of lab/cli that it does not have already."""
    own = {each.name for each in app.registered_commands}
    for name in commands(file):
        if name not in own:
            app.command(name, help=help_of(name))(_command(VERBS[name]))


def help_of(verb: str) -> str:
    """Return the help of a verb's command."""
    row = VERBS[verb]
    return f"{row.help} {row.command_help}".strip()


def _command(row: Verb) -> Callable[..., None]:
    def command(as_json: bool = False, **given: Any) -> None:
        for each in row.parameters:
            if each.type is Type.READER:
                given[each.name] = the_reader(as_json, given[each.name])

        def show(result: dict[str, Any] | None) -> None:
            result = result or {}
            words = row.done if result.get("changed", True) else row.vain
            say((words or f"done: {row.name}").format(**given, **result))

        needed = {each.name: given[each.name] for each in row.parameters if given[each.name] != each.default}
        do(as_json, row.name, show, **needed)

    parameters = [*map(_parameter, row.parameters), _keyword("as_json", Json, default=False)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _keyword(name: str, annotation: Any, **default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **default)


def _parameter(parameter: Parameter) -> inspect.Parameter:
    """Return an argument or option for a parameter. Raises KeyError for a type that needs a command of its own."""
    if parameter.type is Type.READER:
        return _keyword(parameter.name, AnyReader, default=None)
    if parameter.type is Type.NEW_READER:
        return _keyword(parameter.name, ReaderName)
    kind = _KINDS[parameter.type]
    if parameter.needed:
        return _keyword(parameter.name, Annotated[kind, typer.Argument(help=parameter.help, show_default=False)])
    words = (f"--{parameter.name.replace('_', '-')}",) if kind is bool else ()
    option = typer.Option(*words, help=parameter.help)
    return _keyword(parameter.name, Annotated[kind, option], default=parameter.default)


_KINDS: dict[Type, Any] = {
    Type.FLAG: bool,
    Type.NUMBER: int,
    Type.SECONDS: float,
    Type.SHARE: float,
    Type.TEXT: str,
    Type.WORD: str,
}
"""The types that options and arguments can have without a command of their own."""
