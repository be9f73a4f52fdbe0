# SPDX-License-Identifier: MIT
"""Random numbers (5.19): the operating system's."""

from __future__ import annotations

import os

from ..caller import Caller
from ..sessions import Session


def C_SeedRandom(caller: Caller, session: Session, seed: bytes) -> None:
    """Mixed into the operating system's pool, which needs none and is harmed by none."""
    with open("/dev/urandom", "wb", buffering=0) as pool:
        pool.write(seed)


def C_GenerateRandom(caller: Caller, session: Session, length: int) -> bytes:
    """Without login."""
    return os.urandom(length)
