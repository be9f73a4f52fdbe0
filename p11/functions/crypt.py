# SPDX-License-Identifier: MIT
"""Encryption with public keys, decryption with keys on the card (5.8, 5.9)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error
from ..mechanisms import Scheme
from ..keys import CardKey
from ..operations import Decrypt, Encrypt
from ..sessions import Kind
from ..wire import Mechanism
from .parts import cancel_instead, key_for, last_part, next_part, one_part, rule_for

_SCHEMES = (Scheme.RSA_PKCS, Scheme.RSA_RAW, Scheme.RSA_OAEP)


def C_EncryptInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin."""
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, Kind.ENCRYPT, mechanism) or mechanism is None:
            return
        rule = rule_for(Kind.ENCRYPT, mechanism, *_SCHEMES)
        key = key_for(caller, live, Kind.ENCRYPT, rule, handle).key
        if key is None or (isinstance(key, bytes) or hasattr(key, "use")):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        live.begin(Kind.ENCRYPT, Encrypt(key, rule, mechanism))


def C_Encrypt(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """In one part."""
    return one_part(caller.application.session(session), Kind.ENCRYPT, data, room)


def C_EncryptUpdate(caller: Caller, session: int, data: bytes, room: int | None) -> bytes:
    """One part of many; RSA gives nothing before the end."""
    next_part(caller.application.session(session), Kind.ENCRYPT, data)
    return b""


def C_EncryptFinal(caller: Caller, session: int, room: int | None) -> bytes | int:
    """The ciphertext of all parts."""
    return last_part(caller.application.session(session), Kind.ENCRYPT, room)


def C_DecryptInit(caller: Caller, session: int, mechanism: Mechanism | None, handle: int) -> None:
    """Begin; the card is not asked before there is something to decrypt."""
    live = caller.application.session(session)
    with live.lock:
        if cancel_instead(live, Kind.DECRYPT, mechanism) or mechanism is None:
            return
        rule = rule_for(Kind.DECRYPT, mechanism, *_SCHEMES)
        key = key_for(caller, live, Kind.DECRYPT, rule, handle).key
        if not hasattr(key, "use"):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        live.begin(Kind.DECRYPT, Decrypt(live.token.piv, key, rule, mechanism))


def C_Decrypt(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """In one part."""
    return one_part(caller.application.session(session), Kind.DECRYPT, data, room)


def C_DecryptUpdate(caller: Caller, session: int, data: bytes, room: int | None) -> bytes:
    """One part of many; RSA gives nothing before the end."""
    next_part(caller.application.session(session), Kind.DECRYPT, data)
    return b""


def C_DecryptFinal(caller: Caller, session: int, room: int | None) -> bytes | int:
    """The plaintext of all parts."""
    return last_part(caller.application.session(session), Kind.DECRYPT, room)
