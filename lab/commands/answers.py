# SPDX-License-Identifier: MIT
"""What every command does: errors become one clear line and an exit code, verbs of a running simulator an answer."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import typer

_ASKED_WRONGLY = frozenset({"bad-request", "profile-error"})
"""What a running simulator calls that which is a ValueError here."""


@contextlib.contextmanager
def errors(as_json: bool) -> Iterator[None]:
    """Makes one line and an exit code of what can go wrong: 1 when it was refused, 2 when it was asked wrongly."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        raise typer.Exit(1) from None
    except _refusals() as error:
        code = getattr(error, "code", "bad-request" if isinstance(error, ValueError) else "os-error")
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        asked_wrongly = isinstance(error, ValueError) or code in _ASKED_WRONGLY
        fail(as_json, code, message, 2 if asked_wrongly else 1)


def _refusals() -> tuple[type[Exception], ...]:
    """What the bench, card images, sockets and the control channel raise; imported only when something is raised."""
    from ...card.store import ImageError
    from ...reader.errors import BenchError
    from ...reader.private_socket import SocketError
    from ..control import ControlFailure

    return BenchError, ImageError, SocketError, ControlFailure, ValueError, OSError


def fail(as_json: bool, code: str, message: str, exit_code: int) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}))
    else:
        print(f"cardtear: {message}", file=sys.stderr)
    raise typer.Exit(exit_code)


def do(as_json: bool, verb: str, show: Callable[[Any], None], **arguments: Any) -> None:
    """A verb of the running simulator, and what to say of it."""
    from ..control import Control

    with errors(as_json):
        with Control() as control:
            result = control.do(verb, **arguments)
        if as_json:
            print(json.dumps(result))
        else:
            show(result)
