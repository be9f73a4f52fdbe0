# SPDX-License-Identifier: MIT
"""Sessions: a handle, a token, and the operations that are under way."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

from ..reader.card_lock import OwnLock
from .constants import CKR, CKS, CKU
from .errors import P11Error

if TYPE_CHECKING:
    from .operations import Operation
    from .slots import Slot
    from .token import Token


@unique
class Kind(StrEnum):
    """The kinds of operation of which a session can have one each (PKCS #11, 5.1)."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    DIGEST = "digest"
    SIGN = "sign"
    VERIFY = "verify"
    SIGN_RECOVER = "sign-recover"
    VERIFY_RECOVER = "verify-recover"
    VERIFY_SIGNATURE = "verify-signature"
    MESSAGE_ENCRYPT = "message-encrypt"
    MESSAGE_DECRYPT = "message-decrypt"


WORKS_ON: dict[str, Kind] = {
    **{
        f"C_{verb}{part}": kind
        for verb, kind in (
            ("Encrypt", Kind.ENCRYPT),
            ("Decrypt", Kind.DECRYPT),
            ("Digest", Kind.DIGEST),
            ("Sign", Kind.SIGN),
            ("Verify", Kind.VERIFY),
            ("VerifySignature", Kind.VERIFY_SIGNATURE),
        )
        for part in ("", "Update", "Final")
    },
    "C_SignRecover": Kind.SIGN_RECOVER,
    "C_VerifyRecover": Kind.VERIFY_RECOVER,
}
"""Which operation each function works on; whatever it answers but OK and BUFFER_TOO_SMALL is the end of that (5.2).

The others do not end what they work on by failing: C_DigestKey, C_FindObjects, and the functions of two operations,
where that one ends that has failed.
"""

WORKS_ON_MESSAGE: dict[str, Kind] = {
    "C_EncryptMessageNext": Kind.MESSAGE_ENCRYPT,
    "C_DecryptMessageNext": Kind.MESSAGE_DECRYPT,
}
"""The same for a message that comes in parts (5.9, 5.11): it ends, and others can follow."""


class Right(NamedTuple):
    """What a login entitles to: the role, and the SO's PUK, which the card asks for at every step of his.

    The user's PIN is the token's to know, for other applications may change it.
    """

    role: CKU | None = None
    secret: bytes = b""

    def __repr__(self) -> str:
        return f"Right({self.role})"


NOBODY = Right()
_USER = CKU.USER

STATES: dict[tuple[CKU | None, bool], CKS] = {
    (None, False): CKS.RO_PUBLIC_SESSION,
    (None, True): CKS.RW_PUBLIC_SESSION,
    (CKU.USER, False): CKS.RO_USER_FUNCTIONS,
    (CKU.USER, True): CKS.RW_USER_FUNCTIONS,
    (CKU.SO, True): CKS.RW_SO_FUNCTIONS,
}
"""The state of a session by who is logged in and whether it is read/write (5.6, figures 1 and 2)."""


class Session:
    """One session. Who works on its operations holds `lock`; when it is over, it is out of the application's table."""

    def __init__(
        self, handle: int, slot: Slot, token: Token, read_write: bool, flags: int, rights: Mapping[Token, Right]
    ) -> None:
        self.handle = handle
        self._rights = rights
        self.slot = slot
        self.token = token
        self.read_write = read_write
        self.flags = flags
        self.lock = OwnLock(token.insertion.reader.testbed.call_under_way)
        self.operations: dict[Kind, Operation] = {}
        self.found: list[int] | None = None  # what C_FindObjects has still to give

    @property
    def right(self) -> Right:
        """What this application may do on the token: all its sessions share it."""
        return self._rights.get(self.token, NOBODY)

    @property
    def role(self) -> CKU | None:
        """Who is logged in to the token."""
        return self.right.role

    @property
    def is_user(self) -> bool:
        """Whether that is the user."""
        return self._rights.get(self.token, NOBODY).role is _USER

    @property
    def state(self) -> CKS:
        """The state in CK_SESSION_INFO."""
        return STATES[self.role, self.read_write]

    def begin(self, kind: Kind, operation: Operation) -> None:
        """Start an operation. Raises P11Error(OPERATION_ACTIVE)."""
        if kind in self.operations:
            raise P11Error(CKR.OPERATION_ACTIVE)
        self.operations[kind] = operation

    def operation(self, kind: Kind) -> Operation:
        """The operation under way. Raises P11Error(OPERATION_NOT_INITIALIZED)."""
        operation = self.operations.get(kind)
        if operation is None:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        return operation

    def end(self, kind: Kind) -> None:
        """Forget an operation, if there is one."""
        self.operations.pop(kind, None)

    def end_by_failure(self, function: str) -> None:
        """End what a function works on that has failed."""
        with self.lock:
            if function in WORKS_ON:
                self.end(WORKS_ON[function])
            elif function in WORKS_ON_MESSAGE:
                operation = self.operations.get(WORKS_ON_MESSAGE[function])
                if operation is not None:
                    operation.end_message()
