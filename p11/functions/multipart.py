# SPDX-License-Identifier: MIT
"""Begin, continue and end operations, in one part or several (5.2, 5.8 to 5.13).

A call that asks for the length, and CKR_BUFFER_TOO_SMALL, leave the operation active; every other end, good or bad,
ends it. (dispatch.py ends the operation of a function that has failed; this file ends one of two.)
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
    """End the active operation if an Init function has a NULL mechanism (PKCS #11 3.0); return whether it had.

    Raises P11Error: ARGUMENTS_BAD if none is active then, OPERATION_ACTIVE if one is otherwise.
    """
    if mechanism is None:
        if kind not in session.operations:
            raise P11Error(CKR.ARGUMENTS_BAD)
        session.end(kind)
        return True
    if kind in session.operations:
        raise P11Error(CKR.OPERATION_ACTIVE)
    return False


def rule_for(session: Session, flag: CKF, mechanism: Mechanism) -> MechanismRule:
    """Return the mechanism's row, if the token has it for this use. Raises P11Error(MECHANISM_INVALID)."""
    rule = session.token.mechanism(mechanism.type)
    if not rule.flags & flag:
        raise P11Error(CKR.MECHANISM_INVALID)
    return rule


def key_for(caller: Caller, session: Session, usage: CKA, rule: MechanismRule, handle: int) -> P11Object:
    """Return a key that may be used so, a private one only to the user. Raises P11Error."""
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
    """Begin an operation with a key; with a private object it needs the login until its end."""
    operation.needs_login = operation.needs_login or item.is_private
    session.begin(kind, operation)


def single_part(session: Session, kind: OperationKind, data: bytes, room: int | None) -> bytes | int:
    """Carry out a whole operation in one call."""
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
    """Take more data and return the output for it."""
    with session.lock:
        operation = _in_parts(session, kind)
        length = _length(session, kind, operation, len(data), False)
        if room is None:
            # Some applications that get a length of 0 call again without a buffer, and so never pass the data.
            return length or len(data)
        if room < length:
            raise P11Error(CKR.BUFFER_TOO_SMALL, length)
        return _update(session, kind, operation, data)


def final_part(session: Session, kind: OperationKind, room: int | None) -> bytes | int:
    """Return the rest of the output."""
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
    """Take more data, in an operation without output before the end."""
    with session.lock:
        _update(session, kind, _in_parts(session, kind), data)


def _in_parts(session: Session, kind: OperationKind) -> Operation:
    """Return the operation for a part of several; end one that has begun as a single part."""
    operation = session.operation(kind)
    if operation.in_one_part:
        session.end(kind)
        raise P11Error(CKR.OPERATION_ACTIVE)
    return operation


def _length(session: Session, kind: OperationKind, operation: Operation, more: int, final: bool) -> int:
    """Return the length of the output. A length of data that the operation cannot take ends it here already."""
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
    """Raise P11Error(USER_NOT_LOGGED_IN) if the login has ended since Init.

    The card itself may still have the PIN verified, for another application.
    """
    if (operation.needs_login and not session.is_user) or (operation.asks_each_time and not operation.context_login):
        raise P11Error(CKR.USER_NOT_LOGGED_IN)


def _return_result(
    session: Session, kind: OperationKind, operation: Operation, before: bytes, room: int | None
) -> bytes | int:
    """Return the result, or keep it until there is room for it."""
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
