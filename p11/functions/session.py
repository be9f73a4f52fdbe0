# SPDX-License-Identifier: MIT
"""Session management (5.6)."""

from __future__ import annotations

from .. import abi
from ..caller import Caller
from ..constants import CKF, CKR, CKU
from ..errors import P11Error
from ..sessions import Kind, Right, Session
from ..token import Token
from .pin_entry import given_or_pad

_WITH_PRIVATE_KEYS = (Kind.SIGN, Kind.DECRYPT, Kind.SIGN_RECOVER)
_SESSION_FLAGS = CKF.RW_SESSION | CKF.SERIAL_SESSION


def C_OpenSession(caller: Caller, slot: int, flags: int) -> int:
    """Read-only or read/write; parallel sessions are history."""
    application = caller.application
    place = application.slot(slot)
    if not flags & CKF.SERIAL_SESSION:
        raise P11Error(CKR.SESSION_PARALLEL_NOT_SUPPORTED)
    token = application.token(slot)
    token.require_recognised()
    return application.open_session(place, token, bool(flags & CKF.RW_SESSION), flags & _SESSION_FLAGS).handle


def C_CloseSession(caller: Caller, session: int) -> None:
    """With the last session on a token the login ends."""
    application = caller.application
    live = application.session(session)
    if application.close_session(live):
        live.token.give_up()


def C_CloseAllSessions(caller: Caller, slot: int) -> None:
    """On an empty slot there is nothing to close."""
    application = caller.application
    place = application.slot(slot)
    with application.testbed.lock:
        token = place.token
        left_alone = token is not None and application.drop_sessions(token)
    if token is not None and left_alone:
        token.give_up()


def C_GetSessionInfo(caller: Caller, session: int) -> bytes:
    """The truth of this instant; the card is not asked."""
    live = caller.application.session(session)
    return abi.session_info(live.slot.number, live.state, live.flags)


def C_Login(caller: Caller, session: int, user: int, pin: bytes | None) -> None:
    """VERIFY for a user, the PUK for the SO, VERIFY once more for a key that asks each time (CKU_CONTEXT_SPECIFIC)."""
    application = caller.application
    live = application.session(session)
    if user not in (CKU.USER, CKU.SO, CKU.CONTEXT_SPECIFIC):
        raise P11Error(CKR.USER_TYPE_INVALID)
    if user == CKU.CONTEXT_SPECIFIC:
        _log_in_for_operation(caller, live, pin)
        return
    role, token = CKU(user), live.token
    application.require_login_possible(live, role)
    pin = given_or_pad(caller, token, pin)
    with token.insertion.lock:
        application.require_login_possible(live, role)  # another thread may have been faster
        right = _proved(token, role, pin)
        try:
            with application.testbed.lock:
                application.require_login_possible(live, role)
                application.log_in(live, right)
        except P11Error:
            token.give_up()  # the session has ended meanwhile: nobody would take the PIN back
            raise


def C_LoginUser(caller: Caller, session: int, user: int, pin: bytes | None, name: bytes | None) -> None:
    """A card has no user names."""
    if name:
        caller.application.session(session)
        raise P11Error(CKR.USER_TYPE_INVALID)
    C_Login(caller, session, user, pin)


def C_Logout(caller: Caller, session: int) -> None:
    """For this application; the card forgets the PIN when nobody else is logged in."""
    application = caller.application
    live = application.session(session)
    with live.lock:
        for kind in _WITH_PRIVATE_KEYS:
            live.end(kind)
    if application.log_out(live):
        live.token.give_up()


def C_SessionCancel(caller: Caller, session: int, flags: int) -> None:
    """Ends the operations whose flags are given (PKCS #11 3.0, 5.6.10)."""
    live = caller.application.session(session)
    with live.lock:
        for kind, flag in _CANCEL.items():
            if flags & flag:
                live.end(kind)
        if flags & CKF.FIND_OBJECTS:
            live.found = None


_CANCEL = {
    Kind.ENCRYPT: CKF.ENCRYPT,
    Kind.DECRYPT: CKF.DECRYPT,
    Kind.DIGEST: CKF.DIGEST,
    Kind.SIGN: CKF.SIGN,
    Kind.VERIFY: CKF.VERIFY,
    Kind.VERIFY_SIGNATURE: CKF.VERIFY,
    Kind.SIGN_RECOVER: CKF.SIGN_RECOVER,
    Kind.VERIFY_RECOVER: CKF.VERIFY_RECOVER,
    Kind.MESSAGE_ENCRYPT: CKF.MESSAGE_ENCRYPT,
    Kind.MESSAGE_DECRYPT: CKF.MESSAGE_DECRYPT,
}


def C_GetSessionValidationFlags(caller: Caller, session: int, kind: int) -> int:
    """No validation by any authority is claimed (PKCS #11 3.2, 5.6.11)."""
    caller.application.session(session)
    return 0


def _log_in_for_operation(caller: Caller, live: Session, pin: bytes | None) -> None:
    operation = next((live.operations[kind] for kind in _WITH_PRIVATE_KEYS if kind in live.operations), None)
    if operation is None or not operation.asks_each_time:
        raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
    pin = given_or_pad(caller, live.token, pin)
    live.token.names()  # asked now: after the PIN the signature has to be the card's next command
    live.token.flags()
    _proved(live.token, CKU.USER, pin)
    operation.context_login = True


def _proved(token: Token, role: CKU, pin: bytes) -> Right:
    try:
        return token.log_in(role, pin)
    except P11Error:
        token.follow_card()
        raise
