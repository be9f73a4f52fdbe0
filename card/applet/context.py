# SPDX-License-Identifier: MIT
"""The state that the commands of one activation work on: the card's memory, its keys, and its security status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..image.state import Reference, StoredKey
from ..image.store import Store
from ..touch import NO_TOUCH_INPUT, TouchInput
from .keys import KeyRing
from .security import SecurityStatus
from .variants import NEUTRAL, CardVariant


@dataclass(eq=False, slots=True)
class CommandContext:
    """One activation of the PIV application. Only `status` is volatile; everything else belongs to the card.

    `is_contactless` tells through which interface the card is spoken to.
    """

    store: Store
    keys: KeyRing
    variant: CardVariant = NEUTRAL
    sensor: TouchInput = NO_TOUCH_INPUT
    is_contactless: bool = False
    status: SecurityStatus = field(default_factory=SecurityStatus)

    @property
    def is_restricted(self) -> bool:
        """Return whether the contactless rules apply: a contactless interface without a virtual contact interface."""
        return self.is_contactless and self.variant.is_strict

    def commit(
        self,
        references: Mapping[int, Reference] | None = None,
        keys: Mapping[int, StoredKey | None] | None = None,
        objects: Mapping[int, bytes] | None = None,
    ) -> None:
        """Make the changes of one command in one write. Raises CardTorn, and changes nothing, if power was lost."""
        self.store.commit(self, references, keys, objects)
