# SPDX-License-Identifier: MIT
"""How the words of a command line are taken: what is wrong is one line or JSON, and nothing is dropped silently."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from .answers import fail

F = TypeVar("F", bound=Callable[..., Any])


_ONLY_WITH = {"passphrase_file": "image", "pcsc_name": "own_pcscd", "resume": "json_file", "seed": "probability"}
"""Parameters of commands that do nothing without another one, where the command has that."""

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
"""Parameters beside which others would be dropped."""


class Command(TyperCommand):
    """A command whose wrong use is one line, or JSON, and in which nothing that was said is dropped."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options. Raises Exit when it has said what is wrong with them."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        with _usage_errors(_wants_json(self, args), ctx):
            self.refuse(ctx, args)
            return super().parse_args(ctx, args)

    def refuse(self, ctx: Any, args: list[str]) -> None:
        """Raise UsageError for options of which one would be dropped."""
        order = [
            each for each in self.make_parser(ctx).parse_args(args=list(args))[2] if each.param_type_name == "option"
        ]
        for option in order:
            is_several = option.multiple or option.nargs == -1
            if order.count(option) > 1 and not is_several and not self._is_flag(option):
                ctx.fail(f"{option.opts[0]} is given twice, and can have one value")
        given = {each.name: each.opts[-1] for each in order}
        for name, other in _ONLY_WITH.items():
            if name in given and other not in given and (missing := self._called(other)):
                ctx.fail(f"{given[name]} is for {missing}: give that, too, or none of them")
        for name, others in _NOT_WITH.items():
            for other in others.split() if name in given else ():
                if other in given:
                    ctx.fail(f"{given[name]} and {given[other]} do not go together: one of them would do nothing")

    def _called(self, name: str) -> str | None:
        """Return what the option of a parameter is called; None if the command has no such."""
        return next((each.opts[-1] for each in self.params if each.name == name), None)

    @staticmethod
    def _is_flag(option: Any) -> bool:
        """Whether to give it twice is to say the same again."""
        return bool(getattr(option, "is_flag", False)) and not option.secondary_opts


class ForProgram(Command):
    """A command that ends with the words of a program: refuses to take the -- before them for an option's value."""

    def refuse(self, ctx: Any, args: list[str]) -> None:
        """Raise UsageError for an option without its value, too."""
        before = args[: args.index("--")] if "--" in args else []
        for option in self.get_params(ctx):
            if before and before[-1] in option.opts and not getattr(option, "is_flag", False):
                ctx.fail(f"'{before[-1]}' wants a value before --")
        super().refuse(ctx, args)


class Group(TyperGroup):
    """A command of commands, in which a misspelt one gets a suggestion."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options before the command. Raises Exit when it has said what is wrong with them."""
        with _usage_errors("--json" in args, ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names. Raises Exit when it has said that there is none."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            from ...card.wording import meant  # difflib takes a millisecond

            question = meant(args[0], self.list_commands(ctx))
            with _usage_errors("--json" in args, ctx):
                ctx.fail(f"there is no command {args[0]!r}{question}")
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """Commands of one file."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = Command, **more: Any
    ) -> Callable[[F], F]:
        """As typer's, with the class above."""
        return super().command(name, cls=cls, **more)


def _wants_json(command: TyperCommand, args: list[str]) -> bool:
    """Whether what is wrong with the options is to be said in JSON; with sweep's --json FILE it is not."""
    flags = [each for option in command.params if getattr(option, "is_flag", False) for each in option.opts]
    return "--json" in flags and "--json" in (args[: args.index("--")] if "--" in args else args)


_UsageError: Any = typer.BadParameter.__mro__[1]
"""What the parser of the command line raises; typer has it inside, or in click."""


@contextlib.contextmanager
def _usage_errors(as_json: bool, ctx: Any) -> Iterator[None]:
    """Make one line and exit code 2 of what the parser of the command line finds wrong."""
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
        fail(as_json, "bad-request", f"{message} ({ctx.command_path} --help)", 2)
