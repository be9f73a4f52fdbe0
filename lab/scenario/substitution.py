# SPDX-License-Identifier: MIT
"""Fills in ${...} in what programs get to see."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLACE = re.compile(r"\$\{([^}]*)\}")


def places(environment: Mapping[str, str], folder: Path, here: Path) -> dict[str, Any]:
    """Return what the names that are no saved ones stand for (checking.PLACES)."""
    return {
        "module": environment["CARDTEAR_MODULE"],
        "socket": environment["CARDTEAR_SOCKET"],
        "control": environment["CARDTEAR_CONTROL"],
        "folder": folder,
        "here": here,
        "python": sys.executable,
    }


def filled(text: str, names: Mapping[str, Any]) -> str:
    """Replace every ${name} in a text; what has no value is left as it is."""
    return _PLACE.sub(lambda match: str(names.get(match[1], match[0])), text)
