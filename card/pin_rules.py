# SPDX-License-Identifier: MIT
"""The values that a PIN or PUK can have."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .tables import PUK

PIN_LENGTH = 8
"""Bytes of a PIN or PUK on the card edge; a PIN is padded with FF (SP 800-73-5 part 2, 2.4.3)."""


PIN_FORMATS = {"digits": re.compile(b"[0-9]*"), "any": re.compile(b"[ -~]*"), "hex": re.compile(b"[0-9A-Fa-f]*")}
"""The characters that a PIN may have; PIV itself has digits only."""


@dataclass(frozen=True, slots=True)
class PinRules:
    """Which values a PIN can have: its length in bytes, and one of PIN_FORMATS. A PUK is any eight bytes."""

    minimum: int = 6
    maximum: int = PIN_LENGTH
    form: str = "digits"

    def accept(self, reference: int, value: bytes) -> bool:
        """Return whether bytes, padded with FF, can be a PIN or PUK (SP 800-73-5 part 2, 2.4.3)."""
        if len(value) != PIN_LENGTH or reference == PUK:
            return len(value) == PIN_LENGTH
        content = value.rstrip(b"\xff")
        if not self.minimum <= len(content) <= self.maximum:
            return False
        return PIN_FORMATS[self.form].fullmatch(content) is not None
