# SPDX-License-Identifier: MIT
"""Conversion of plain values of the command line without pydantic.

From 0.29 on typer has pydantic convert each value, absent ones too: its import and the building of its validators take
0.1 s and 12 MB at every start. Most values are what they are; only the others are left to typer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer.core

_DIGITS = re.compile("[0-9]{1,18}")


def spare_pydantic() -> None:
    """Convert plain values here from now on, in this process. Versions of typer without pydantic are left alone."""
    parameter: Any = getattr(typer.core, "_TyperParameter", None)
    if not hasattr(parameter, "get_runtime_param"):
        return
    by_typer = parameter.get_runtime_param
    parameter.get_runtime_param = lambda parameter: PlainFirst(parameter, lambda: by_typer(parameter))


class PlainFirst:
    """Converter of one parameter's values, in the place of typer's RuntimeParam, which `by_typer` makes."""

    def __init__(self, parameter: Any, by_typer: Callable[[], Any]) -> None:
        self._by_typer = by_typer
        self._annotation = parameter.type_descriptor.annotation
        self._options = parameter.type_descriptor.parameter_info
        self._choices = get_args(self._annotation) if get_origin(self._annotation) is Literal else ()
        self._is_multiple = parameter.multiple or parameter.nargs == -1

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value as the command gets it. Raises BadParameter."""
        if value is None:
            return () if self._is_multiple else None
        if not self._is_plain(value):
            return self._by_typer().coerce(value, param=param, ctx=ctx)
        if self._is_multiple:
            return list(value)
        return value if self._choices else self._annotation(value)

    def _is_plain(self, value: Any) -> bool:
        """Return whether a value needs no check, and no conversion but to a number or a path."""
        if self._options.parser is not None:
            return False
        if self._is_multiple:
            return self._annotation == list[str] and not isinstance(value, str) and set(map(type, value)) <= {str}
        is_bounded = self._options.min is not None or self._options.max is not None
        if not isinstance(value, str):  # a default
            return type(value) in (int, float) and type(value) is self._annotation and not is_bounded
        if self._annotation is int:
            return _DIGITS.fullmatch(value) is not None and not is_bounded
        if self._annotation is Path:
            return self._is_fine(value)
        return self._annotation is str or value in self._choices

    def _is_fine(self, path: str) -> bool:
        """Return whether typer would accept a path; doubtful ones are left to typer."""
        options = self._options
        if options.path_type is not None or options.resolve_path or options.writable or not path:
            return False
        if not os.path.lexists(path):
            return not options.exists
        may_be = options.dir_okay if os.path.isdir(path) else options.file_okay
        return may_be and os.access(path, os.R_OK)
