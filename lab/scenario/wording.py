# SPDX-License-Identifier: MIT
"""A step in one line, for reports. PINs are left out, as they are in traces."""

from __future__ import annotations

import re
from typing import Any

from . import steps as s
from . import verbs as v
from .alternatives import kind_of
from .expressions import without_pin
from .scenario import Scenario

_LONGEST = 100
_HEADER = 8
"""Digits of CLA, INS, P1 and P2."""


def secrets_of(scenario: Scenario) -> re.Pattern[str] | None:
    """Return a pattern that finds the PINs and PUKs of the cards, which may stand in commands."""
    found: set[str] = set()
    for name, card in scenario.cards.items():
        if card.path is None:
            wanted = card.request(name)
            found |= {wanted.pin, wanted.puk}
    return re.compile("(?<!\\w)(?:" + "|".join(map(re.escape, sorted(found))) + ")(?!\\w)") if found else None


def in_one_line(step: Any) -> str:
    """Write a step in one line for people; not exactly what the file says."""
    verb = kind_of(step, s.STEPS, "a step")
    match step:
        case s.Call():
            rest = without_pin(step.text.text)
            rest = rest if step.client == s.APP else f"{rest} in {step.client}"
        case v.Insert() | v.Swap():
            rest = step.reader if step.card is None else f"{step.reader}: {step.card}"
        case v.AttachPcsc():
            rest = f"{step.reader}: {step.name or 'any'}"
        case v.PinPad():
            rest = step.reader
        case s.Run():
            rest = " ".join(step.words)
        case s.Apdu():
            rest = f"{step.reader}: {step.command[:_HEADER]}"  # what follows may be a PIN
        case s.Send():
            rest = next(iter(step.send))
        case s.Ask():
            rest = f"{step.program}: {step.question}"
        case s.Wait():
            rest = step.wait.words()
        case s.Expect():
            rest = step.expect.words()
        case s.Arm():
            rest = ", ".join(step.arm)
        case _:
            value = getattr(step, verb.replace("-", "_"))
            rest = "" if value is None else str(value)
    line = f"{verb} {rest}".replace("\n", " ").rstrip()
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
    return line if step.note is None else f"{line} ({step.note})"
