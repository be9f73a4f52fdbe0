# SPDX-License-Identifier: MIT
"""What the commands of one activation work on: the card's memory, its keys, and who has proved what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..image.state import Reference, StoredKey
from ..image.store import Store
from .keys import KeyRing
from .security import SecurityStatus
from .touch import NO_SENSOR, TouchSensor
from .variants import NEUTRAL, Make


@dataclass(eq=False, slots=True)
class Context:
    """One activation of the PIV application. `status` is all that is volatile; everything else is the card's.

    `is_contactless` tells through which interface the card is spoken to.
    """

    store: Store
    keys: KeyRing
    make: Make = NEUTRAL
    sensor: TouchSensor = NO_SENSOR
    is_contactless: bool = False
    status: SecurityStatus = field(default_factory=SecurityStatus)

    @property
    def is_restricted(self) -> bool:
        """Whether only that is allowed which wants no contacts, for there is no virtual contact interface."""
        return self.is_contactless and self.make.is_strict

    def commit(
        self,
        references: Mapping[int, Reference] | None = None,
        keys: Mapping[int, StoredKey | None] | None = None,
        objects: Mapping[int, bytes] | None = None,
    ) -> None:
        """Make the changes of one command together. Raises CardTorn when the power has gone, then changing nothing."""
        self.store.commit(self, references, keys, objects)
