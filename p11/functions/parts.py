# SPDX-License-Identifier: MIT
"""How data goes through an operation, in one part or in many, and when the operation ends (5.2, 5.8 to 5.12).

Asking for the length, and a buffer that is too small, leave the operation as it was; every other end, good or bad,
ends it.
"""

from __future__ import annotations

from ..application import follow_card
from ..caller import Caller
from ..constants import CKR, CKU
from ..errors import P11Error
from ..mechanisms import MECHANISMS, MechanismRule, Scheme
from ..keys import CardKey
from ..objects import P11Object
from ..operations import USAGE, Operation, check_mechanism
from ..sessions import Kind, Session
from ..wire import Mechanism


def cancel_instead(live: Session, kind: Kind, mechanism: Mechanism | None) -> bool:
    """An Init function with a NULL mechanism ends what is under way (PKCS #11 3.0)."""
    if mechanism is None:
        live.end(kind)
        return True
    if kind in live.operations:
        raise P11Error(CKR.OPERATION_ACTIVE)
    return False


def rule_for(kind: Kind, mechanism: Mechanism, *schemes: Scheme) -> MechanismRule:
    """The mechanism's row. Raises P11Error(MECHANISM_INVALID or MECHANISM_PARAM_INVALID)."""
    rule = MECHANISMS.get(mechanism.type)
    if rule is None or rule.scheme not in schemes or (kind in (Kind.ENCRYPT, Kind.DECRYPT) and rule.digest):
        raise P11Error(CKR.MECHANISM_INVALID)
    check_mechanism(rule, mechanism)
    return rule


def key_for(caller: Caller, live: Session, kind: Kind, rule: MechanismRule, handle: int) -> P11Object:
    """The key, if it may be used so. Raises P11Error."""
    application = caller.application
    item = application.object(live, handle, CKR.KEY_HANDLE_INVALID)
    if item.key is None:
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    if item.key_type != rule.key_type:
        raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
    if not item.allows(USAGE[kind]) or isinstance(item.key, bytes):
        raise P11Error(CKR.KEY_FUNCTION_NOT_PERMITTED)
    if isinstance(item.key, CardKey) and item.is_private and live.role is not CKU.USER:
        raise P11Error(CKR.USER_NOT_LOGGED_IN)
    return item


def one_part(live: Session, kind: Kind, data: bytes, room: int | None) -> bytes | int:
    """The whole operation in one call."""
    with live.lock:
        operation = live.operation(kind)
        if operation.parts and not operation.held:
            raise P11Error(CKR.OPERATION_ACTIVE)
        if room is None:
            return operation.length
        if not operation.held:
            _require_room(operation, room)
            _take(live, kind, operation, data)
        return _give(live, kind, operation, room)


def next_part(live: Session, kind: Kind, data: bytes) -> None:
    """More data."""
    with live.lock:
        _take(live, kind, live.operation(kind), data)


def last_part(live: Session, kind: Kind, room: int | None) -> bytes | int:
    """The result of all parts."""
    with live.lock:
        operation = live.operation(kind)
        if room is None:
            return operation.length
        _require_room(operation, room)
        return _give(live, kind, operation, room)


def _take(live: Session, kind: Kind, operation: Operation, data: bytes) -> None:
    try:
        operation.update(data)
    except P11Error:
        live.end(kind)
        raise


def _require_room(operation: Operation, room: int) -> None:
    if operation.exact and room < operation.length:
        raise P11Error(CKR.BUFFER_TOO_SMALL, operation.length)


def _require_login(live: Session, operation: Operation) -> None:
    """Between Init and here the login may have gone, while the card is still open to another application's PIN."""
    key = operation.key
    if isinstance(key, CardKey) and key.needs_login and live.role is not CKU.USER:
        raise P11Error(CKR.USER_NOT_LOGGED_IN)


def _give(live: Session, kind: Kind, operation: Operation, room: int) -> bytes:
    """A result of unforeseen length is held until there is room for it."""
    try:
        _require_login(live, operation)
        result = operation.held if operation.held is not None else operation.finish()
    except BaseException as error:
        live.end(kind)
        if isinstance(error, P11Error) and error.value is CKR.USER_NOT_LOGGED_IN:
            follow_card(live.token)
        raise
    if room < len(result):
        operation.held = result
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(result))
    live.end(kind)
    return result
