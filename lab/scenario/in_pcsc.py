# SPDX-License-Identifier: MIT
"""A pcscd for a scenario: one of its own for root, otherwise the machine's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ...reader.pcsc.pcscd_call import vpcd_listens
from ...reader.pcsc.reader_conf import usual_name
from ...reader.pcsc.vpcd_slots import PcscSlots
from ..processes.kept_process import ProcessError
from ..simulator.own_pcscd import OwnPcscd, why_not
from .scenario import Scenario


def missing() -> str | None:
    """Return why there is no pcscd, None if there is one."""
    reason = why_not()
    return None if reason is None or vpcd_listens() else f"{reason}, and no pcscd with vpcd is running"


class InPcsc(NamedTuple):
    """Where pcscd is, by which variables programs find it, and what a pcscd of our own has said."""

    place: PcscSlots | None = None
    environment: Mapping[str, str] = MappingProxyType({})
    said: Callable[[], str] = str


def start(undo: contextlib.ExitStack, folder: Path, scenario: Scenario) -> InPcsc:
    """Return the pcscd of a scenario, one of our own until `undo`. Raises OSError; ValueError for a name of readers.

    It has as many readers as the scenario has in the beginning, named as it wants or as the makers of its cards do.
    """
    if why_not() is not None:
        return InPcsc(PcscSlots())
    profiles = {(card.model_extra or {}).get("profile") for card in scenario.cards.values()}
    name = scenario.pcsc if isinstance(scenario.pcsc, str) else usual_name("yubikey" if "yubikey" in profiles else "")
    folder.mkdir()
    try:
        daemon = undo.enter_context(OwnPcscd(folder, name, len(scenario.readers)))
    except ProcessError as error:
        raise OSError(str(error)) from None
    return InPcsc(daemon.place, daemon.environment, lambda: f". {daemon.said}")
