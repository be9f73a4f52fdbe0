# SPDX-License-Identifier: MIT
"""What all commands share: errors as one line and an exit code, and requests to a running simulator."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import typer

from ...card.image.passphrase import STANDARD_INPUT
from ...card.wording import reason
from ..processes.terminal import say

_BAD_REQUESTS = frozenset({"bad-request", "profile-error"})
"""Error codes of a running simulator for what is a ValueError here."""


@contextlib.contextmanager
def errors(as_json: bool, refused: int = 1) -> Iterator[None]:
    """Turn an error into one line and an exit code: `refused`, or 2 for a bad request."""
    try:
        yield
    except BrokenPipeError as error:
        if error.filename is not None:
            fail(as_json, "os-error", reason(error), refused)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        raise typer.Exit(1) from None
    except _refusals() as error:
        code = getattr(error, "code", "bad-request" if isinstance(error, ValueError) else "os-error")
        is_bad_request = isinstance(error, ValueError) or code in _BAD_REQUESTS
        fail(as_json, code, reason(error), 2 if is_bad_request else refused, several=getattr(error, "has_lines", False))


def writable(paths: Iterable[Path | None], as_json: bool = False, inputs: Iterable[Path | None] = ()) -> bool:
    """Return whether one of the files is standard output: what is for people goes to standard error then.

    Raises OSError for one that could not be written when all the work is done, ValueError where two outputs, `--json`
    among them, would be mixed, or where one would take the place of another or of what the command reads.
    """
    from ...card.files import output_file

    given = [path for path in paths if path is not None]
    for path in given:
        output_file.check(path)
    printed = [str(path) for path in given if output_file.is_standard_output(path)]
    if len(printed) + as_json > 1:
        raise ValueError(
            f"{' and '.join([*printed, *['--json'] * as_json])} both go to standard output; give one of them a file"
        )
    for path, other in itertools.combinations(given, 2):
        if output_file.is_same(path, other):
            raise ValueError(f"two outputs cannot have the same file: {path} and {other}; give each its own")
    for path, source in itertools.product(given, filter(None, inputs)):
        if source != STANDARD_INPUT and output_file.is_same(path, source):
            raise ValueError(f"{path} cannot be written: it is {source}, which is read; give another file")
    return bool(printed)


def _refusals() -> tuple[type[Exception], ...]:
    """Return the errors of testbed, card images, sockets and control channel; imported only when one is raised."""
    from ...card.image.store import ImageError
    from ...reader.errors import TestbedError
    from ...reader.private_socket import SocketError
    from ..control.client import ControlFailure

    return TestbedError, ImageError, SocketError, ControlFailure, ValueError, OSError


def fail(as_json: bool, code: str, message: str, exit_code: int, several: bool = False) -> NoReturn:
    """Print an error and exit; in JSON on standard output, or on standard error where that fails."""
    if as_json:
        try:
            say(json.dumps({"error": {"code": code, "message": message}}))
            raise typer.Exit(exit_code)
        except OSError:
            pass
    with contextlib.suppress(OSError):
        say(f"cardtear: {message}", to_errors=True, several=several)
    raise typer.Exit(exit_code)


def ask(as_json: bool, verb: str, **arguments: Any) -> Any:
    """Send a verb to the running simulator, and return its result."""
    from ..control.client import Control

    with errors(as_json), Control() as control:
        return control.do(verb, **arguments)


def the_reader(as_json: bool, name: str | None) -> str:
    """Return the reader of that name, without one the only one there is; exit 2 where there is none or several."""
    if name is not None:
        return name
    readers = [each["name"] for each in ask(as_json, "status")["readers"]]
    if len(readers) != 1:
        there = f"there are: {', '.join(readers)}; name one" if readers else "none is plugged in; cardtear plug NAME"
        fail(as_json, "bad-request", f"which reader? {there}", 2)
    return str(readers[0])


def do(as_json: bool, verb: str, show: Callable[[Any], None], **arguments: Any) -> None:
    """Send a verb to the running simulator, and show its result."""
    result = ask(as_json, verb, **arguments)
    with errors(as_json):
        if as_json:
            say(json.dumps(result))
        else:
            show(result)
