# SPDX-License-Identifier: MIT
"""The logins to a card, their rights, and the session states that follow from them (PKCS #11 3.1, 5.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .constants import CKS, CKU


class Right(NamedTuple):
    """What a login entitles to: the role, and the SO's PUK, which the card requires at each command of the SO.

    The user's PIN is not part of it: another application may change it (see Logins.pin).
    """

    role: CKU | None = None
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"Right({self.role})"


NOBODY = Right()

STATES: dict[tuple[CKU | None, bool], CKS] = {
    (None, False): CKS.RO_PUBLIC_SESSION,
    (None, True): CKS.RW_PUBLIC_SESSION,
    (CKU.USER, False): CKS.RO_USER_FUNCTIONS,
    (CKU.USER, True): CKS.RW_USER_FUNCTIONS,
    (CKU.SO, True): CKS.RW_SO_FUNCTIONS,
}
"""The state of a session by the role of the login and whether it is read/write (5.6, figures 1 and 2)."""


class Logins:
    """The logins of all applications to one card. Changes under the testbed's lock only.

    `rights` has one entry for each application that is logged in; all its sessions on the card share it. `pin` is the
    user's PIN as the card has last accepted it, for a management key that is derived from it.
    """

    def __init__(self) -> None:
        self.rights: dict[object, Right] = {}
        self.pin = b""
        self._listeners: dict[object, Callable[[], None]] = {}

    def begin(self, application: object, right: Right, lost: Callable[[], None]) -> None:
        """Record a login; `lost` is called when the card turns out to have no PIN verified any more."""
        self.rights[application] = right
        self._listeners[application] = lost

    def end(self, application: object) -> bool:
        """Remove a login; return True if there was one and no other is left on the card."""
        if self.rights.pop(application, None) is None:
            return False
        del self._listeners[application]
        return not self.rights

    def report_loss(self) -> None:
        """Tell all logged-in applications that the card has no PIN verified any more."""
        for lost in tuple(self._listeners.values()):
            lost()
