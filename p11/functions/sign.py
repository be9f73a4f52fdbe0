# SPDX-License-Identifier: MIT
"""Signing with keys on the card, verifying with public keys (5.11, 5.13)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error
from ..mechanisms import Scheme
from ..keys import CardKey
from ..operations import Sign, Verify
from ..sessions import Kind, Session
from ..wire import Mechanism
from .parts import cancel_instead, key_for, last_part, next_part, one_part, rule_for

_SCHEMES = (Scheme.RSA_PKCS, Scheme.RSA_RAW, Scheme.RSA_PSS, Scheme.ECDSA)


def C_SignInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin; the card is not asked before there is something to sign."""
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, Kind.SIGN, mechanism) or mechanism is None:
            return
        rule = rule_for(Kind.SIGN, mechanism, *_SCHEMES)
        key = key_for(caller, live, Kind.SIGN, rule, handle).key
        if not hasattr(key, "use"):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        live.begin(Kind.SIGN, Sign(live.token.piv, key, rule, mechanism))


def C_Sign(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """In one part."""
    return one_part(caller.application.session(session), Kind.SIGN, data, room)


def C_SignUpdate(caller: Caller, session: int, data: bytes) -> None:
    """One part of many."""
    next_part(caller.application.session(session), Kind.SIGN, data)


def C_SignFinal(caller: Caller, session: int, room: int | None) -> bytes | int:
    """The signature of all parts."""
    return last_part(caller.application.session(session), Kind.SIGN, room)


def C_VerifyInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin."""
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, Kind.VERIFY, mechanism) or mechanism is None:
            return
        rule = rule_for(Kind.VERIFY, mechanism, *_SCHEMES)
        key = key_for(caller, live, Kind.VERIFY, rule, handle).key
        if key is None or (isinstance(key, bytes) or hasattr(key, "use")):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        live.begin(Kind.VERIFY, Verify(key, rule, mechanism))


def C_Verify(caller: Caller, session: int, data: bytes, signature: bytes) -> None:
    """In one part."""
    live = caller.application.session(session)
    with live.lock:
        if live.operation(Kind.VERIFY).parts:
            raise P11Error(CKR.OPERATION_ACTIVE)
        next_part(live, Kind.VERIFY, data)
        _check(live, signature)


def C_VerifyUpdate(caller: Caller, session: int, data: bytes) -> None:
    """One part of many."""
    next_part(caller.application.session(session), Kind.VERIFY, data)


def C_VerifyFinal(caller: Caller, session: int, signature: bytes) -> None:
    """Whether the signature is one of all parts."""
    live = caller.application.session(session)
    with live.lock:
        _check(live, signature)


def _check(live: Session, signature: bytes) -> None:
    operation = live.operation(Kind.VERIFY)
    live.end(Kind.VERIFY)
    if isinstance(operation, Verify):
        operation.check(signature)
