# SPDX-License-Identifier: MIT
"""Two operations on the same data (5.17)."""

from __future__ import annotations

from ..caller import Caller
from ..sessions import Kind, Session
from .multipart import next_part, take_part


def C_DigestEncryptUpdate(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """Digest the plaintext and encrypt it."""
    return _on_plaintext(caller.application.session(session), Kind.DIGEST, Kind.ENCRYPT, data, room)


def C_SignEncryptUpdate(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """Sign the plaintext and encrypt it."""
    return _on_plaintext(caller.application.session(session), Kind.SIGN, Kind.ENCRYPT, data, room)


def C_DecryptDigestUpdate(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """Decrypt, and digest what comes out."""
    return _on_decrypted(caller.application.session(session), Kind.DIGEST, data, room)


def C_DecryptVerifyUpdate(caller: Caller, session: int, data: bytes, room: int | None) -> bytes | int:
    """Decrypt, and verify what comes out."""
    return _on_decrypted(caller.application.session(session), Kind.VERIFY, data, room)


def _on_plaintext(live: Session, first: Kind, second: Kind, data: bytes, room: int | None) -> bytes | int:
    with live.lock:
        live.operation(first)
        result = next_part(live, second, data, room)
        if room is not None:
            take_part(live, first, data)
        return result


def _on_decrypted(live: Session, second: Kind, data: bytes, room: int | None) -> bytes | int:
    with live.lock:
        live.operation(second)
        result = next_part(live, Kind.DECRYPT, data, room)
        if isinstance(result, bytes):
            take_part(live, second, result)
        return result
