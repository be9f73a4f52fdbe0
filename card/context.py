# SPDX-License-Identifier: MIT
"""What the commands of one activation work on: the card's memory, its keys, and who has proved what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .keys import KeyRing
from .security import SecurityStatus
from .state import Reference, StoredKey
from .store import Store
from .touch import NO_SENSOR, TouchSensor


@dataclass(eq=False, slots=True)
class Context:
    """One activation of the PIV application. `status` is all that is volatile; everything else is the card's."""

    store: Store
    keys: KeyRing
    sensor: TouchSensor = NO_SENSOR
    status: SecurityStatus = field(default_factory=SecurityStatus)

    def commit(
        self,
        references: Mapping[int, Reference] | None = None,
        keys: Mapping[int, StoredKey | None] | None = None,
        objects: Mapping[int, bytes] | None = None,
    ) -> None:
        """Make the changes of one command together. Raises CardTorn when the power has gone, then changing nothing."""
        self.store.commit(self, references, keys, objects)
