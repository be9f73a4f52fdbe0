# SPDX-License-Identifier: MIT
"""Signing, verification and MACs, also with data recovery (5.11 to 5.14)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKA, CKF, CKR
from ..errors import P11Error
from ..keys import CardKey, PublicKey, SessionKey
from ..operations import Operation
from ..operations.digests import Mac
from ..operations.kinds import OperationKind
from ..operations.signatures import RecoverOperation, SignOperation, VerifyOperation
from ..sessions import Session
from ..wire import Mechanism
from .multipart import begin, cancel_instead, final_part, key_for, require_login, rule_for, single_part, update


def C_SignInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin a signature; sends no APDU."""
    _begin_signing(caller, session, mechanism, handle, OperationKind.SIGN, CKF.SIGN, CKA.SIGN)


def C_Sign(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Sign in one part."""
    return single_part(session, OperationKind.SIGN, data, room)


def C_SignUpdate(caller: Caller, session: Session, data: bytes) -> None:
    """Take one part of several to sign."""
    update(session, OperationKind.SIGN, data)


def C_SignFinal(caller: Caller, session: Session, room: int | None) -> bytes | int:
    """Return the signature of all parts."""
    return final_part(session, OperationKind.SIGN, room)


def C_SignRecoverInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin a signature from which the data can be recovered."""
    _begin_signing(caller, session, mechanism, handle, OperationKind.SIGN_RECOVER, CKF.SIGN_RECOVER, CKA.SIGN_RECOVER)


def C_SignRecover(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Sign in one part, the only way with recovery."""
    return single_part(session, OperationKind.SIGN_RECOVER, data, room)


def C_VerifyInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin a verification."""
    begin_verifying(caller, session, mechanism, handle)


def C_Verify(caller: Caller, session: Session, data: bytes, signature: bytes) -> None:
    """Verify a signature in one part."""
    _verify(session, OperationKind.VERIFY, data, signature)


def C_VerifyUpdate(caller: Caller, session: Session, data: bytes) -> None:
    """Take one part of several to verify."""
    update(session, OperationKind.VERIFY, data)


def C_VerifyFinal(caller: Caller, session: Session, signature: bytes) -> None:
    """Verify the signature of all parts."""
    check(session, OperationKind.VERIFY, signature)


def C_VerifySignatureInit(
    caller: Caller, session: Session, mechanism: Mechanism | None, handle: int, signature: bytes
) -> None:
    """Begin a verification with the signature first (PKCS #11 3.2, 5.15)."""
    with session.lock:
        begin_verifying(caller, session, mechanism, handle, OperationKind.VERIFY_SIGNATURE)
        if mechanism is not None:
            session.operations[OperationKind.VERIFY_SIGNATURE].pending_result = signature


def C_VerifySignature(caller: Caller, session: Session, data: bytes) -> None:
    """Verify data in one part."""
    _verify(session, OperationKind.VERIFY_SIGNATURE, data)


def C_VerifySignatureUpdate(caller: Caller, session: Session, data: bytes) -> None:
    """Take one part of several to verify."""
    update(session, OperationKind.VERIFY_SIGNATURE, data)


def C_VerifySignatureFinal(caller: Caller, session: Session) -> None:
    """Verify the signature of all parts."""
    check(session, OperationKind.VERIFY_SIGNATURE)


def C_VerifyRecoverInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin the recovery of data from a signature."""
    with session.lock:
        if cancel_instead(session, OperationKind.VERIFY_RECOVER, mechanism) or mechanism is None:
            return
        rule = rule_for(session, CKF.VERIFY_RECOVER, mechanism)
        item = key_for(caller, session, CKA.VERIFY_RECOVER, rule, handle)
        if not isinstance(item.key, PublicKey):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(session, OperationKind.VERIFY_RECOVER, item, RecoverOperation(item.key, rule, mechanism))


def C_VerifyRecover(caller: Caller, session: Session, signature: bytes, room: int | None) -> bytes | int:
    """Verify a signature and return its data."""
    with session.lock:
        operation = session.operation(OperationKind.VERIFY_RECOVER)
        if operation.pending_result is None and isinstance(operation, RecoverOperation):
            if room is None:
                return operation.length
            require_login(session, operation)
            operation.pending_result = operation.recovered(signature)
        data = operation.pending_result or b""
        if room is None:
            return len(data)
        if room < len(data):
            raise P11Error(CKR.BUFFER_TOO_SMALL, len(data))
        session.end(OperationKind.VERIFY_RECOVER)
        return data


def begin_verifying(
    caller: Caller,
    session: Session,
    mechanism: Mechanism | None,
    handle: int,
    kind: OperationKind = OperationKind.VERIFY,
) -> None:
    """Begin a verification with a public or a secret key."""
    with session.lock:
        if cancel_instead(session, kind, mechanism) or mechanism is None:
            return
        rule = rule_for(session, CKF.VERIFY, mechanism)
        item = key_for(caller, session, CKA.VERIFY, rule, handle)
        key = item.key
        operation: Operation
        if isinstance(key, bytes):
            operation = Mac(key, rule, mechanism)
        elif isinstance(key, PublicKey):
            operation = VerifyOperation(key, rule, mechanism)
        else:
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(session, kind, item, operation)


def check(session: Session, kind: OperationKind, signature: bytes | None = None) -> None:
    """End a verification; without `signature` the one given to Init is verified. Raises P11Error(SIGNATURE_INVALID)."""
    with session.lock:
        operation = session.operation(kind)
        session.end(kind)
        require_login(session, operation)
        if isinstance(operation, VerifyOperation | Mac):
            operation.check(signature if signature is not None else operation.pending_result or b"")


def _verify(session: Session, kind: OperationKind, data: bytes, signature: bytes | None = None) -> None:
    with session.lock:
        if session.operation(kind).parts:
            raise P11Error(CKR.OPERATION_ACTIVE)
        update(session, kind, data)
        check(session, kind, signature)


def _begin_signing(
    caller: Caller,
    session: Session,
    mechanism: Mechanism | None,
    handle: int,
    kind: OperationKind,
    flag: CKF,
    usage: CKA,
) -> None:
    with session.lock:
        if cancel_instead(session, kind, mechanism) or mechanism is None:
            return
        rule = rule_for(session, flag, mechanism)
        item = key_for(caller, session, usage, rule, handle)
        key = item.key
        operation: Operation
        if isinstance(key, (CardKey, SessionKey)):
            operation = SignOperation(key, rule, mechanism)
        elif isinstance(key, bytes):
            operation = Mac(key, rule, mechanism)
        else:
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(session, kind, item, operation)
