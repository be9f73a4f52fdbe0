# SPDX-License-Identifier: MIT
"""A pcscd of the tests' own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cardtear.lab.simulator.own_pcscd import OwnPcscd, why_not
from cardtear.reader.pcsc.reader_conf import READER
from cardtear.reader.pcsc.vpcd_slots import SLOTS_OF_VPCD

__all__ = ["OwnPcscd", "own_pcscd"]


@contextlib.contextmanager
def own_pcscd(folder: Path, name: str = READER, readers: int = SLOTS_OF_VPCD) -> Iterator[OwnPcscd]:
    """One that is not started yet; programs and this process find it by their environment."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with contextlib.closing(OwnPcscd(folder, name, readers)) as daemon:
        yield daemon
