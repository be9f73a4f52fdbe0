# SPDX-License-Identifier: MIT
"""Message digesting (5.10)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKF, CKR
from ..errors import P11Error
from ..operations import parameters
from ..operations.digests import Digest
from ..operations.kinds import OperationKind
from ..sessions import Session
from ..wire import Mechanism
from .multipart import cancel_instead, final_part, rule_for, single_part, update


def C_DigestInit(caller: Caller, session: Session, mechanism: Mechanism | None) -> None:
    """Begin a digest."""
    with session.lock:
        if cancel_instead(session, OperationKind.DIGEST, mechanism) or mechanism is None:
            return
        rule = rule_for(session, CKF.DIGEST, mechanism)
        parameters.none(mechanism)
        session.begin(OperationKind.DIGEST, Digest(str(rule.digest)))


def C_Digest(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Digest in one part."""
    return single_part(session, OperationKind.DIGEST, data, room)


def C_DigestUpdate(caller: Caller, session: Session, data: bytes) -> None:
    """Digest one part of several."""
    update(session, OperationKind.DIGEST, data)


def C_DigestKey(caller: Caller, session: Session, handle: int) -> None:
    """Digest the value of a secret key as one part of several."""
    application = caller.application
    session.operation(OperationKind.DIGEST)
    key = application.object(session, handle, CKR.KEY_HANDLE_INVALID).key
    if not isinstance(key, bytes):
        raise P11Error(CKR.KEY_INDIGESTIBLE)
    update(session, OperationKind.DIGEST, key)


def C_DigestFinal(caller: Caller, session: Session, room: int | None) -> bytes | int:
    """Return the digest of all parts."""
    return final_part(session, OperationKind.DIGEST, room)
