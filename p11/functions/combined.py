# SPDX-License-Identifier: MIT
"""Functions of two operations on the same data (5.17)."""

from __future__ import annotations

from ..caller import Caller
from ..operations.kinds import OperationKind
from ..sessions import Session
from .multipart import update, update_with_output


def C_DigestEncryptUpdate(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Digest the plaintext and encrypt it."""
    return _on_plaintext(session, OperationKind.DIGEST, OperationKind.ENCRYPT, data, room)


def C_SignEncryptUpdate(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Sign the plaintext and encrypt it."""
    return _on_plaintext(session, OperationKind.SIGN, OperationKind.ENCRYPT, data, room)


def C_DecryptDigestUpdate(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Decrypt, and digest the plaintext."""
    return _on_decrypted(session, OperationKind.DIGEST, data, room)


def C_DecryptVerifyUpdate(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Decrypt, and verify the plaintext."""
    return _on_decrypted(session, OperationKind.VERIFY, data, room)


def _on_plaintext(
    session: Session, first: OperationKind, second: OperationKind, data: bytes, room: int | None
) -> bytes | int:
    with session.lock:
        session.operation(first)
        result = update_with_output(session, second, data, room)
        if room is not None:
            update(session, first, data)
        return result


def _on_decrypted(session: Session, second: OperationKind, data: bytes, room: int | None) -> bytes | int:
    with session.lock:
        session.operation(second)
        result = update_with_output(session, OperationKind.DECRYPT, data, room)
        if isinstance(result, bytes):
            update(session, second, result)
        return result
