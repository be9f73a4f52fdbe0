# SPDX-License-Identifier: MIT
"""What the tests of the FAQ's rows share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def nss(new_nss: Callable[..., Any]) -> Any:
    """A database, and Alice's card with nothing on it."""
    return new_nss(profile="blank")
