# SPDX-License-Identifier: MIT
"""Suppress the warnings of libraries, such as deprecations: users of a command can do nothing about them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

_PACKAGE = __package__.partition(".")[0]
_FOLDER = str(Path(__file__).resolve().parents[2])


def silence_library_warnings() -> None:
    """Show only this package's warnings in this process, unless Python was started with -W or PYTHONWARNINGS.

    These are warnings of a class of this package, and those of Python's own classes, except deprecations, that come
    from its files. The file alone does not decide: with `stacklevel`, libraries name the caller's file.
    """
    if sys.warnoptions:
        return
    show = warnings.showwarning

    def show_ours(message: Warning | str, category: type[Warning], filename: str, *more: Any, **named: Any) -> None:
        home = category.__module__.partition(".")[0]
        is_python = home == "builtins" and not issubclass(category, _DEPRECATIONS)
        if home == _PACKAGE or (is_python and filename.startswith(_FOLDER)):
            show(message, category, filename, *more, **named)

    warnings.showwarning = show_ours


_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
