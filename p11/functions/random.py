# SPDX-License-Identifier: MIT
"""Random numbers (5.19): the operating system's."""

from __future__ import annotations

import os

from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error


def C_SeedRandom(caller: Caller, session: int, seed: bytes) -> None:
    """The source needs no seed."""
    caller.application.session(session)
    raise P11Error(CKR.RANDOM_SEED_NOT_SUPPORTED)


def C_GenerateRandom(caller: Caller, session: int, length: int) -> bytes:
    """Without login."""
    caller.application.session(session)
    return os.urandom(length)
