# SPDX-License-Identifier: MIT
"""Operations: what a session does with data between an Init function and its end.

An operation takes data, in one part or many, and gives its result once. Its length is known, or bounded, beforehand, so
that an application can ask for it. Digests and public keys are computed here, private keys work on the card.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from ..card.tables import RSA_BITS, Algorithm
from . import rsa_padding
from .constants import CKA, CKG, CKR, CKZ
from .errors import P11Error
from .mechanisms import DIGESTS, MechanismRule, Scheme
from .keys import CardKey, PublicKey
from .piv_client import PivClient
from .wire import Mechanism

_MGF: dict[int, str] = {
    CKG.MGF1_SHA1: "sha1",
    CKG.MGF1_SHA224: "sha224",
    CKG.MGF1_SHA256: "sha256",
    CKG.MGF1_SHA384: "sha384",
    CKG.MGF1_SHA512: "sha512",
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_SIGNATURE_LENGTHS = {Algorithm.RSA2048: 256, Algorithm.RSA3072: 384, Algorithm.P256: 64, Algorithm.P384: 96}
_MOST_KEPT = 1 << 16
"""Bytes of data that is not hashed on the way."""
_PSS_PARAMS = struct.Struct("@3L")
_OAEP_PARAMS = struct.Struct("@5L")


class Operation(Protocol):
    """`length` is what `finish` gives if it is `exact`, else the most that it can give; `parts` counts the updates.

    `key` is the card's key where one works, `context_login` whether the PIN was given for this operation, `held` a
    result for which there was no room yet.
    """

    length: int
    exact: bool
    parts: int
    key: object
    context_login: bool
    held: bytes | None

    def update(self, data: bytes) -> None:
        """Take more data. Raises P11Error."""
        ...

    def finish(self) -> bytes:
        """The result; called once. Raises P11Error, CardRemoved."""
        ...


class PssParameters(NamedTuple):
    """CK_RSA_PKCS_PSS_PARAMS: digest and mask digest as hashlib names."""

    digest: str
    mgf_digest: str
    salt_length: int


class OaepParameters(NamedTuple):
    """CK_RSA_PKCS_OAEP_PARAMS."""

    digest: str
    mgf_digest: str
    label: bytes


class Collector:
    """Data on its way: hashed as it comes where the mechanism hashes, else kept."""

    def __init__(self, digest: str | None) -> None:
        self._hash = hashlib.new(digest) if digest is not None else None
        self._parts: list[bytes] = []
        self._kept = 0
        self.parts = 0
        self.exact = True
        self.key: object = None
        self.context_login = False
        self.held: bytes | None = None

    def update(self, data: bytes) -> None:
        """Take more data. Raises P11Error(DATA_LEN_RANGE) for more than any key can take."""
        self.parts += 1
        if self._hash is not None:
            self._hash.update(data)
            return
        self._kept += len(data)
        if self._kept > _MOST_KEPT:
            raise P11Error(CKR.DATA_LEN_RANGE)
        self._parts.append(data)

    def collected(self) -> bytes:
        """The digest, or the data itself."""
        return self._hash.digest() if self._hash is not None else b"".join(self._parts)


class Digest(Collector):
    """C_Digest*."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.length = hashlib.new(digest).digest_size

    def finish(self) -> bytes:
        """The digest."""
        return self.collected()


class Sign(Collector):
    """C_Sign* with a key on the card."""

    def __init__(self, card: PivClient, key: CardKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        super().__init__(rule.digest)
        self._card = card
        self._rule = rule
        self._pss = _pss_parameters(rule, mechanism)
        self.key = self._key = key
        self.length = signature_length(key.public)

    def finish(self) -> bytes:
        """The signature; ECDSA's as r and s, each of the length of the order."""
        if self._key.always_authenticate and not self.context_login:
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        data, key = self.collected(), self._key
        if isinstance(key.public, rsa.RSAPublicKey):
            block = _signature_block(self._rule, self._pss, data, 8 * self.length)
            return key.use(block)
        size = self.length // 2
        signature = key.use(_ecdsa_input(data, size))
        try:
            r, s = decode_dss_signature(signature)
        except ValueError:
            raise P11Error(CKR.DEVICE_ERROR) from None
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


class Verify(Collector):
    """C_Verify* with a public key; `check` takes the place of `finish`."""

    def __init__(self, key: PublicKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        super().__init__(rule.digest)
        self._public = key
        self._rule = rule
        self._pss = _pss_parameters(rule, mechanism)
        self.length = signature_length(key)

    def finish(self) -> bytes:
        """There is no result beside that of `check`."""
        return b""

    def check(self, signature: bytes) -> None:
        """Raises P11Error(SIGNATURE_INVALID or SIGNATURE_LEN_RANGE)."""
        if len(signature) != self.length:
            raise P11Error(CKR.SIGNATURE_LEN_RANGE)
        data = self.collected()
        try:
            if isinstance(self._public, rsa.RSAPublicKey):
                self._check_rsa(self._public, data, signature)
            else:
                size = self.length // 2
                r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
                scheme = ec.ECDSA(Prehashed(_hash_of_size(size)))
                self._public.verify(encode_dss_signature(r, s), _ecdsa_input(data, size), scheme)
        except (InvalidSignature, ValueError):
            raise P11Error(CKR.SIGNATURE_INVALID) from None

    def _check_rsa(self, key: rsa.RSAPublicKey, data: bytes, signature: bytes) -> None:
        if self._pss is not None:
            _require_digest(self._pss, data)
            pss = padding.PSS(padding.MGF1(_HASHES[self._pss.mgf_digest]), self._pss.salt_length)
            key.verify(signature, data, pss, Prehashed(_HASHES[self._pss.digest]))
            return
        expected = _signature_block(self._rule, None, data, key.key_size)
        if not hmac.compare_digest(_public_operation(key, signature), expected):
            raise InvalidSignature


class Encrypt(Collector):
    """C_Encrypt* with a public RSA key."""

    def __init__(self, key: PublicKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        super().__init__(None)
        if not isinstance(key, rsa.RSAPublicKey):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        self._public = key
        self._padding = _encryption_padding(rule, mechanism)
        self.length = key.key_size // 8

    def finish(self) -> bytes:
        """The ciphertext, of the length of the modulus."""
        data = self.collected()
        if self._padding is None:
            return _public_operation(self._public, data.rjust(self.length, b"\0"))
        try:
            return self._public.encrypt(data, self._padding)
        except ValueError:
            raise P11Error(CKR.DATA_LEN_RANGE) from None


class Decrypt(Collector):
    """C_Decrypt* with an RSA key on the card: the card exponentiates, the padding is taken off here."""

    def __init__(self, card: PivClient, key: CardKey, rule: MechanismRule, mechanism: Mechanism) -> None:
        super().__init__(None)
        self._card = card
        self._scheme = rule.scheme
        self.exact = rule.scheme is Scheme.RSA_RAW
        self._oaep = _oaep_parameters(mechanism) if rule.scheme is Scheme.RSA_OAEP else None
        self.key = self._key = key
        self.length = key.public.key_size // 8

    def finish(self) -> bytes:
        """The plaintext."""
        data, key = self.collected(), self._key
        if len(data) != self.length:
            raise P11Error(CKR.ENCRYPTED_DATA_LEN_RANGE)
        try:
            block = key.use(data)
        except P11Error as error:
            # The one thing that a card finds wrong with a block of the right length: it is not below the modulus.
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) if error.value is CKR.DATA_INVALID else error from None
        if self._oaep is not None:
            return rsa_padding.oaep_decode(block, *self._oaep)
        return rsa_padding.pkcs1_decode(block) if self._scheme is Scheme.RSA_PKCS else block


def signature_length(key: PublicKey) -> int:
    """Bytes of a signature as PKCS #11 gives it."""
    return key.key_size // 8 if isinstance(key, rsa.RSAPublicKey) else 2 * ((key.key_size + 7) // 8)


def check_mechanism(rule: MechanismRule, mechanism: Mechanism) -> None:
    """Raises P11Error(MECHANISM_PARAM_INVALID) for a parameter that the mechanism does not have, or a bad one."""
    if rule.scheme is Scheme.RSA_PSS:
        _pss_parameters(rule, mechanism)
    elif rule.scheme is Scheme.RSA_OAEP:
        _oaep_parameters(mechanism)
    elif mechanism.parameter:
        raise P11Error(CKR.MECHANISM_PARAM_INVALID)


def _pss_parameters(rule: MechanismRule, mechanism: Mechanism) -> PssParameters | None:
    if rule.scheme is not Scheme.RSA_PSS:
        return None
    try:
        digest, mgf, salt_length = _PSS_PARAMS.unpack(mechanism.parameter)
        parameters = PssParameters(DIGESTS[digest], _MGF[mgf], salt_length)
    except (struct.error, KeyError):
        raise P11Error(CKR.MECHANISM_PARAM_INVALID) from None
    if rule.digest not in (None, parameters.digest) or salt_length > 512:
        raise P11Error(CKR.MECHANISM_PARAM_INVALID)
    return parameters


def _oaep_parameters(mechanism: Mechanism) -> OaepParameters:
    try:
        digest, mgf, source, _, length = _OAEP_PARAMS.unpack(mechanism.parameter)
        (label,) = mechanism.pointers
        if source not in (0, CKZ.DATA_SPECIFIED) or (source == 0 and length):
            raise P11Error(CKR.MECHANISM_PARAM_INVALID)
        return OaepParameters(DIGESTS[digest], _MGF[mgf], label)
    except (struct.error, KeyError, ValueError):
        raise P11Error(CKR.MECHANISM_PARAM_INVALID) from None


def _encryption_padding(rule: MechanismRule, mechanism: Mechanism) -> padding.AsymmetricPadding | None:
    if rule.scheme is Scheme.RSA_RAW:
        return None
    if rule.scheme is Scheme.RSA_PKCS:
        return padding.PKCS1v15()
    oaep = _oaep_parameters(mechanism)
    mask: Any = padding.MGF1(_HASHES[oaep.mgf_digest])
    return padding.OAEP(mask, _HASHES[oaep.digest], oaep.label or None)


def _signature_block(rule: MechanismRule, pss: PssParameters | None, data: bytes, bits: int) -> bytes:
    """What the private key has to be applied to."""
    length = bits // 8
    if pss is not None:
        _require_digest(pss, data)
        return rsa_padding.pss_encode(data, bits, *pss)
    if rule.scheme is Scheme.RSA_RAW:
        if len(data) > length:
            raise P11Error(CKR.DATA_LEN_RANGE)
        return data.rjust(length, b"\0")
    if rule.digest is not None:
        data = rsa_padding.DIGEST_INFO[rule.digest] + data
    return rsa_padding.pkcs1_signature_block(data, length)


def _require_digest(pss: PssParameters, data: bytes) -> None:
    if len(data) != _HASHES[pss.digest].digest_size:
        raise P11Error(CKR.DATA_LEN_RANGE)


def _ecdsa_input(data: bytes, size: int) -> bytes:
    """The leftmost bits of a hash, as many as the order has; shorter ones as the same number (X9.62, 7.3)."""
    if not data:
        raise P11Error(CKR.DATA_LEN_RANGE)
    return data[:size].rjust(size, b"\0")


def _hash_of_size(size: int) -> hashes.HashAlgorithm:
    return hashes.SHA256() if size == 32 else hashes.SHA384()


def _public_operation(key: rsa.RSAPublicKey, block: bytes) -> bytes:
    """RSAEP (RFC 8017, 5.1.1): nothing secret is involved. Raises P11Error(DATA_LEN_RANGE or DATA_INVALID)."""
    numbers = key.public_numbers()
    size = key.key_size // 8
    value = int.from_bytes(block, "big")
    if len(block) != size:
        raise P11Error(CKR.DATA_LEN_RANGE)
    if value >= numbers.n:
        raise P11Error(CKR.DATA_INVALID)
    return pow(value, numbers.e, numbers.n).to_bytes(size, "big")


USAGE: dict[str, CKA] = {"sign": CKA.SIGN, "verify": CKA.VERIFY, "encrypt": CKA.ENCRYPT, "decrypt": CKA.DECRYPT}
"""The attribute that allows a key each kind of operation."""
