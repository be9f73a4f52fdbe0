# SPDX-License-Identifier: MIT
"""Signatures by private keys on the card or in the session, and their verification by public keys."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from ...card.crypto import edwards
from ...card.crypto.curves import EdwardsPublicKey
from .. import curves, finite_fields, post_quantum, rsa_padding
from ..constants import CKR
from ..errors import P11Error
from ..keys import PrivateKey, PublicKey, signature_length
from ..mechanisms import MechanismRule, Scheme
from ..wire import Mechanism
from . import MOST_KEPT, Operation, parameters

_MOST_MESSAGE = 1 << 24
_ED448_LENGTH = 114


class _Message(Operation):
    """Data to sign or verify: hashed as it comes if the mechanism hashes, else collected.

    `length` is that of the signature in bytes.
    """

    pss: parameters.Pss | None = None
    variant: edwards.Variant | None = None
    context = b""
    _most = MOST_KEPT

    def __init__(self, length: int, rule: MechanismRule, mechanism: Mechanism) -> None:
        self.length = length
        self.rule = rule
        if rule.scheme is Scheme.RSA_PSS:
            self.pss = parameters.pss(mechanism, rule.digest)
        elif rule.scheme is Scheme.EDDSA:
            self.variant = parameters.eddsa(mechanism, length == _ED448_LENGTH)
            self._most = _MOST_MESSAGE
        elif rule.scheme is Scheme.ML_DSA:
            self.context = parameters.signature_context(mechanism, isinstance(self, SignOperation))
            self._most = _MOST_MESSAGE
        else:
            parameters.none(mechanism)
        self._hash = None if rule.digest is None else hashlib.new(rule.digest)
        self._parts: list[bytes] = []
        self._size = 0

    def output_length(self, more: int, final: bool) -> int:
        """Return the signature's length at the end."""
        return self.length if final else 0

    def update(self, data: bytes) -> bytes:
        """Take more data. Raises P11Error(DATA_LEN_RANGE) for more than any key can sign."""
        if self._hash is not None:
            self._hash.update(data)
        else:
            self._size += len(data)
            if self._size > self._most:
                raise P11Error(CKR.DATA_LEN_RANGE)
            self._parts.append(data)
        return b""

    def collected(self) -> bytes:
        """Return the digest, or the data itself."""
        if self._hash is not None:
            return self._hash.digest()
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


class SignOperation(_Message):
    """An operation of C_Sign* and C_SignRecover, which for RSA is the same."""

    def __init__(self, key: PrivateKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        super().__init__(key.signature_length, rule, mechanism)
        _require_room(self.pss, key.public)
        if self.variant is not None and not key.has_variants():
            raise parameters.invalid()
        self._key = key
        self.needs_login = key.needs_login
        self.asks_each_time = key.always_authenticate

    def finish(self) -> bytes:
        """Return the signature; for ECDSA and DSA r and s, each of the length of the order."""
        data, key = self.collected(), self._key
        if self.rule.scheme in (Scheme.ECDSA, Scheme.DSA):
            size = self.length // 2
            try:
                r, s = decode_dss_signature(key.use(_ecdsa_input(data, size)))
            except ValueError:
                raise P11Error(CKR.DEVICE_ERROR) from None
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if self.rule.scheme is Scheme.EDDSA:
            return key.use(data) if self.variant is None else key.use_variant(data, self.variant)
        if self.rule.scheme is Scheme.ML_DSA:
            private = getattr(key, "private", None)  # no card has one
            assert isinstance(private, post_quantum.SigningKey)
            return private.sign(data, self.context)
        if self.pss is not None:
            _require_digest(self.pss, data)
            bits = key.public.key_size if isinstance(key.public, rsa.RSAPublicKey) else 0
            return key.use(rsa_padding.pss_encode(data, bits, *self.pss))
        return key.use(_signature_block(self, data))


class _WithPublicKey(_Message):
    """Base class of operations with a public key; they need no card."""

    def __init__(self, key: PublicKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        super().__init__(signature_length(key), rule, mechanism)
        _require_room(self.pss, key)
        self.public = key


class VerifyOperation(_WithPublicKey):
    """An operation of C_Verify* with a public key; `check` is called instead of `finish`."""

    def check(self, signature: bytes) -> None:
        """Verify a signature. Raises P11Error(SIGNATURE_INVALID or SIGNATURE_LEN_RANGE)."""
        if len(signature) != self.length:
            raise P11Error(CKR.SIGNATURE_LEN_RANGE)
        data, key = self.collected(), self.public
        try:
            if isinstance(key, rsa.RSAPublicKey):
                self._check_rsa(key, data, signature)
            elif isinstance(key, ec.EllipticCurvePublicKey | finite_fields.VerifyingKey):
                size = self.length // 2
                r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
                digest, scheme = curves.hash_to_sign(_ecdsa_input(data, size), size)
                if isinstance(key, finite_fields.VerifyingKey):
                    key.verify(encode_dss_signature(r, s), digest, scheme)
                else:
                    key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(scheme))
            elif isinstance(key, EdwardsPublicKey):
                if self.variant is None:
                    key.verify(signature, data)
                else:
                    edwards.verify(key, signature, data, self.variant)
            elif isinstance(key, post_quantum.VerifyingKey):
                key.verify(signature, data, self.context)
        except (InvalidSignature, ValueError):
            raise P11Error(CKR.SIGNATURE_INVALID) from None

    def _check_rsa(self, key: rsa.RSAPublicKey, data: bytes, signature: bytes) -> None:
        if self.pss is not None:
            _require_digest(self.pss, data)
            mask = padding.MGF1(parameters.HASHES[self.pss.mgf_digest])
            scheme = padding.PSS(mask, self.pss.salt_length)
            key.verify(signature, data, scheme, Prehashed(parameters.HASHES[self.pss.digest]))
            return
        wanted = _signature_block(self, data)
        try:
            found = public_operation(key, signature)
        except P11Error:  # a number that is not below the modulus
            raise InvalidSignature from None
        if not hmac.compare_digest(found, wanted):
            raise InvalidSignature


class RecoverOperation(_WithPublicKey):
    """An operation of C_VerifyRecover: it returns the data of an RSA signature."""

    def recovered(self, signature: bytes) -> bytes:
        """Verify a signature and return its data. Raises P11Error(SIGNATURE_INVALID or SIGNATURE_LEN_RANGE)."""
        key = self.public
        if not isinstance(key, rsa.RSAPublicKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        if len(signature) != self.length:
            raise P11Error(CKR.SIGNATURE_LEN_RANGE)
        try:
            block = public_operation(key, signature)
        except P11Error:
            raise P11Error(CKR.SIGNATURE_INVALID) from None
        if self.rule.scheme is Scheme.RSA_RAW:
            return block
        separator = block.find(0, 2)
        if block[:2] != b"\0\1" or separator < 10 or set(block[2:separator]) != {0xFF}:
            raise P11Error(CKR.SIGNATURE_INVALID)
        return block[separator + 1 :]


def public_operation(key: rsa.RSAPublicKey, block: bytes) -> bytes:
    """Apply RSAEP (RFC 8017, 5.1.1). Raises P11Error(DATA_LEN_RANGE or DATA_INVALID)."""
    numbers = key.public_numbers()
    size = (key.key_size + 7) // 8
    value = int.from_bytes(block, "big")
    if len(block) != size:
        raise P11Error(CKR.DATA_LEN_RANGE)
    if value >= numbers.n:
        raise P11Error(CKR.DATA_INVALID)
    return pow(value, numbers.e, numbers.n).to_bytes(size, "big")


def _signature_block(message: _Message, data: bytes) -> bytes:
    """Return the input of the private key, for signatures without randomness (RFC 8017, 9.2)."""
    if message.rule.scheme is Scheme.RSA_RAW:
        if len(data) > message.length:
            raise P11Error(CKR.DATA_LEN_RANGE)
        return data.rjust(message.length, b"\0")
    if message.rule.digest is not None:
        data = rsa_padding.DIGEST_INFO[message.rule.digest] + data
    return rsa_padding.pkcs1_signature_block(data, message.length)


def _require_room(pss: parameters.Pss | None, key: PublicKey) -> None:
    """Raise P11Error(KEY_SIZE_RANGE) for an RSA key that is too short for its encoding."""
    if pss is not None and isinstance(key, rsa.RSAPublicKey):
        rsa_padding.require_pss(key.key_size, pss.digest, pss.salt_length)


def _require_digest(pss: parameters.Pss, data: bytes) -> None:
    if len(data) != parameters.HASHES[pss.digest].digest_size:
        raise P11Error(CKR.DATA_LEN_RANGE)


def _ecdsa_input(data: bytes, size: int) -> bytes:
    """Return the leftmost bits of a hash, as many as the order has; a shorter one as the same number (X9.62, 7.3)."""
    if not data:
        raise P11Error(CKR.DATA_LEN_RANGE)
    return data[:size].rjust(size, b"\0")
