# SPDX-License-Identifier: MIT
"""Message digesting (5.10)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKF, CKR
from ..errors import P11Error
from ..operations import parameters
from ..operations.digests import Digest
from ..sessions import Kind
from ..wire import Mechanism
from .multipart import cancel_instead, last_part, one_part, rule_for, take_part


def C_DigestInit(caller: Caller, session: int, mechanism: Mechanism | None) -> None:
    """Begin."""
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, Kind.DIGEST, mechanism) or mechanism is None:
            return
        rule = rule_for(live, CKF.DIGEST, mechanism)
        parameters.none(mechanism)
        live.begin(Kind.DIGEST, Digest(str(rule.digest)))


def C_Digest(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """In one part."""
    return one_part(caller.application.session(session), Kind.DIGEST, data, room)


def C_DigestUpdate(caller: Caller, session: int, data: bytes) -> None:
    """One part of many."""
    take_part(caller.application.session(session), Kind.DIGEST, data)


def C_DigestKey(caller: Caller, session: int, handle: int) -> None:
    """The value of a secret key as a part."""
    application = caller.application
    live = application.session(session)
    live.operation(Kind.DIGEST)
    key = application.object(live, handle, CKR.KEY_HANDLE_INVALID).key
    if not isinstance(key, bytes):
        raise P11Error(CKR.KEY_INDIGESTIBLE)
    take_part(live, Kind.DIGEST, key)


def C_DigestFinal(caller: Caller, session: int, room: int | None) -> bytes | int:
    """The digest of all parts."""
    return last_part(caller.application.session(session), Kind.DIGEST, room)
