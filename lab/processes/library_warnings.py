# SPDX-License-Identifier: MIT
"""Keep the warnings of libraries, such as deprecations, from the terminals of users, who can do nothing about them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

_PACKAGE = __package__.partition(".")[0]
_FOLDER = str(Path(__file__).resolve().parents[2])


def silence_library_warnings() -> None:
    """Show no warning but our own in this process, unless Python was asked for them (-W, PYTHONWARNINGS).

    Ours are those of a class of ours, and those of Python's own classes, except deprecations, that come from our files.
    The file alone does not tell: libraries put their warnings to the account of the caller.
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
