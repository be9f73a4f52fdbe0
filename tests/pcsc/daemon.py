# SPDX-License-Identifier: MIT
"""A pcscd of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cardtear.lab.own_pcscd import OwnPcscd, why_not
from cardtear.lab.pcscd import READER

__all__ = ["OwnPcscd", "own_pcscd"]


@contextmanager
def own_pcscd(folder: Path, name: str = READER) -> Iterator[OwnPcscd]:
    """One that is not started yet; programs and this process find it by their environment."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    daemon = OwnPcscd(folder, name)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in daemon.environment.items():
            patch.setenv(variable, value)
        try:
            yield daemon
        finally:
            daemon.close()
