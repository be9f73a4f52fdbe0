# SPDX-License-Identifier: MIT
"""Parsing of command lines: errors are one line or JSON, and no option is ignored silently."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from .answers import fail

F = TypeVar("F", bound=Callable[..., Any])


_ONLY_WITH = {"passphrase_file": "image", "pcsc_name": "own_pcscd", "resume": "json_file", "seed": "probability"}
"""Parameters that have no effect without another one, where the command has that."""

_CARD = "profile name email serial pin puk pin_file puk_file settings settings_files image passphrase_file"
_NOT_WITH = {
    "own_pcscd": "pcsc pcsc_reversed pcsc_port",
    "no_card": _CARD,
    "only": "shard resume all_points jobs dask",
    "dask": "jobs",
    "short": "as_json",
    "schema": "quirks broken junit trace skip_missing as_json",
    "apdu": "ins",
    "no_passphrase": "new_passphrase_file",
}
"""Parameters beside which others would have no effect."""


class CheckedCommand(TyperCommand):
    """A command that reports wrong use in one line or JSON, and ignores no option silently."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options. Raises Exit after it has reported an error."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        with _usage_errors(_wants_json(self, args), ctx):
            self.refuse(ctx, args)
            return super().parse_args(ctx, args)

    def refuse(self, ctx: Any, args: list[str]) -> None:
        """Raise UsageError for options of which one would be ignored."""
        order = [
            each for each in self.make_parser(ctx).parse_args(args=list(args))[2] if each.param_type_name == "option"
        ]
        for option in order:
            is_several = option.multiple or option.nargs == -1
            if order.count(option) > 1 and not is_several and not self._is_flag(option):
                ctx.fail(f"{option.opts[0]} is given twice, and can have one value; leave one out")
        given = {each.name: each.opts[-1] for each in order}
        for name, other in _ONLY_WITH.items():
            if name in given and other not in given and (missing := self._called(other)):
                ctx.fail(f"{given[name]} is for {missing}: give both, or neither")
        for name, others in _NOT_WITH.items():
            for other in others.split() if name in given else ():
                if other in given:
                    ctx.fail(f"{given[name]} and {given[other]} do not go together; leave one out")

    def _called(self, name: str) -> str | None:
        """Return the name of the option of a parameter; None if the command has none."""
        return next((each.opts[-1] for each in self.params if each.name == name), None)

    @staticmethod
    def _is_flag(option: Any) -> bool:
        """Return whether an option is a flag, which may be given twice."""
        return bool(getattr(option, "is_flag", False)) and not option.secondary_opts


class ForProgram(CheckedCommand):
    """A command that ends with a program and its arguments: refuses the -- before them as the value of an option."""

    def refuse(self, ctx: Any, args: list[str]) -> None:
        """Raise UsageError also for an option without its value."""
        before = args[: args.index("--")] if "--" in args else []
        for option in self.get_params(ctx):
            if before and before[-1] in option.opts and not getattr(option, "is_flag", False):
                ctx.fail(f"'{before[-1]}' needs a value before --")
        super().refuse(ctx, args)


class Group(TyperGroup):
    """A group of commands, which suggests a command for a misspelt one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command. Raises Exit after it has reported an error."""
        with _usage_errors("--json" in args, ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names. Raises Exit after it has reported that there is none."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            from ...card.wording import meant

            question = meant(args[0], self.list_commands(ctx))
            with _usage_errors("--json" in args, ctx):
                ctx.fail(f"there is no command {args[0]!r}{question}")
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """The commands of one file."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = CheckedCommand, **more: Any
    ) -> Callable[[F], F]:
        """Add a command, as typer does, with the class above."""
        return super().command(name, cls=cls, **more)


def _wants_json(command: TyperCommand, args: list[str]) -> bool:
    """Return whether errors are reported in JSON; with sweep's --json FILE they are not."""
    flags = [each for option in command.params if getattr(option, "is_flag", False) for each in option.opts]
    return "--json" in flags and "--json" in (args[: args.index("--")] if "--" in args else args)


_UsageError: Any = typer.BadParameter.__mro__[1]
"""The error of the parser of command lines; typer has it inside, or takes click's."""


@contextlib.contextmanager
def _usage_errors(as_json: bool, ctx: Any) -> Iterator[None]:
    """Turn an error of the parser into one line and exit code 2."""
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
        fail(as_json, "bad-request", f"{message} ({ctx.command_path} --help)", 2)
