# SPDX-License-Identifier: MIT
"""The volatile security status of one activation, and the checks of access rules against it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..status import SW, CardError
from ..tables import PUK, Access, PinRule

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


@dataclass(slots=True)
class SecurityStatus:
    """The security status, lost by a reset.

    `verified` are the references, PIN and global PIN, that are verified. Commands are counted, because a key whose rule
    is "PIN always" needs VERIFY to be the command right before its own. `challenge` and `witness` are what the host has
    to respond to with the management key.
    """

    command: int = 0
    verified_by: int = -1
    verified: frozenset[int] = frozenset()
    management_authenticated: bool = False
    challenge: bytes | None = None
    witness: bytes | None = None

    def was_right(self, reference: int) -> None:
        """Record that the current command is a successful VERIFY."""
        if reference not in self.verified:
            self.verified |= {reference}
        self.verified_by = self.command

    def forget(self, reference: int) -> None:
        """Make the reference not verified."""
        self.verified -= {reference}

    def require(self, access: Access) -> None:
        """Require that a data object's access rule is met. Raises CardError(6982)."""
        if access is Access.ALWAYS:
            return
        by_pin = self.verified and access in (Access.PIN, Access.PIN_OR_MANAGEMENT)
        by_key = self.management_authenticated and access in (Access.MANAGEMENT, Access.PIN_OR_MANAGEMENT)
        if not (by_pin or by_key):
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)

    def require_pin(self, rule: PinRule) -> None:
        """Require that a key's PIN rule is met. Raises CardError(6982)."""
        if rule is PinRule.NEVER:
            return
        if not self.verified or (rule is PinRule.ALWAYS and self.verified_by != self.command - 1):
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)
