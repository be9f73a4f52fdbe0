# SPDX-License-Identifier: MIT
"""The volatile security status of one activation, and the checks of access rules against it."""

from __future__ import annotations

from dataclasses import dataclass

from ..status import SW, CardError
from ..tables import Access, PinRule


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
