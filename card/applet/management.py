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
from .context import CommandContext
from .extensions import SetManagementKey
from .security import SecurityStatus

_WITNESS, _CHALLENGE, _RESPONSE = 0x80, 0x81, 0x82
_TEMPLATE = 0x7C

DEFAULT_MANAGEMENT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")
"""The well-known key of a new card: 3DES, or AES-192."""

SALT_LENGTH = 16
_ITERATIONS = 10_000
_ENTRY, _SALT, _WRAPPED = 0xA0, 0x80, 0x81


def authenticate(key: StoredKey, status: SecurityStatus, fields: dict[int, bytes]) -> bytes:
    """Carry out one step of a protocol. Return the dynamic authentication template, or nothing at the end.

    Raises CardError: 6982 for a response that is wrong or has no challenge, 6A80 for a malformed template.
    A challenge or witness is valid for the next step only, so that the card cannot be used to respond to its own. A
    host that begins and does not finish is not authenticated any longer (2.4.2).
    """
    length = BLOCK_LENGTHS[Algorithm(key.algorithm)]
    challenge, witness = status.challenge, status.witness
    status.challenge = status.witness = None
    match fields:
        case {0x80: b""}:
            status.management_authenticated = False
            status.witness = os.urandom(length)
            return _template(_WITNESS, _encipher(key, status.witness))
        case {0x80: response, 0x81: host_challenge}:
            _check_length(host_challenge, length)
            _accept(status, witness, response)
            return _template(_RESPONSE, _encipher(key, host_challenge))
        case {0x81: b""}:
            status.management_authenticated = False
            status.challenge = os.urandom(length)
            return _template(_CHALLENGE, status.challenge)
        case {0x81: host_challenge, 0x82: b""}:
            _check_length(host_challenge, length)
            return _template(_RESPONSE, _encipher(key, host_challenge))
        case {0x82: response}:
            _accept(status, challenge and _encipher(key, challenge), response)
            return b""
    raise CardError(SW.INCORRECT_DATA)


def set_management_key(context: CommandContext, command: SetManagementKey) -> bytes:
    """Replace the key; the host stays authenticated. Raises CardError(6A80) for an algorithm the card does not have."""
    if command.algorithm not in context.variant.algorithms:
        raise CardError(SW.INCORRECT_DATA)
    context.status.require(Access.MANAGEMENT)
    context.commit(keys={MANAGEMENT_KEY: StoredKey(command.algorithm, command.value, touch=command.touch)})
    return b""


def derived_key(secret: str, salt: bytes) -> bytes:
    """Derive the AES-192 or 3DES management key from the PUK (policy "so") or PIN ("derived").

    The derivation is that of Yubico's tools.
    """
    return hashlib.pbkdf2_hmac("sha1", secret.encode(), salt, _ITERATIONS, MANAGEMENT_KEY_LENGTHS[Algorithm.AES192])


def kept_for(secret: str, key: bytes) -> bytes:
    """Encode a management key for a holder of the PUK, as an entry of SO_KEY_OBJECT: salt, wrapped key (RFC 3394)."""
    salt = os.urandom(SALT_LENGTH)
    wrapped = keywrap.aes_key_wrap(derived_key(secret, salt), key)
    return tlv.encode(_ENTRY, tlv.encode(_SALT, salt), tlv.encode(_WRAPPED, wrapped))


def taken_with(secret: str, entries: bytes) -> Iterator[bytes]:
    """Yield the management keys in the entries of an SO_KEY_OBJECT that this PUK unwraps; skips malformed entries."""
    for tag, entry in _decoded(entries):
        fields = dict(_decoded(entry)) if tag == _ENTRY else {}
        if _SALT in fields and _WRAPPED in fields:
            with contextlib.suppress(keywrap.InvalidUnwrap, ValueError):
                yield keywrap.aes_key_unwrap(derived_key(secret, fields[_SALT]), fields[_WRAPPED])


def _decoded(value: bytes) -> list[tuple[int, bytes]]:
    """Decode data objects; none if they are malformed."""
    try:
        return list(tlv.decode(value))
    except tlv.TlvError:
        return []


def _accept(status: SecurityStatus, expected: bytes | None, response: bytes) -> None:
    """Authenticate the host if its response is the expected one. Raises CardError(6982)."""
    status.management_authenticated = expected is not None and hmac.compare_digest(expected, response)
    if not status.management_authenticated:
        raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)


def _check_length(block: bytes, length: int) -> None:
    """Require a block of this length in bytes. Raises CardError(6A80)."""
    if len(block) != length:
        raise CardError(SW.INCORRECT_DATA)


def _template(tag: int, value: bytes) -> bytes:
    """Encode the dynamic authentication template with one field."""
    return tlv.encode(_TEMPLATE, tlv.encode(tag, value))


def _encipher(key: StoredKey, block: bytes) -> bytes:
    """Encrypt one block with the management key."""
    cipher = TripleDES(key.value) if key.algorithm == Algorithm.TDES else algorithms.AES(key.value)
    encryptor = Cipher(cipher, modes.ECB()).encryptor()  # one block: no chaining mode is involved
    return encryptor.update(block) + encryptor.finalize()
