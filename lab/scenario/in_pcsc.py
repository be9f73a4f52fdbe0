# SPDX-License-Identifier: MIT
"""A pcscd for a scenario: one of its own for root, otherwise the machine's."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ...reader.vpcd_slots import PcscPlace
from ..doctor import vpcd_listens
from ..kept_process import ProcessError
from ..own_pcscd import OwnPcscd, why_not
from ..pcscd import READER


def missing() -> str | None:
    """Why there is none, if there is none."""
    reason = why_not()
    return None if reason is None or vpcd_listens() else f"{reason}, and no pcscd with vpcd is running"


def start(undo: contextlib.ExitStack, folder: Path, name: str | bool) -> tuple[PcscPlace, dict[str, str]]:
    """Where it is, until `undo`, and the variables by which programs find it. Raises OSError.

    `name` is what is in its readers' names.
    """
    if why_not() is not None:
        return PcscPlace(), {}
    folder.mkdir()
    try:
        daemon = undo.enter_context(OwnPcscd(folder, name if isinstance(name, str) else READER))
    except (ProcessError, ValueError) as error:
        raise OSError(str(error)) from None
    return daemon.place, daemon.environment
