# SPDX-License-Identifier: MIT
"""A whole scenario, as a value: what a YAML file is read into, and what a Python script can write down as it is."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from .checking import check
from .model import ScenarioFields


class Scenario(ScenarioFields):
    """What happens to cards and readers, which programs run meanwhile, and what has to come of it.

    With `pcsc` the readers are in a pcscd, too, with this in their names if it is a word.

    One that is a `finding` plays a fault of a real program, and passes while the fault is there.

    `within` is the deadline of every step that waits and says none of its own, `deadline` that of the whole scenario.
    """

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check(self)
        return self
