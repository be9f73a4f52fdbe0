# SPDX-License-Identifier: MIT
"""The persistent state of a card: references (PIN and PUK), keys, data objects, and its properties."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..pin_rules import PinRules
from ..tables import PinRule, TouchPolicy

DEFAULT_CAPACITY = 1024 * 1024


class Reference(NamedTuple):
    """A PIN or PUK: its eight bytes, its retry counter, and the counter's limit."""

    value: bytes
    remaining: int
    maximum: int

    def __repr__(self) -> str:
        return f"Reference(remaining={self.remaining}, maximum={self.maximum})"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key in a slot: the bytes of a management key, or a private key as PKCS #8 DER, and its policies."""

    algorithm: int
    value: bytes = field(repr=False)
    imported: bool = False
    pin_rule: PinRule = PinRule.ALWAYS
    touch: TouchPolicy = TouchPolicy.NEVER


@dataclass(slots=True)
class CardState:
    """The content of the image, in memory. `serial` has eight bytes; `capacity` is bytes of keys and data objects."""

    name: str
    profile: str
    atr: bytes
    serial: bytes
    references: dict[int, Reference] = field(default_factory=dict)
    keys: dict[int, StoredKey] = field(default_factory=dict)
    objects: dict[int, bytes] = field(default_factory=dict)
    capacity: int = DEFAULT_CAPACITY
    pin_rules: PinRules = field(default_factory=PinRules)

    @property
    def used(self) -> int:
        """Return how many bytes of the capacity are used."""
        return sum(map(len, self.objects.values())) + sum(len(key.value) for key in self.keys.values())
