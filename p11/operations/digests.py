# SPDX-License-Identifier: MIT
"""Digests and MACs."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ..constants import CKR
from ..errors import P11Error
from ..mechanisms import MechanismRule, Scheme
from ..wire import Mechanism
from . import Operation, parameters
from .ciphers import block_cipher


class Digest(Operation):
    """An operation of C_Digest*."""

    def __init__(self, digest: str) -> None:
        self._hash = hashlib.new(digest)

    def output_length(self, more: int, final: bool) -> int:
        """Return the length of the digest at the end."""
        return self._hash.digest_size if final else 0

    def update(self, data: bytes) -> bytes:
        """Add data to the digest."""
        self._hash.update(data)
        return b""

    def finish(self) -> bytes:
        """Return the digest."""
        return self._hash.digest()

    def copy(self) -> Digest:
        """Return a copy at the same point."""
        twin = object.__new__(type(self))
        twin.__dict__ = {**self.__dict__, "_hash": self._hash.copy()}
        return twin


class _Gmac:
    """GMAC: GCM without plaintext (SP 800-38D, 5.2)."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._gcm = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()

    def update(self, data: bytes) -> None:
        self._gcm.authenticate_additional_data(data)

    def finalize(self) -> bytes:
        self._gcm.finalize()
        return self._gcm.tag

    def copy(self) -> _Gmac:
        raise P11Error(CKR.STATE_UNSAVEABLE)


class _CbcMac:
    """CBC-MAC: the last block of CBC, the data filled up with zeros (FIPS 113)."""

    def __init__(self, cipher: Any) -> None:
        self._size = cipher.block_size // 8
        self._cbc: Any = Cipher(cipher, modes.CBC(bytes(self._size))).encryptor()
        self._taken = 0
        self._last = bytes(self._size)

    def update(self, data: bytes) -> None:
        self._taken += len(data)
        self._last = (self._last + self._cbc.update(data))[-self._size :]

    def finalize(self) -> bytes:
        self.update(bytes(-self._taken % self._size))
        return self._last

    def copy(self) -> _CbcMac:
        raise P11Error(CKR.STATE_UNSAVEABLE)


class Mac(Operation):
    """An operation of C_Sign* and C_Verify* with a secret key: HMAC, CMAC, CBC-MAC or GMAC, perhaps cut.

    RFC 2104, SP 800-38B, FIPS 113, SP 800-38D.
    """

    def __init__(self, key: bytes, rule: MechanismRule, mechanism: Mechanism) -> None:
        self.key = key
        self._mac: Any
        if rule.scheme is Scheme.HMAC:
            self._mac = hmac.new(key, digestmod=str(rule.digest))
            longest = self._mac.digest_size
        elif rule.scheme is Scheme.GMAC:
            aead = parameters.gmac(mechanism)
            self._mac, self._length = _Gmac(key, aead.nonce), aead.tag_length
            return
        else:
            cipher = block_cipher(rule, key)
            of_cbc = rule.scheme is Scheme.CBC_MAC
            self._mac = _CbcMac(cipher) if of_cbc else cmac.CMAC(cipher)
            longest = rule.block
        if rule.general:
            self._length = parameters.length(mechanism, longest)
        else:
            parameters.none(mechanism)
            self._length = longest // 2 if rule.scheme is Scheme.CBC_MAC else longest

    def output_length(self, more: int, final: bool) -> int:
        """Return the length of the MAC at the end."""
        return self._length if final else 0

    def update(self, data: bytes) -> bytes:
        """Add data to the MAC."""
        self._mac.update(data)
        return b""

    def finish(self) -> bytes:
        """Return the MAC."""
        value: bytes = self._mac.digest() if isinstance(self._mac, hmac.HMAC) else self._mac.finalize()
        return value[: self._length]

    def check(self, signature: bytes) -> None:
        """Verify a MAC. Raises P11Error(SIGNATURE_INVALID or SIGNATURE_LEN_RANGE)."""
        if len(signature) != self._length:
            raise P11Error(CKR.SIGNATURE_LEN_RANGE)
        if not hmac.compare_digest(self.finish(), signature):
            raise P11Error(CKR.SIGNATURE_INVALID)

    def copy(self) -> Mac:
        """Return a copy at the same point. Raises P11Error(STATE_UNSAVEABLE)."""
        twin = object.__new__(type(self))
        twin.__dict__ = {**self.__dict__, "_mac": self._mac.copy()}
        return twin
