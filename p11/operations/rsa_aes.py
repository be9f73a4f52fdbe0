# SPDX-License-Identifier: MIT
"""CKM_RSA_AES_KEY_WRAP (PKCS #11 3.1, 6.1.20): a random AES key by OAEP, and the wrapped key by AES key wrap."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric import rsa

from .. import rsa_padding
from ..constants import CKR
from ..errors import P11Error
from ..keys import PrivateKey, PublicKey
from ..wire import Mechanism
from . import Collector, parameters
from .signatures import public_operation

_BLOCK = 8


class RsaAesWrap(Collector):
    """Wrapping with a public key."""

    def __init__(self, key: PublicKey, mechanism: Mechanism) -> None:
        if not isinstance(key, rsa.RSAPublicKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        super().__init__((key.key_size + 7) // 8)
        self._public = key
        self._bytes, self._oaep = parameters.rsa_aes(mechanism)
        rsa_padding.require_oaep(self.length, self._oaep.digest)

    def output_length(self, more: int, final: bool) -> int:
        """Return the length of the modulus and of the AES key wrap."""
        return self.length + -(-(self._size + more) // _BLOCK) * _BLOCK + _BLOCK if final else 0

    def finish(self) -> bytes:
        """Return both, one after the other."""
        passing = os.urandom(self._bytes)
        block = rsa_padding.oaep_encode(passing, self.length, *self._oaep)
        return public_operation(self._public, block) + keywrap.aes_key_wrap_with_padding(passing, self.collected())


class RsaAesUnwrap(Collector):
    """Unwrapping with a private key, on the card or in the session."""

    exact = False
    too_long = CKR.ENCRYPTED_DATA_LEN_RANGE

    def __init__(self, key: PrivateKey, mechanism: Mechanism) -> None:
        public = key.public
        if not isinstance(public, rsa.RSAPublicKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        super().__init__((public.key_size + 7) // 8)
        self._key = key
        self._bytes, self._oaep = parameters.rsa_aes(mechanism)
        rsa_padding.require_oaep(self.length, self._oaep.digest)
        self.needs_login = key.needs_login
        self.asks_each_time = key.always_authenticate

    def output_length(self, more: int, final: bool) -> int:
        """Return the most that remains without the modulus' length and the key wrap's first block."""
        return max(self._size + more - self.length - _BLOCK, 0) if final else 0

    def finish(self) -> bytes:
        """Return the unwrapped key. Raises P11Error(ENCRYPTED_DATA_INVALID, ENCRYPTED_DATA_LEN_RANGE), CardRemoved."""
        data = self.collected()
        by_rsa, by_aes = data[: self.length], data[self.length :]
        if len(by_aes) % _BLOCK or len(by_aes) < 2 * _BLOCK:
            raise P11Error(CKR.ENCRYPTED_DATA_LEN_RANGE)
        try:
            passing = rsa_padding.oaep_decode(self._key.use(by_rsa), *self._oaep)
        except P11Error as error:
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) if error.value is CKR.DATA_INVALID else error from None
        if len(passing) != self._bytes:
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID)
        try:
            return keywrap.aes_key_unwrap_with_padding(passing, by_aes)
        except keywrap.InvalidUnwrap:
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) from None
