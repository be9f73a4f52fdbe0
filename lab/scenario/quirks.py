# SPDX-License-Identifier: MIT
"""The quirks that a scenario names."""

from __future__ import annotations

import importlib
from typing import Any


def parse(settings: list[str]) -> Any:
    """The quirks of names and settings, None for none. Raises ValueError."""
    if not settings:
        return None
    try:
        return importlib.import_module("cardtear.p11.quirks").Quirks.parse(settings)
    except ImportError:
        raise ValueError("quirks cannot be played yet") from None
