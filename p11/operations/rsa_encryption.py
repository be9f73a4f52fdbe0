# SPDX-License-Identifier: MIT
"""RSA encryption by public keys, and decryption: the private key exponentiates, the padding is removed here."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .. import rsa_padding
from ..constants import CKR
from ..errors import P11Error
from ..keys import PrivateKey, PublicKey
from ..mechanisms import MechanismRule, Scheme
from ..wire import Mechanism
from . import Collector, parameters
from .signatures import public_operation


class RsaEncrypt(Collector):
    """An operation of C_Encrypt* with a public key."""

    def __init__(self, key: PublicKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        if not isinstance(key, rsa.RSAPublicKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        super().__init__((key.key_size + 7) // 8)
        self._public = key
        self._scheme = rule.scheme
        self._oaep = _oaep(rule, mechanism, self.length)

    def finish(self) -> bytes:
        """Return the ciphertext, of the length of the modulus."""
        data = self.collected()
        if self._scheme is Scheme.RSA_PKCS:
            try:
                return self._public.encrypt(data, padding.PKCS1v15())
            except ValueError:
                raise P11Error(CKR.DATA_LEN_RANGE) from None
        if self._oaep is not None:
            data = rsa_padding.oaep_encode(data, self.length, *self._oaep)
        return public_operation(self._public, data.rjust(self.length, b"\0"))


class RsaDecrypt(Collector):
    """An operation of C_Decrypt* with a private key."""

    def __init__(self, key: PrivateKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        public = key.public
        if not isinstance(public, rsa.RSAPublicKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        super().__init__((public.key_size + 7) // 8)
        self._key = key
        self._scheme = rule.scheme
        self.exact = rule.scheme is Scheme.RSA_RAW
        self._oaep = _oaep(rule, mechanism, self.length)
        self.needs_login = key.needs_login
        self.asks_each_time = key.always_authenticate

    def finish(self) -> bytes:
        """Return the plaintext. Raises P11Error(ENCRYPTED_DATA_LEN_RANGE, ENCRYPTED_DATA_INVALID)."""
        data = self.collected()
        if len(data) != self.length:
            raise P11Error(CKR.ENCRYPTED_DATA_LEN_RANGE)
        try:
            block = self._key.use(data)
        except P11Error as error:
            # The one thing that a card finds wrong with a block of the right length: it is not below the modulus.
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) if error.value is CKR.DATA_INVALID else error from None
        if self._oaep is not None:
            return rsa_padding.oaep_decode(block, *self._oaep)
        return block if self._scheme is Scheme.RSA_RAW else rsa_padding.pkcs1_decode(block)


def _oaep(rule: MechanismRule, mechanism: Mechanism, length: int) -> parameters.Oaep | None:
    if rule.scheme is Scheme.RSA_OAEP:
        oaep = parameters.oaep(mechanism)
        rsa_padding.require_oaep(length, oaep.digest)
        return oaep
    parameters.none(mechanism)
    return None
