# SPDX-License-Identifier: MIT
"""Who has proved what: the volatile security status of one activation, and what it takes to pass an access rule."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..status import SW, CardError
from ..tables import PUK, Access, PinRule

PIN_LENGTH = 8
"""Bytes of a PIN or PUK on the card edge; a PIN is padded with FF (SP 800-73-5 part 2, 2.4.3)."""


PIN_FORMATS = {"digits": re.compile(b"[0-9]*"), "any": re.compile(b"[ -~]*"), "hex": re.compile(b"[0-9A-Fa-f]*")}
"""What a PIN may be made of; PIV itself knows digits only."""


@dataclass(frozen=True, slots=True)
class PinRules:
    """What can be a PIN: its length in bytes, and one of PIN_FORMATS. A PUK is any eight bytes."""

    minimum: int = 6
    maximum: int = PIN_LENGTH
    form: str = "digits"

    def accept(self, reference: int, value: bytes) -> bool:
        """Whether the bytes, padded with FF, can be a PIN or PUK (SP 800-73-5 part 2, 2.4.3)."""
        if len(value) != PIN_LENGTH or reference == PUK:
            return len(value) == PIN_LENGTH
        content = value.rstrip(b"\xff")
        if not self.minimum <= len(content) <= self.maximum:
            return False
        return PIN_FORMATS[self.form].fullmatch(content) is not None


@dataclass(slots=True)
class SecurityStatus:
    """What reset takes away.

    `verified` are the references, PIN and global PIN, that count as verified. Commands are counted, because a key whose
    rule is "PIN always" wants to know whether the command right before its own was the VERIFY. `challenge` and
    `witness` are what the host has to answer to prove the management key.
    """

    command: int = 0
    verified_by: int = -1
    verified: frozenset[int] = frozenset()
    management_authenticated: bool = False
    challenge: bytes | None = None
    witness: bytes | None = None

    def was_right(self, reference: int) -> None:
        """The command at work is a successful VERIFY."""
        if reference not in self.verified:
            self.verified |= {reference}
        self.verified_by = self.command

    def forget(self, reference: int) -> None:
        """It counts as verified no longer."""
        self.verified -= {reference}

    def require(self, access: Access) -> None:
        """Raises CardError(6982) unless a data object's access rule is met."""
        if access is Access.ALWAYS:
            return
        by_pin = self.verified and access in (Access.PIN, Access.PIN_OR_MANAGEMENT)
        by_key = self.management_authenticated and access in (Access.MANAGEMENT, Access.PIN_OR_MANAGEMENT)
        if not (by_pin or by_key):
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)

    def require_pin(self, rule: PinRule) -> None:
        """Raises CardError(6982) unless a key's PIN rule is met."""
        if rule is PinRule.NEVER:
            return
        if not self.verified or (rule is PinRule.ALWAYS and self.verified_by != self.command - 1):
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)
