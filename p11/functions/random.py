# SPDX-License-Identifier: MIT
"""Random numbers of the operating system (5.19)."""

from __future__ import annotations

import os

from ..caller import Caller
from ..sessions import Session


def C_SeedRandom(caller: Caller, session: Session, seed: bytes) -> None:
    """Add the seed to the operating system's pool."""
    with open("/dev/urandom", "wb", buffering=0) as pool:
        pool.write(seed)


def C_GenerateRandom(caller: Caller, session: Session, length: int) -> bytes:
    """Return random bytes, also without login."""
    return os.urandom(length)
