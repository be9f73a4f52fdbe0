# SPDX-License-Identifier: MIT
"""The names that users import from cardtear. scripts/check has mypy look at examples/python, which uses all of them."""

from __future__ import annotations

import subprocess
import sys

import cardtear
import pytest


def test_every_name_is_there() -> None:
    for name in cardtear.__all__:
        assert getattr(cardtear, name) is not None
        assert name in dir(cardtear)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        _ = cardtear.nosuch


def test_names_are_loaded_at_first_use() -> None:
    script = "import sys, cardtear; print(*sorted(each for each in sys.modules if each.startswith('cardtear')))"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["cardtear"]
