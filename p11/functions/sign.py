# SPDX-License-Identifier: MIT
"""Signatures and MACs, made and verified, also with the data recovered from them (5.11 to 5.14)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKA, CKF, CKR
from ..errors import P11Error
from ..keys import CardKey, PublicKey, SessionKey
from ..operations import Operation
from ..operations.digests import Mac
from ..operations.signatures import Recover, Sign, Verify
from ..sessions import Kind, Session
from ..wire import Mechanism
from .multipart import begin, cancel_instead, key_for, last_part, one_part, require_login, rule_for, take_part


def C_SignInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin; the card is not asked before there is something to sign."""
    _begin_signing(caller, session, mechanism, handle, Kind.SIGN, CKF.SIGN, CKA.SIGN)


def C_Sign(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """In one part."""
    return one_part(caller.application.session(session), Kind.SIGN, data, room)


def C_SignUpdate(caller: Caller, session: int, data: bytes) -> None:
    """One part of many."""
    take_part(caller.application.session(session), Kind.SIGN, data)


def C_SignFinal(caller: Caller, session: int, room: int | None) -> bytes | int:
    """The signature of all parts."""
    return last_part(caller.application.session(session), Kind.SIGN, room)


def C_SignRecoverInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin a signature from which the data can be recovered."""
    _begin_signing(caller, session, mechanism, handle, Kind.SIGN_RECOVER, CKF.SIGN_RECOVER, CKA.SIGN_RECOVER)


def C_SignRecover(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """In one part; there is no other way."""
    return one_part(caller.application.session(session), Kind.SIGN_RECOVER, data, room)


def C_VerifyInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin."""
    begin_verifying(caller, caller.application.session(session), mechanism, handle)


def C_Verify(caller: Caller, session: int, data: bytes, signature: bytes) -> None:
    """In one part."""
    live = caller.application.session(session)
    _verify(live, Kind.VERIFY, data, signature)


def C_VerifyUpdate(caller: Caller, session: int, data: bytes) -> None:
    """One part of many."""
    take_part(caller.application.session(session), Kind.VERIFY, data)


def C_VerifyFinal(caller: Caller, session: int, signature: bytes) -> None:
    """Whether the signature is one of all parts."""
    check(caller.application.session(session), Kind.VERIFY, signature)


def C_VerifySignatureInit(
    caller: Caller, session: int, mechanism: Mechanism | None, handle: int, signature: bytes
) -> None:
    """Begin, with the signature first (PKCS #11 3.2, 5.15)."""
    live = caller.application.session(session)
    with live.lock:
        begin_verifying(caller, live, mechanism, handle, Kind.VERIFY_SIGNATURE)
        if mechanism is not None:
            live.operations[Kind.VERIFY_SIGNATURE].held = signature


def C_VerifySignature(caller: Caller, session: int, data: bytes) -> None:
    """In one part."""
    live = caller.application.session(session)
    _verify(live, Kind.VERIFY_SIGNATURE, data)


def C_VerifySignatureUpdate(caller: Caller, session: int, data: bytes) -> None:
    """One part of many."""
    take_part(caller.application.session(session), Kind.VERIFY_SIGNATURE, data)


def C_VerifySignatureFinal(caller: Caller, session: int) -> None:
    """Whether the signature is one of all parts."""
    check(caller.application.session(session), Kind.VERIFY_SIGNATURE)


def C_VerifyRecoverInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin to take the data out of a signature."""
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, Kind.VERIFY_RECOVER, mechanism) or mechanism is None:
            return
        rule = rule_for(live, CKF.VERIFY_RECOVER, mechanism)
        item = key_for(caller, live, CKA.VERIFY_RECOVER, rule, handle)
        if not isinstance(item.key, PublicKey):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(live, Kind.VERIFY_RECOVER, item, Recover(item.key, rule, mechanism))


def C_VerifyRecover(caller: Caller, session: int, signature: bytes, room: int | None) -> bytes | int:
    """The data."""
    live = caller.application.session(session)
    with live.lock:
        operation = live.operation(Kind.VERIFY_RECOVER)
        if operation.held is None and isinstance(operation, Recover):
            if room is None:
                return operation.length
            require_login(live, operation)
            operation.held = operation.recovered(signature)
        data = operation.held or b""
        if room is None:
            return len(data)
        if room < len(data):
            raise P11Error(CKR.BUFFER_TOO_SMALL, len(data))
        live.end(Kind.VERIFY_RECOVER)
        return data


def begin_verifying(
    caller: Caller, live: Session, mechanism: Mechanism | None, handle: int, kind: Kind = Kind.VERIFY
) -> None:
    """With a public or a secret key."""
    with live.lock:
        if cancel_instead(live, kind, mechanism) or mechanism is None:
            return
        rule = rule_for(live, CKF.VERIFY, mechanism)
        item = key_for(caller, live, CKA.VERIFY, rule, handle)
        key = item.key
        operation: Operation
        if isinstance(key, bytes):
            operation = Mac(key, rule, mechanism)
        elif isinstance(key, PublicKey):
            operation = Verify(key, rule, mechanism)
        else:
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(live, kind, item, operation)


def check(live: Session, kind: Kind, signature: bytes | None = None) -> None:
    """End a verification, good or bad; the signature is what the operation holds where it is not given here."""
    with live.lock:
        operation = live.operation(kind)
        live.end(kind)
        require_login(live, operation)
        if isinstance(operation, Verify | Mac):
            operation.check(signature if signature is not None else operation.held or b"")


def _verify(live: Session, kind: Kind, data: bytes, signature: bytes | None = None) -> None:
    with live.lock:
        if live.operation(kind).parts:
            raise P11Error(CKR.OPERATION_ACTIVE)
        take_part(live, kind, data)
        check(live, kind, signature)


def _begin_signing(
    caller: Caller, session: int, mechanism: Mechanism | None, handle: int, kind: Kind, flag: CKF, usage: CKA
) -> None:
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, kind, mechanism) or mechanism is None:
            return
        rule = rule_for(live, flag, mechanism)
        item = key_for(caller, live, usage, rule, handle)
        key = item.key
        operation: Operation
        if isinstance(key, (CardKey, SessionKey)):
            operation = Sign(key, rule, mechanism)
        elif isinstance(key, bytes):
            operation = Mac(key, rule, mechanism)
        else:
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(live, kind, item, operation)
