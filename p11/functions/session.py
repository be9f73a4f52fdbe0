# SPDX-License-Identifier: MIT
"""Session management (5.6)."""

from __future__ import annotations

from .. import abi
from ..caller import Caller
from ..constants import CKF, CKR, CKU
from ..errors import P11Error
from ..login import Right
from ..operations.kinds import OperationKind
from ..sessions import Session
from ..token import Token
from .pin_entry import given_or_pad

_WITH_PRIVATE_KEYS = (OperationKind.SIGN, OperationKind.DECRYPT, OperationKind.SIGN_RECOVER)
_SESSION_FLAGS = CKF.RW_SESSION | CKF.SERIAL_SESSION


def C_OpenSession(caller: Caller, slot_id: int, flags: int) -> int:
    """Open a read-only or read/write session."""
    application = caller.application
    slot = application.slot(slot_id)
    if not flags & CKF.SERIAL_SESSION:
        raise P11Error(CKR.SESSION_PARALLEL_NOT_SUPPORTED)
    token = application.token(slot_id)
    token.require_recognised()
    return application.open_session(slot, token, bool(flags & CKF.RW_SESSION), flags & _SESSION_FLAGS).handle


def C_CloseSession(caller: Caller, session: Session) -> None:
    """Close a session, and with the last one on a token end the login."""
    application = caller.application
    if application.close_session(session):
        session.token.give_up()


def C_CloseAllSessions(caller: Caller, slot_id: int) -> None:
    """Close all sessions of the application with a token; on an empty slot there are none."""
    application = caller.application
    slot = application.slot(slot_id)
    with application.testbed.lock:
        token = slot.token
        left_alone = token is not None and application.drop_sessions(token)
    if token is not None and left_alone:
        token.give_up()


def C_GetSessionInfo(caller: Caller, session: Session) -> bytes:
    """Return the session state from memory; sends no APDU."""
    return abi.session_info(session.slot.number, session.state, session.flags)


def C_Login(caller: Caller, session: Session, user: int, pin: bytes | None) -> None:
    """Log in: VERIFY for the user, the PUK for the SO, VERIFY again for a key that always authenticates."""
    application = caller.application
    if user not in (CKU.USER, CKU.SO, CKU.CONTEXT_SPECIFIC):
        raise P11Error(CKR.USER_TYPE_INVALID)
    if user == CKU.CONTEXT_SPECIFIC:
        _log_in_for_operation(caller, session, pin)
        return
    role, token = CKU(user), session.token
    application.require_login_possible(session, role)
    pin = given_or_pad(caller, token, pin)
    with token.insertion.lock:
        application.require_login_possible(session, role)  # another thread may have been faster
        right = _proved(token, role, pin)
        try:
            with application.testbed.lock:
                application.require_login_possible(session, role)
                application.log_in(session, right)
        except P11Error:
            token.give_up()  # the session has ended meanwhile: nothing else would end the verification
            raise


def C_LoginUser(caller: Caller, session: Session, user: int, pin: bytes | None, name: bytes | None) -> None:
    """Log in without user name; a card has none, so that one is CKR_USER_TYPE_INVALID."""
    if name:
        raise P11Error(CKR.USER_TYPE_INVALID)
    C_Login(caller, session, user, pin)


def C_Logout(caller: Caller, session: Session) -> None:
    """Log out; end the PIN verification if no other application is logged in to the card."""
    application = caller.application
    with session.lock:
        for kind in _WITH_PRIVATE_KEYS:
            session.end(kind)
    if application.log_out(session):
        session.token.give_up()


def C_SessionCancel(caller: Caller, session: Session, flags: int) -> None:
    """End the operations whose flags are given (PKCS #11 3.0, 5.6.10)."""
    with session.lock:
        for kind, flag in _CANCEL.items():
            if flags & flag:
                session.end(kind)
        if flags & CKF.FIND_OBJECTS:
            session.found = None


_CANCEL = {
    OperationKind.ENCRYPT: CKF.ENCRYPT,
    OperationKind.DECRYPT: CKF.DECRYPT,
    OperationKind.DIGEST: CKF.DIGEST,
    OperationKind.SIGN: CKF.SIGN,
    OperationKind.VERIFY: CKF.VERIFY,
    OperationKind.VERIFY_SIGNATURE: CKF.VERIFY,
    OperationKind.SIGN_RECOVER: CKF.SIGN_RECOVER,
    OperationKind.VERIFY_RECOVER: CKF.VERIFY_RECOVER,
    OperationKind.MESSAGE_ENCRYPT: CKF.MESSAGE_ENCRYPT,
    OperationKind.MESSAGE_DECRYPT: CKF.MESSAGE_DECRYPT,
}


def C_GetSessionValidationFlags(caller: Caller, session: Session, kind: int) -> int:
    """Return 0: no validation is claimed (PKCS #11 3.2, 5.6.11)."""
    return 0


def _log_in_for_operation(caller: Caller, session: Session, pin: bytes | None) -> None:
    operation = next((session.operations[kind] for kind in _WITH_PRIVATE_KEYS if kind in session.operations), None)
    if operation is None or not operation.asks_each_time:
        raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
    pin = given_or_pad(caller, session.token, pin)
    session.token.names()  # read now: after VERIFY the signature has to be the card's next command
    session.token.flags()
    _proved(session.token, CKU.USER, pin)
    operation.context_login = True


def _proved(token: Token, role: CKU, pin: bytes) -> Right:
    try:
        return token.log_in(role, pin)
    except P11Error:
        token.follow_card()
        raise
