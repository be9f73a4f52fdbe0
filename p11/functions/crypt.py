# SPDX-License-Identifier: MIT
"""Encryption and decryption (5.8, 5.9)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKA, CKF, CKR
from ..errors import P11Error
from ..keys import PublicKey
from ..mechanisms import MechanismRule, Scheme
from ..objects import P11Object
from ..operations import Operation
from ..operations.ciphers import cipher
from ..operations.kinds import OperationKind
from ..operations.rsa_aes import RsaAesUnwrap, RsaAesWrap
from ..operations.rsa_encryption import RsaDecrypt, RsaEncrypt
from ..sessions import Session
from ..wire import Mechanism
from .multipart import begin, cancel_instead, final_part, key_for, rule_for, single_part, update_with_output


def encryption(item: P11Object, rule: MechanismRule, mechanism: Mechanism) -> Operation:
    """Return the operation that encrypts with a public or a secret key. Raises P11Error."""
    if isinstance(item.key, bytes):
        return cipher(True, rule, mechanism, item.key)
    if isinstance(item.key, PublicKey):
        if rule.scheme is Scheme.RSA_AES:
            return RsaAesWrap(item.key, mechanism)
        return RsaEncrypt(item.key, rule, mechanism)
    raise P11Error(CKR.KEY_HANDLE_INVALID)


def decryption(item: P11Object, rule: MechanismRule, mechanism: Mechanism) -> Operation:
    """Return the operation that decrypts with a private or a secret key. Raises P11Error."""
    if isinstance(item.key, bytes):
        return cipher(False, rule, mechanism, item.key)
    if item.key is None or isinstance(item.key, PublicKey):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    if rule.scheme is Scheme.RSA_AES:
        return RsaAesUnwrap(item.key, mechanism)
    return RsaDecrypt(item.key, rule, mechanism)


def C_EncryptInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin an encryption."""
    with session.lock:
        if cancel_instead(session, OperationKind.ENCRYPT, mechanism) or mechanism is None:
            return
        rule = rule_for(session, CKF.ENCRYPT, mechanism)
        item = key_for(caller, session, CKA.ENCRYPT, rule, handle)
        begin(session, OperationKind.ENCRYPT, item, encryption(item, rule, mechanism))


def C_Encrypt(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Encrypt in one part."""
    return single_part(session, OperationKind.ENCRYPT, data, room)


def C_EncryptUpdate(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Encrypt one part of several; mechanisms that need all data at once return it with the last part."""
    return update_with_output(session, OperationKind.ENCRYPT, data, room)


def C_EncryptFinal(caller: Caller, session: Session, room: int | None) -> bytes | int:
    """Return the rest of the ciphertext."""
    return final_part(session, OperationKind.ENCRYPT, room)


def C_DecryptInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin a decryption; sends no APDU."""
    with session.lock:
        if cancel_instead(session, OperationKind.DECRYPT, mechanism) or mechanism is None:
            return
        rule = rule_for(session, CKF.DECRYPT, mechanism)
        item = key_for(caller, session, CKA.DECRYPT, rule, handle)
        begin(session, OperationKind.DECRYPT, item, decryption(item, rule, mechanism))


def C_Decrypt(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Decrypt in one part."""
    return single_part(session, OperationKind.DECRYPT, data, room)


def C_DecryptUpdate(caller: Caller, session: Session, data: bytes, room: int | None) -> bytes | int:
    """Decrypt one part of several; authenticated mechanisms return the plaintext with the last part."""
    return update_with_output(session, OperationKind.DECRYPT, data, room)


def C_DecryptFinal(caller: Caller, session: Session, room: int | None) -> bytes | int:
    """Return the rest of the plaintext."""
    return final_part(session, OperationKind.DECRYPT, room)
