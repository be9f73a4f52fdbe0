# SPDX-License-Identifier: MIT
"""Protection of an image's rows: a digest against damage, and AES-GCM under a passphrase.

A random data key encrypts the values of the rows, each bound to its table and number, so that rows cannot be
exchanged; the passphrase (scrypt, RFC 7914) only wraps that key. Who has the file but not the passphrase sees which
keys and objects there are and how long they are. Such a reader cannot change them, but can restore an older copy of the
whole file, or of a retry counter: no state outside of the image would tell.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import NamedTuple, Protocol

_COST, _BLOCK, _LANES = 1 << 15, 8, 1  # 32 MB and about 0.1 s for each guess
_GREATEST_COST = 1 << 20
_KEY_LENGTH, _SALT_LENGTH, _NONCE_LENGTH, _GCM_TAG_LENGTH = 32, 16, 12, 16
_WRAPPED_LENGTH = _NONCE_LENGTH + _KEY_LENGTH + _GCM_TAG_LENGTH


class WrongPassphrase(Exception):
    """Raised when the passphrase does not fit."""


class NoPassphrase(Exception):
    """Raised when the image is encrypted and no passphrase was given."""


class Protection(Protocol):
    """Interface of the protection of stored values. `row` names the table and number of a value."""

    def encrypt(self, row: str, value: bytes) -> bytes:
        """Return the bytes for the file."""
        ...

    def decrypt(self, row: str, stored: bytes) -> bytes:
        """Return the value. Raises ValueError when it was changed, or belongs to another row."""
        ...

    def tag(self, data: bytes) -> bytes:
        """Return a digest of 32 bytes."""
        ...


class Unencrypted:
    """Protection without a passphrase: values in clear, and plain digests, which detect damage but not forgery."""

    def encrypt(self, row: str, value: bytes) -> bytes:
        """Return the value in clear."""
        return value

    def decrypt(self, row: str, stored: bytes) -> bytes:
        """Return the stored bytes."""
        return stored

    def tag(self, data: bytes) -> bytes:
        """Return the SHA-256 digest."""
        return hashlib.sha256(data).digest()


UNENCRYPTED = Unencrypted()


class Encryption:
    """Protection under a data key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        # Most images need none of these, and a command line wants to be quick.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

        encryption, authentication = (
            HKDFExpand(SHA256(), _KEY_LENGTH, b"cardtear image " + use).derive(key) for use in (b"values", b"tags")
        )
        self._cipher = AESGCM(encryption)
        self._tag_key = authentication

    def encrypt(self, row: str, value: bytes) -> bytes:
        """Encrypt a value, bound to its row."""
        nonce = os.urandom(_NONCE_LENGTH)
        return nonce + self._cipher.encrypt(nonce, value, row.encode())

    def decrypt(self, row: str, stored: bytes) -> bytes:
        """Decrypt a value. Raises ValueError when it was changed, or belongs to another row."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(stored[:_NONCE_LENGTH], stored[_NONCE_LENGTH:], row.encode())
        except InvalidTag:
            raise ValueError(f"the {row} was changed") from None

    def tag(self, data: bytes) -> bytes:
        """Return the HMAC."""
        return hmac.digest(self._tag_key, data, "sha256")


class Wrapped(NamedTuple):
    """A data key wrapped under a passphrase, as stored in the file: scrypt's parameters, and the wrapped key."""

    salt: bytes
    cost: int
    block: int
    lanes: int
    key: bytes
    check: bytes
    """A digest of the rest: damage is told from a wrong passphrase by it."""


def new_encryption(passphrase: bytes) -> tuple[Encryption, Wrapped]:
    """Generate a data key; return its protection and the wrapped key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, salt, nonce = os.urandom(_KEY_LENGTH), os.urandom(_SALT_LENGTH), os.urandom(_NONCE_LENGTH)
    head = (salt, _COST, _BLOCK, _LANES)
    wrapped = nonce + AESGCM(_derive(passphrase, *head)).encrypt(nonce, key, None)
    return Encryption(key), Wrapped(*head, wrapped, _check(*head, wrapped))


def unwrap(wrapped: Wrapped, passphrase: bytes | None) -> Encryption:
    """Unwrap an image's data key. Raises NoPassphrase, WrongPassphrase; ValueError for a damaged one."""
    *head, key, check = wrapped
    if check != _check(*head, key):
        raise ValueError("what belongs to the passphrase is damaged")
    if not (1 < wrapped.cost <= _GREATEST_COST and (wrapped.block, wrapped.lanes) == (_BLOCK, _LANES)):
        raise ValueError("scrypt's parameters are not to be believed")
    if len(key) != _WRAPPED_LENGTH:
        raise ValueError("the wrapped key has another length")
    if passphrase is None:
        raise NoPassphrase
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        cipher = AESGCM(_derive(passphrase, *wrapped[:4]))
        return Encryption(cipher.decrypt(key[:_NONCE_LENGTH], key[_NONCE_LENGTH:], None))
    except InvalidTag:
        raise WrongPassphrase from None


def _derive(passphrase: bytes, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    """Derive the wrapping key from a passphrase (scrypt, RFC 7914)."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=_KEY_LENGTH, n=cost, r=block, p=lanes).derive(passphrase)


def _check(*parts: object) -> bytes:
    """Return the digest by which damage is told from a wrong passphrase."""
    return hashlib.sha256(repr(parts).encode()).digest()
