# SPDX-License-Identifier: MIT
"""Sessions: handle, slot, token and active operations (PKCS #11 3.1, 5.6)."""

from __future__ import annotations

from ..reader.card_lock import OwnLock
from .constants import CKR, CKS, CKU
from .errors import P11Error
from .login import NOBODY, STATES, Right
from .operations import Operation
from .operations.kinds import WORKS_ON, WORKS_ON_MESSAGE, OperationKind
from .slots import Slot
from .token import Token

_USER = CKU.USER


class Session:
    """One session of an application with a token.

    Operations change under `lock`. A session that has ended is no longer in the application's table.
    """

    def __init__(
        self, handle: int, slot: Slot, token: Token, read_write: bool, flags: int, application: object
    ) -> None:
        self.handle = handle
        self._application = application
        self.slot = slot
        self.token = token
        self.read_write = read_write
        self.flags = flags
        self.lock = OwnLock(token.insertion.reader.testbed.call_under_way)
        self.operations: dict[OperationKind, Operation] = {}
        self.found: list[int] | None = None  # handles that C_FindObjects has not returned yet

    @property
    def right(self) -> Right:
        """Return the right of the application's login to the token, NOBODY without one."""
        return self.token.logins.rights.get(self._application, NOBODY)

    @property
    def role(self) -> CKU | None:
        """Return the role in which the application is logged in to the token, None without login."""
        return self.right.role

    @property
    def is_user(self) -> bool:
        """Return whether the application is logged in as the user."""
        return self.token.logins.rights.get(self._application, NOBODY).role is _USER

    @property
    def state(self) -> CKS:
        """Return the session state of CK_SESSION_INFO from memory; sends no APDU."""
        return STATES[self.role, self.read_write]

    def begin(self, kind: OperationKind, operation: Operation) -> None:
        """Begin an operation. Raises P11Error(OPERATION_ACTIVE)."""
        if kind in self.operations:
            raise P11Error(CKR.OPERATION_ACTIVE)
        self.operations[kind] = operation

    def operation(self, kind: OperationKind) -> Operation:
        """Return the active operation of a kind. Raises P11Error(OPERATION_NOT_INITIALIZED)."""
        operation = self.operations.get(kind)
        if operation is None:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        return operation

    def end(self, kind: OperationKind) -> None:
        """End an operation, if one of this kind is active."""
        self.operations.pop(kind, None)

    def end_by_failure(self, function: str) -> None:
        """End the operation or message that a failed function works on (5.2)."""
        with self.lock:
            if function in WORKS_ON:
                self.end(WORKS_ON[function])
            elif function in WORKS_ON_MESSAGE:
                operation = self.operations.get(WORKS_ON_MESSAGE[function])
                if operation is not None:
                    operation.end_message()
