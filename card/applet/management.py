# SPDX-License-Identifier: MIT
"""Authentication with the management key (SP 800-73-5 part 2, 3.2.4 and appendix A.1, A.2).

Single: the card sends a challenge, the host returns it enciphered; or the other way round. Mutual: the card sends an
enciphered witness, the host returns it in clear with a challenge of its own, which the card returns enciphered.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import warnings
from collections.abc import Iterator

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.utils import CryptographyDeprecationWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

from .. import tlv
from ..image.state import StoredKey
from ..status import SW, CardError
from ..tables import BLOCK_LENGTHS, MANAGEMENT_KEY, MANAGEMENT_KEY_LENGTHS, Access, Algorithm
from .context import Context
from .extensions import SetManagementKey
from .security import SecurityStatus

_WITNESS, _CHALLENGE, _RESPONSE = 0x80, 0x81, 0x82
_TEMPLATE = 0x7C

DEFAULT_MANAGEMENT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")
"""That of a new card, which everybody knows: 3DES, or AES-192."""

SALT_LENGTH = 16
_ITERATIONS = 10_000
_ENTRY, _SALT, _WRAPPED = 0xA0, 0x80, 0x81


def authenticate(key: StoredKey, status: SecurityStatus, fields: dict[int, bytes]) -> bytes:
    """One step of a protocol. Returns the dynamic authentication template, nothing when the host has been accepted.

    Raises CardError: 6982 for an answer that is wrong or was not asked for, 6A80 for a malformed template.
    A challenge or witness is good for the very next step only, so the card cannot be made to answer its own. Whoever
    begins, and does not come to the end, is not accepted any longer (2.4.2).
    """
    length = BLOCK_LENGTHS[Algorithm(key.algorithm)]
    challenge, witness = status.challenge, status.witness
    status.challenge = status.witness = None
    match fields:
        case {0x80: b""}:
            status.management_authenticated = False
            status.witness = os.urandom(length)
            return _template(_WITNESS, _encipher(key, status.witness))
        case {0x80: answer, 0x81: question}:
            _check_length(question, length)
            _accept(status, witness, answer)
            return _template(_RESPONSE, _encipher(key, question))
        case {0x81: b""}:
            status.management_authenticated = False
            status.challenge = os.urandom(length)
            return _template(_CHALLENGE, status.challenge)
        case {0x81: question, 0x82: b""}:
            _check_length(question, length)
            return _template(_RESPONSE, _encipher(key, question))
        case {0x82: answer}:
            _accept(status, challenge and _encipher(key, challenge), answer)
            return b""
    raise CardError(SW.INCORRECT_DATA)


def set_management_key(context: Context, command: SetManagementKey) -> bytes:
    """Replace the key; whoever is authenticated stays so. Raises CardError(6A80) for an algorithm too new."""
    if command.algorithm not in context.make.algorithms:
        raise CardError(SW.INCORRECT_DATA)
    context.status.require(Access.MANAGEMENT)
    context.commit(keys={MANAGEMENT_KEY: StoredKey(command.algorithm, command.value, touch=command.touch)})
    return b""


def derived_key(secret: str, salt: bytes) -> bytes:
    """The AES-192 or 3DES management key of a card that derives it from the PUK (policy "so") or PIN ("derived").

    The derivation is that of Yubico's tools.
    """
    return hashlib.pbkdf2_hmac("sha1", secret.encode(), salt, _ITERATIONS, MANAGEMENT_KEY_LENGTHS[Algorithm.AES192])


def kept_for(secret: str, key: bytes) -> bytes:
    """A management key for whoever has a PUK, as an entry of SO_KEY_OBJECT: a salt, and the key wrapped (RFC 3394)."""
    salt = os.urandom(SALT_LENGTH)
    wrapped = keywrap.aes_key_wrap(derived_key(secret, salt), key)
    return tlv.encode(_ENTRY, tlv.encode(_SALT, salt), tlv.encode(_WRAPPED, wrapped))


def taken_with(secret: str, entries: bytes) -> Iterator[bytes]:
    """The management keys in the entries of an SO_KEY_OBJECT that this PUK opens; what is no entry is passed over."""
    for tag, entry in _decoded(entries):
        fields = dict(_decoded(entry)) if tag == _ENTRY else {}
        if _SALT in fields and _WRAPPED in fields:
            with contextlib.suppress(keywrap.InvalidUnwrap, ValueError):
                yield keywrap.aes_key_unwrap(derived_key(secret, fields[_SALT]), fields[_WRAPPED])


def _decoded(value: bytes) -> list[tuple[int, bytes]]:
    try:
        return list(tlv.decode(value))
    except tlv.TlvError:
        return []


def _accept(status: SecurityStatus, expected: bytes | None, answer: bytes) -> None:
    status.management_authenticated = expected is not None and hmac.compare_digest(expected, answer)
    if not status.management_authenticated:
        raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)


def _check_length(block: bytes, length: int) -> None:
    if len(block) != length:
        raise CardError(SW.INCORRECT_DATA)


def _template(tag: int, value: bytes) -> bytes:
    return tlv.encode(_TEMPLATE, tlv.encode(tag, value))


def _encipher(key: StoredKey, block: bytes) -> bytes:
    cipher = TripleDES(key.value) if key.algorithm == Algorithm.TDES else algorithms.AES(key.value)
    encryptor = Cipher(cipher, modes.ECB()).encryptor()  # one block: no chaining mode is involved
    return encryptor.update(block) + encryptor.finalize()
