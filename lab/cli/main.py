# SPDX-License-Identifier: MIT
"""The command line `cardtear`: its table of commands. Each group of commands has a file of its own beside this one.

A command's file is imported when the command is used, and what the command needs when it runs, so that commands start
fast.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from ... import __version__
from ..processes import log, terminal
from ..processes.library_warnings import silence_library_warnings
from ..simulator.verbs import commands
from .conversion import spare_pydantic
from .parsing import Group

FILES = {
    "simulators": ("Simulator", ("serve", "run", "status", "trace", "stop", *commands("simulators"))),
    "readers": ("Cards and readers of a running simulator", commands("readers")),
    "triggers": ("Triggers", commands("triggers")),
    "play": ("Scenarios", ("play", "scenarios")),
    "sweep": ("Simulator", ("sweep",)),
    "cards": ("Without a simulator", ("card",)),
    "quirks": ("Without a simulator", ("quirks",)),
    "pcsc": ("Without a simulator", ("pcsc",)),
    "installation": ("Without a simulator", ("module", "doctor")),
}
"""The files of commands, with the heading under which `--help` lists them. A file has its commands in `app`."""


@cache
def _commands(file: str) -> Mapping[str, Any]:
    return typer.main.get_group(import_module(f".{file}", __package__).app).commands


class Commands(Group):
    """The commands by name, each loaded on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return [name for _, names in FILES.values() for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, or None."""
        for file, (heading, names) in FILES.items():
            if cmd_name in names:
                command = _commands(file)[cmd_name]
                command.rich_help_panel = heading
                return command
        return None


app = typer.Typer(
    cls=Commands,
    help="A virtual PIV smart card that a script can pull out, with a PKCS #11 module for real applications.",
    epilog="Try: cardtear run -- pkcs11-tool --module $(cardtear module) --list-objects",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_OF_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Errors that only writing has: without a file name, standard output has failed."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cardtear {__version__}")
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that come before the command."""


def main() -> None:
    """Run the command line: the entry point of the program `cardtear`."""
    terminal.open_closed()
    spare_pydantic()
    silence_library_warnings()
    log.to_standard_error()
    if not {"-h", "--help"} & set(sys.argv):  # which has styles, and nothing from outside
        terminal.protect()
    try:
        app(prog_name="cardtear")
    except OSError as error:
        if error.filename != terminal.STANDARD_OUTPUT and (error.filename or error.errno not in _OF_OUTPUT):
            raise
        terminal.say(f"cardtear: {terminal.STANDARD_OUTPUT}: {error.strerror}", to_errors=True)
        os._exit(1)  # what is left to write cannot be written either


if __name__ == "__main__":
    main()
