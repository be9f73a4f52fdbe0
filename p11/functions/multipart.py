# SPDX-License-Identifier: MIT
"""How an operation begins, how data goes through it in one part or in many, and when it ends (5.2, 5.8 to 5.13).

Asking for the length, and a buffer that is too small, leave the operation as it was; every other end, good or bad,
ends it. (dispatch.py ends that of a function that has failed; what is ended here is one of two.)
"""

from __future__ import annotations

from ..attributes import as_ulongs
from ..caller import Caller
from ..constants import CKA, CKF, CKR
from ..errors import P11Error
from ..mechanisms import MechanismRule
from ..objects import P11Object
from ..operations import Operation
from ..operations.kinds import OperationKind
from ..sessions import Session
from ..wire import Mechanism

_NO_KEY, _ALLOWED_MECHANISMS = CKR.KEY_HANDLE_INVALID, CKA.ALLOWED_MECHANISMS


def cancel_instead(session: Session, kind: OperationKind, mechanism: Mechanism | None) -> bool:
    """An Init function with a NULL mechanism ends what is under way (PKCS #11 3.0); with nothing to end it is wrong."""
    if mechanism is None:
        if kind not in session.operations:
            raise P11Error(CKR.ARGUMENTS_BAD)
        session.end(kind)
        return True
    if kind in session.operations:
        raise P11Error(CKR.OPERATION_ACTIVE)
    return False


def rule_for(session: Session, flag: CKF, mechanism: Mechanism) -> MechanismRule:
    """The mechanism's row, if the token offers it for this. Raises P11Error(MECHANISM_INVALID)."""
    rule = session.token.mechanism(mechanism.type)
    if not rule.flags & flag:
        raise P11Error(CKR.MECHANISM_INVALID)
    return rule


def key_for(caller: Caller, session: Session, usage: CKA, rule: MechanismRule, handle: int) -> P11Object:
    """The key, if it may be used so; a private one by the user only. Raises P11Error."""
    item = caller.application.object(session, handle, _NO_KEY)
    if item.key is None:
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    if item.key_type not in rule.key_types:
        raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
    if not item.allows(usage):
        raise P11Error(CKR.KEY_FUNCTION_NOT_PERMITTED)
    allowed = item.attributes.get(_ALLOWED_MECHANISMS)
    if allowed is not None and rule.type not in as_ulongs(allowed):
        raise P11Error(CKR.MECHANISM_INVALID)
    return item


def begin(session: Session, kind: OperationKind, item: P11Object, operation: Operation) -> None:
    """Start an operation with a key; with a private one of the session, too, it ends when the login does."""
    operation.needs_login = operation.needs_login or item.is_private
    session.begin(kind, operation)


def single_part(session: Session, kind: OperationKind, data: bytes, room: int | None) -> bytes | int:
    """The whole operation in one call."""
    with session.lock:
        operation = session.operation(kind)
        if operation.pending_result is not None:
            return _return_result(session, kind, operation, b"", room)
        if operation.parts:
            raise P11Error(CKR.OPERATION_ACTIVE)
        operation.in_one_part = True
        length = _length(session, kind, operation, len(data), True)
        if room is None:
            return length
        if room < length and operation.exact:
            raise P11Error(CKR.BUFFER_TOO_SMALL, length)
        return _return_result(session, kind, operation, _update(session, kind, operation, data), room)


def update_with_output(session: Session, kind: OperationKind, data: bytes, room: int | None) -> bytes | int:
    """More data, and what comes out for it."""
    with session.lock:
        operation = _in_parts(session, kind)
        length = _length(session, kind, operation, len(data), False)
        if room is None:
            # Told that nothing comes out, some applications call again without a buffer, and the data is never taken.
            return length or len(data)
        if room < length:
            raise P11Error(CKR.BUFFER_TOO_SMALL, length)
        return _update(session, kind, operation, data)


def final_part(session: Session, kind: OperationKind, room: int | None) -> bytes | int:
    """The rest of the result."""
    with session.lock:
        operation = _in_parts(session, kind)
        if operation.pending_result is None:
            length = _length(session, kind, operation, 0, True)
            if room is None:
                return length
            if operation.exact and room < length:
                raise P11Error(CKR.BUFFER_TOO_SMALL, length)
        return _return_result(session, kind, operation, b"", room)


def update(session: Session, kind: OperationKind, data: bytes) -> None:
    """More data, for operations that give nothing for it."""
    with session.lock:
        _update(session, kind, _in_parts(session, kind), data)


def _in_parts(session: Session, kind: OperationKind) -> Operation:
    """The operation for one of its parts. One that was asked for its result as a whole has none: that ends it."""
    operation = session.operation(kind)
    if operation.in_one_part:
        session.end(kind)
        raise P11Error(CKR.OPERATION_ACTIVE)
    return operation


def _length(session: Session, kind: OperationKind, operation: Operation, more: int, final: bool) -> int:
    """What would come out. Data of a length that cannot be taken is refused already here, and that ends it."""
    try:
        return operation.output_length(more, final)
    except P11Error:
        session.end(kind)
        raise


def _update(session: Session, kind: OperationKind, operation: Operation, data: bytes) -> bytes:
    operation.parts += 1
    try:
        require_login(session, operation)
        return operation.update(data)
    except BaseException:
        session.end(kind)
        raise


def require_login(session: Session, operation: Operation) -> None:
    """Between Init and here the login may have gone, while the card is still open to another application's PIN."""
    if (operation.needs_login and not session.is_user) or (operation.asks_each_time and not operation.context_login):
        raise P11Error(CKR.USER_NOT_LOGGED_IN)


def _return_result(
    session: Session, kind: OperationKind, operation: Operation, before: bytes, room: int | None
) -> bytes | int:
    """A result of unforeseen length is held until there is room for it."""
    try:
        require_login(session, operation)
        if operation.pending_result is None:
            rest = operation.finish()
            operation.pending_result = before + rest if before else rest
    except BaseException as error:
        session.end(kind)
        session.token.follow(error)
        raise
    result = operation.pending_result
    if room is None:
        return len(result)
    if room < len(result):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(result))
    session.end(kind)
    return result
