# SPDX-License-Identifier: MIT
"""Saving and restoring the state of an operation (5.6.5, 5.6.6).

The library does not give out a hash's state as bytes; the state that an application gets is the name of a copy, which
is kept until C_Finalize, or until many later ones have been saved.
"""

from __future__ import annotations

import os

from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error
from ..operations.digests import Digest, Mac
from ..sessions import Session

_NAME = 32


def C_GetOperationState(caller: Caller, session: Session, room: int | None) -> bytes | int:
    """Save a digest, an HMAC or a CMAC. Raises P11Error(STATE_UNSAVEABLE) for other operations."""
    application = caller.application
    with session.lock:
        if not session.operations:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        if len(session.operations) > 1:
            raise P11Error(CKR.STATE_UNSAVEABLE)
        ((kind, operation),) = session.operations.items()
        if not isinstance(operation, Digest | Mac):
            raise P11Error(CKR.STATE_UNSAVEABLE)
        if room is None:
            return _NAME
        if room < _NAME:
            raise P11Error(CKR.BUFFER_TOO_SMALL, _NAME)
        name = os.urandom(_NAME)
        application.saved_states.add(name, session.token, kind, operation.copy())
        return name


def C_SetOperationState(caller: Caller, session: Session, name: bytes, encryption_key: int, key: int) -> None:
    """Continue from a saved state. A MAC includes its key; a key that is given has to be the same."""
    application = caller.application
    if not name:
        raise P11Error(CKR.ARGUMENTS_BAD)  # a NULL pointer, as a rule
    with session.lock:
        kind, operation = application.saved_states.find(name, session.token)
        if encryption_key:
            raise P11Error(CKR.KEY_NOT_NEEDED)
        if key:
            if isinstance(operation, Digest):
                raise P11Error(CKR.KEY_NOT_NEEDED)
            if application.object(session, key, CKR.KEY_HANDLE_INVALID).key != operation.key:
                raise P11Error(CKR.KEY_CHANGED)
        for active in tuple(session.operations):
            session.end(active)
        session.begin(kind, operation.copy())
