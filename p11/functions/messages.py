# SPDX-License-Identifier: MIT
"""Message-based encryption and decryption (PKCS #11 3.0, 5.9, 5.11): AES-GCM, several messages with one key."""

from __future__ import annotations

import os
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ..caller import Caller
from ..constants import CKA, CKF, CKG, CKR
from ..errors import P11Error
from ..operations import Operation, parameters
from ..operations.ciphers import gcm_decrypted
from ..operations.kinds import OperationKind
from ..sessions import Session
from ..wire import Mechanism, MessageParameter
from .multipart import begin, cancel_instead, key_for, require_login, rule_for

_MOST_DATA = 1 << 30
_Written = tuple[bytes | None, bytes | None]


class Messages(Operation):
    """An operation on several messages; `context` and `data` are those of a message in parts."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.counter = 0
        self.context: Any = None
        self.aead: parameters.GcmMessageParameters | None = None
        self.additional = b""
        self.data = bytearray()

    def end_message(self) -> None:
        """End the current message; others can follow."""
        self.context = None
        self.data.clear()

    def next_iv(self, aead: parameters.GcmMessageParameters) -> bytes:
        """Return the IV of the next message: its fixed bits, and the rest as the generator makes it."""
        iv, generator = aead.iv, aead.generator
        if generator == CKG.NO_GENERATE:
            return iv
        free = 8 * len(iv) - aead.fixed_bits
        if free < 32 and generator in (CKG.GENERATE, CKG.GENERATE_RANDOM):
            raise parameters.invalid()  # too few for values that are never to come back
        mask = (1 << free) - 1
        given = int.from_bytes(iv, "big")
        self.counter += 1
        if self.counter > mask:
            raise P11Error(CKR.TOKEN_RESOURCE_EXCEEDED)
        if generator == CKG.GENERATE_COUNTER:
            made = self.counter
        elif generator == CKG.GENERATE_COUNTER_XOR:
            made = (given & mask) ^ self.counter
        elif generator in (CKG.GENERATE, CKG.GENERATE_RANDOM):
            made = int.from_bytes(os.urandom(len(iv)), "big") & mask
        else:
            raise parameters.invalid()
        return (given & ~mask | made).to_bytes(len(iv), "big")


def C_MessageEncryptInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin the encryption of messages."""
    _begin(caller, session, mechanism, handle, OperationKind.MESSAGE_ENCRYPT, CKF.MESSAGE_ENCRYPT, CKA.ENCRYPT)


def C_EncryptMessage(
    caller: Caller, session: Session, parameter: MessageParameter, additional: bytes, data: bytes, room: int | None
) -> tuple[bytes | int, _Written] | int:
    """Encrypt one whole message; return the tag in the parameter."""
    with session.lock:
        messages = _idle(session, OperationKind.MESSAGE_ENCRYPT)
        aead = parameters.gcm_message(parameter)
        if room is None:
            return len(data)
        if room < len(data):
            raise P11Error(CKR.BUFFER_TOO_SMALL, len(data))
        iv = messages.next_iv(aead)
        context = _encryptor(messages.key, iv, additional)
        result = context.update(data) + context.finalize()
        return result, (iv, context.tag[: len(aead.tag)])


def C_EncryptMessageBegin(
    caller: Caller, session: Session, parameter: MessageParameter, additional: bytes
) -> tuple[_Written]:
    """Begin the encryption of a message in parts; return the IV in the parameter."""
    with session.lock:
        messages = _idle(session, OperationKind.MESSAGE_ENCRYPT)
        aead = parameters.gcm_message(parameter)
        iv = messages.next_iv(aead)
        messages.context, messages.aead = _encryptor(messages.key, iv, additional), aead
        return ((iv, None),)


def C_EncryptMessageNext(
    caller: Caller, session: Session, parameter: MessageParameter, data: bytes, room: int | None, flags: int
) -> tuple[bytes, _Written] | bytes | int:
    """Encrypt one part of a message; return the tag in the parameter with the last part."""
    with session.lock:
        messages = _busy(session, OperationKind.MESSAGE_ENCRYPT)
        if room is None:
            return len(data)
        if room < len(data):
            raise P11Error(CKR.BUFFER_TOO_SMALL, len(data))
        result = bytes(messages.context.update(data))
        if not flags & CKF.END_OF_MESSAGE or messages.aead is None:
            return result
        messages.context.finalize()
        tag = messages.context.tag[: len(messages.aead.tag)]
        messages.context = None
        return result, (None, tag)


def C_MessageEncryptFinal(caller: Caller, session: Session) -> None:
    """End the encryption of messages."""
    _end(caller, session, OperationKind.MESSAGE_ENCRYPT)


def C_MessageDecryptInit(caller: Caller, session: Session, mechanism: Mechanism | None, handle: int) -> None:
    """Begin the decryption of messages."""
    _begin(caller, session, mechanism, handle, OperationKind.MESSAGE_DECRYPT, CKF.MESSAGE_DECRYPT, CKA.DECRYPT)


def C_DecryptMessage(
    caller: Caller, session: Session, parameter: MessageParameter, additional: bytes, data: bytes, room: int | None
) -> bytes | int:
    """Decrypt one whole message. After P11Error(AEAD_DECRYPT_FAILED) another message can be decrypted."""
    with session.lock:
        messages = _idle(session, OperationKind.MESSAGE_DECRYPT)
        aead = parameters.gcm_message(parameter)
        if room is None:
            return len(data)
        if room < len(data):
            raise P11Error(CKR.BUFFER_TOO_SMALL, len(data))
        return _opened(messages.key, aead, additional, data)


def C_DecryptMessageBegin(caller: Caller, session: Session, parameter: MessageParameter, additional: bytes) -> None:
    """Begin the decryption of a message in parts."""
    with session.lock:
        messages = _idle(session, OperationKind.MESSAGE_DECRYPT)
        messages.aead = parameters.gcm_message(parameter)
        messages.context, messages.additional = True, additional
        messages.data.clear()


def C_DecryptMessageNext(
    caller: Caller, session: Session, parameter: MessageParameter, data: bytes, room: int | None, flags: int
) -> bytes | int:
    """Decrypt one part of a message; return the plaintext with the last part, after the tag has been verified."""
    with session.lock:
        messages = _busy(session, OperationKind.MESSAGE_DECRYPT)
        last = bool(flags & CKF.END_OF_MESSAGE)
        length = len(messages.data) + len(data) if last else 0
        if room is None:
            return length
        if room < length:
            raise P11Error(CKR.BUFFER_TOO_SMALL, length)
        if len(messages.data) + len(data) > _MOST_DATA:
            raise P11Error(CKR.DATA_LEN_RANGE)
        messages.data += data
        if not last:
            return b""
        messages.context = None
        aead = parameters.gcm_message(parameter)  # the tag may be known only now
        return _opened(messages.key, aead, messages.additional, bytes(messages.data))


def C_MessageDecryptFinal(caller: Caller, session: Session) -> None:
    """End the decryption of messages."""
    _end(caller, session, OperationKind.MESSAGE_DECRYPT)


def _begin(
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
        if mechanism.parameter and len(mechanism.pointers) != 2:  # it may be left out: each message has its own
            raise parameters.invalid()
        item = key_for(caller, session, usage, rule, handle)
        if not isinstance(item.key, bytes):
            raise P11Error(CKR.KEY_HANDLE_INVALID)
        begin(session, kind, item, Messages(item.key))


def _messages(session: Session, kind: OperationKind) -> Messages:
    operation = session.operation(kind)
    assert isinstance(operation, Messages)
    try:
        require_login(session, operation)
    except P11Error:
        session.end(kind)
        raise
    return operation


def _idle(session: Session, kind: OperationKind) -> Messages:
    """Return the operation between two messages. Raises P11Error(OPERATION_ACTIVE) within one."""
    messages = _messages(session, kind)
    if messages.context is not None:
        raise P11Error(CKR.OPERATION_ACTIVE)
    return messages


def _busy(session: Session, kind: OperationKind) -> Messages:
    """Return the operation within a message. Raises P11Error(OPERATION_NOT_INITIALIZED) between two."""
    messages = _messages(session, kind)
    if messages.context is None:
        raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
    return messages


def _end(caller: Caller, session: Session, kind: OperationKind) -> None:
    with session.lock:
        session.operation(kind)
        session.end(kind)


def _encryptor(key: bytes, iv: bytes, additional: bytes) -> Any:
    context = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
    context.authenticate_additional_data(additional)
    return context


def _opened(key: bytes, aead: parameters.GcmMessageParameters, additional: bytes, data: bytes) -> bytes:
    try:
        return gcm_decrypted(key, aead.iv, additional, data, aead.tag)
    except P11Error:
        raise P11Error(CKR.AEAD_DECRYPT_FAILED) from None
