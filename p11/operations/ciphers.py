# SPDX-License-Identifier: MIT
"""Encryption with secret keys: AES, DES and triple DES in their modes, by cryptography."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import keywrap, padding
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, ChaCha20Poly1305
from cryptography.utils import CryptographyDeprecationWarning

from ..constants import CKK, CKR
from ..errors import P11Error
from ..mechanisms import MechanismRule, Scheme
from ..wire import Mechanism
from . import Collector, Operation, parameters

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    try:
        from cryptography.hazmat.decrepit.ciphers.modes import CFB, CFB8, OFB
    except ImportError:  # older releases have them with the others
        from cryptography.hazmat.primitives.ciphers.modes import CFB, CFB8, OFB

_DES_KEYS = (CKK.DES, CKK.DES2, CKK.DES3)

_MOST_AUTHENTICATED = 48 << 20
"""Most bytes that are returned at once: less than a frame holds."""


def block_cipher(rule: MechanismRule, key: bytes) -> BlockCipherAlgorithm:
    """Return the block cipher of a mechanism with a key."""
    if CKK.AES in rule.key_types:
        return algorithms.AES(key)
    return _triple_des(key)


def _triple_des(key: bytes) -> BlockCipherAlgorithm:
    return TripleDES((key * 3)[:24])  # two keys are K1, K2, K1; with one key three times it is DES


def check_value(key_type: int, key: bytes) -> bytes:
    """Return CKA_CHECK_VALUE: of zeros encrypted with the key, of the key's hash if it is for no block cipher."""
    algorithm: BlockCipherAlgorithm
    if key_type == CKK.AES:
        algorithm = algorithms.AES(key)
    elif key_type in _DES_KEYS:
        algorithm = _triple_des(key)
    else:
        return hashlib.sha1(key, usedforsecurity=False).digest()[:3]
    return Cipher(algorithm, modes.ECB()).encryptor().update(bytes(algorithm.block_size // 8))[:3]


def cipher(encrypts: bool, rule: MechanismRule, mechanism: Mechanism, key: bytes) -> Operation:
    """Return the operation of a mechanism with a secret key. Raises P11Error(MECHANISM_PARAM_INVALID)."""
    match rule.scheme:
        case Scheme.ECB | Scheme.CBC | Scheme.CBC_PAD:
            return BlockCipher(encrypts, rule, mechanism, key)
        case Scheme.CTR | Scheme.OFB | Scheme.CFB | Scheme.CFB8 | Scheme.CHACHA20:
            return StreamCipher(encrypts, rule, mechanism, key)
        case Scheme.GCM:
            return GcmEncrypt(mechanism, key) if encrypts else GcmDecrypt(mechanism, key)
        case Scheme.CCM:
            aead = parameters.ccm(mechanism)
            return WholeAead(encrypts, aead, AESCCM(key, aead.tag_length))
        case Scheme.CHACHA20_POLY1305:
            return WholeAead(encrypts, parameters.poly1305(mechanism), ChaCha20Poly1305(key))
        case Scheme.KEY_WRAP | Scheme.KEY_WRAP_PAD:
            return KeyWrap(encrypts, rule, mechanism, key)
    raise P11Error(CKR.MECHANISM_INVALID)


class BlockCipher(Operation):
    """ECB and CBC, with PKCS #7 padding or for whole blocks only."""

    def __init__(self, encrypts: bool, rule: MechanismRule, mechanism: Mechanism, key: bytes) -> None:
        algorithm = block_cipher(rule, key)
        self._encrypts = encrypts
        self._padded = rule.scheme is Scheme.CBC_PAD
        self._block = size = algorithm.block_size // 8
        mode: modes.Mode
        if rule.scheme is Scheme.ECB:
            parameters.none(mechanism)
            mode = modes.ECB()
        else:
            mode = modes.CBC(parameters.iv(mechanism, size))
        made: Any = Cipher(algorithm, mode)
        self._context = made.encryptor() if encrypts else made.decryptor()
        pkcs7 = padding.PKCS7(algorithm.block_size)
        self._padding: Any = (pkcs7.padder() if encrypts else pkcs7.unpadder()) if self._padded else None
        self._taken = 0
        self.exact = encrypts or not self._padded

    def output_length(self, more: int, final: bool) -> int:
        """Return the length of whole blocks; decryption keeps the last, for it may be padding. Raises P11Error."""
        given = self._given(self._taken)
        total = self._taken + more
        if not final:
            return self._given(total) - given
        self._require_whole_blocks(total)
        if self._encrypts and self._padded:
            return (total // self._block + 1) * self._block - given
        return total - given

    def update(self, data: bytes) -> bytes:
        """Return the blocks that are complete."""
        self._taken += len(data)
        if self._padding is None:
            return bytes(self._context.update(data))
        if self._encrypts:
            return bytes(self._context.update(self._padding.update(data)))
        return bytes(self._padding.update(self._context.update(data)))

    def finish(self) -> bytes:
        """Return the last block.

        Raises P11Error: DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE, ENCRYPTED_DATA_INVALID for wrong padding.
        """
        self._require_whole_blocks(self._taken)
        if self._padding is None:
            return bytes(self._context.finalize())
        if self._encrypts:
            return bytes(self._context.update(self._padding.finalize()) + self._context.finalize())
        if not self._taken:
            raise P11Error(CKR.ENCRYPTED_DATA_LEN_RANGE)
        try:
            return bytes(self._padding.update(self._context.finalize()) + self._padding.finalize())
        except ValueError:
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) from None

    def _require_whole_blocks(self, total: int) -> None:
        if (self._padding is None or not self._encrypts) and total % self._block:
            raise P11Error(CKR.DATA_LEN_RANGE if self._encrypts else CKR.ENCRYPTED_DATA_LEN_RANGE)

    def _given(self, taken: int) -> int:
        if self._padded and not self._encrypts:
            return max(taken // self._block - 1, 0) * self._block
        return taken // self._block * self._block


class StreamCipher(Operation):
    """CTR, OFB, CFB and ChaCha20: as many bytes out as in."""

    def __init__(self, encrypts: bool, rule: MechanismRule, mechanism: Mechanism, key: bytes) -> None:
        self._room: int | None = None
        algorithm: Any = block_cipher(rule, key) if rule.scheme is not Scheme.CHACHA20 else None
        mode: Any = None
        if rule.scheme is Scheme.CHACHA20:
            counter_bits, start = parameters.chacha20(mechanism)
            first = int.from_bytes(start[: counter_bits // 8], "little")
            self._room = 64 * ((1 << counter_bits) - first)
            algorithm = algorithms.ChaCha20(key, start)
        elif rule.scheme is Scheme.CTR:
            bits, block = parameters.counter(mechanism)
            first = int.from_bytes(block, "big") & ((1 << bits) - 1)
            self._room = 16 * ((1 << bits) - first)  # then the counter would run into the nonce
            mode = modes.CTR(block)
        else:
            mode = _STREAMS[rule.scheme](parameters.iv(mechanism, 16))
        made = Cipher(algorithm, mode)
        self._context: Any = made.encryptor() if encrypts else made.decryptor()
        self._too_long = CKR.DATA_LEN_RANGE if encrypts else CKR.ENCRYPTED_DATA_LEN_RANGE

    def output_length(self, more: int, final: bool) -> int:
        """Return `more`. Raises P11Error(DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE) when the counter is used up."""
        if self._room is not None and more > self._room:
            raise P11Error(self._too_long)
        return more

    def update(self, data: bytes) -> bytes:
        """Return as many bytes. Raises P11Error as output_length()."""
        length = self.output_length(len(data), False)
        if self._room is not None:
            self._room -= length
        return bytes(self._context.update(data))

    def finish(self) -> bytes:
        """Return nothing."""
        return bytes(self._context.finalize())


_STREAMS: dict[Scheme, Any] = {Scheme.OFB: OFB, Scheme.CFB: CFB, Scheme.CFB8: CFB8}


class GcmEncrypt(Operation):
    """GCM encryption, with the tag after the ciphertext."""

    def __init__(self, mechanism: Mechanism, key: bytes) -> None:
        aead = parameters.gcm(mechanism)
        self._tag_length = aead.tag_length
        self._context: Any = Cipher(algorithms.AES(key), modes.GCM(aead.nonce)).encryptor()
        self._context.authenticate_additional_data(aead.additional)

    def output_length(self, more: int, final: bool) -> int:
        """Return the length of the data, and of the tag at the end."""
        return more + (self._tag_length if final else 0)

    def update(self, data: bytes) -> bytes:
        """Return as much ciphertext."""
        return bytes(self._context.update(data))

    def finish(self) -> bytes:
        """Return the tag."""
        self._context.finalize()
        return bytes(self._context.tag[: self._tag_length])


class GcmDecrypt(Collector):
    """GCM decryption: no output before the tag has been verified."""

    limit = _MOST_AUTHENTICATED
    too_long = CKR.ENCRYPTED_DATA_LEN_RANGE

    def __init__(self, mechanism: Mechanism, key: bytes) -> None:
        super().__init__(0)
        self._parameters = parameters.gcm(mechanism)
        self._key = key

    def output_length(self, more: int, final: bool) -> int:
        """Return the length without the tag, at the end."""
        return max(self._size + more - self._parameters.tag_length, 0) if final else 0

    def finish(self) -> bytes:
        """Return the plaintext.

        Raises P11Error: ENCRYPTED_DATA_LEN_RANGE without room for a tag, ENCRYPTED_DATA_INVALID for a wrong one.
        """
        aead, data = self._parameters, self.collected()
        if len(data) < aead.tag_length:
            raise P11Error(CKR.ENCRYPTED_DATA_LEN_RANGE)
        body = memoryview(data)[: len(data) - aead.tag_length]
        tag = data[len(data) - aead.tag_length :]
        return gcm_decrypted(self._key, aead.nonce, aead.additional, body, tag)


def gcm_decrypted(key: bytes, nonce: bytes, additional: bytes, body: bytes | memoryview, tag: bytes) -> bytes:
    """Decrypt a whole ciphertext by AES-GCM. Raises P11Error(ENCRYPTED_DATA_INVALID)."""
    mode = modes.GCM(nonce, tag, min_tag_length=min(len(tag), 16))
    context = Cipher(algorithms.AES(key), mode).decryptor()
    context.authenticate_additional_data(additional)
    try:
        return bytes(context.update(body) + context.finalize())
    except InvalidTag:
        raise P11Error(CKR.ENCRYPTED_DATA_INVALID) from None


class WholeAead(Collector):
    """CCM and ChaCha20-Poly1305 on all data at once: CCM needs its length first, the library offers no other way."""

    limit = _MOST_AUTHENTICATED

    def __init__(self, encrypts: bool, aead: parameters.AeadParameters, cipher: AESCCM | ChaCha20Poly1305) -> None:
        super().__init__(0)
        self._encrypts = encrypts
        self.too_long = CKR.DATA_LEN_RANGE if encrypts else CKR.ENCRYPTED_DATA_LEN_RANGE
        self._parameters = aead
        self._cipher = cipher

    def output_length(self, more: int, final: bool) -> int:
        """Return the length with the tag for encryption, without it for decryption, at the end."""
        tag = self._parameters.tag_length
        return max(self._size + more + (tag if self._encrypts else -tag), 0) if final else 0

    def finish(self) -> bytes:
        """Encrypt or decrypt.

        Raises P11Error: DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE for another length than the parameter's;
        ENCRYPTED_DATA_INVALID.
        """
        aead, data = self._parameters, self.collected()
        body = len(data) - (0 if self._encrypts else aead.tag_length)
        if body < 0 or aead.data_length not in (None, body):
            raise P11Error(self.too_long)
        work = self._cipher.encrypt if self._encrypts else self._cipher.decrypt
        try:
            return work(aead.nonce, data, aead.additional)
        except ValueError:
            raise P11Error(self.too_long) from None
        except InvalidTag:
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) from None


class KeyWrap(Collector):
    """AES key wrap (RFC 3394), also with padding (RFC 5649)."""

    def __init__(self, encrypts: bool, rule: MechanismRule, mechanism: Mechanism, key: bytes) -> None:
        super().__init__(0)
        padded = rule.scheme is Scheme.KEY_WRAP_PAD
        if mechanism.parameter and mechanism.parameter != (b"\xa6\x59\x59\xa6" if padded else b"\xa6" * 8):
            raise parameters.invalid()  # the library has the standard's initial value only
        self._encrypts, self._padded, self._key = encrypts, padded, key
        self.exact = encrypts or not padded
        self.too_long = CKR.DATA_LEN_RANGE if encrypts else CKR.ENCRYPTED_DATA_LEN_RANGE

    def output_length(self, more: int, final: bool) -> int:
        """Return the length: eight bytes more or fewer, with padding filled up to a multiple of eight."""
        size = self._size + more
        if not final:
            return 0
        if self._encrypts:
            return (size + 7) // 8 * 8 + 8
        return max(size - 8, 0)

    def finish(self) -> bytes:
        """Wrap or unwrap. Raises P11Error: DATA_LEN_RANGE, ENCRYPTED_DATA_LEN_RANGE, ENCRYPTED_DATA_INVALID."""
        data = self.collected()
        try:
            if self._encrypts:
                if not data:  # cryptography before 47 makes something of nothing
                    raise P11Error(CKR.DATA_LEN_RANGE)
                wrap = keywrap.aes_key_wrap_with_padding if self._padded else keywrap.aes_key_wrap
                return wrap(self._key, data)
            if len(data) % 8 or len(data) < (16 if self._padded else 24):
                raise P11Error(CKR.ENCRYPTED_DATA_LEN_RANGE)
            unwrap = keywrap.aes_key_unwrap_with_padding if self._padded else keywrap.aes_key_unwrap
            return unwrap(self._key, data)
        except ValueError:
            raise P11Error(CKR.DATA_LEN_RANGE) from None
        except keywrap.InvalidUnwrap:
            raise P11Error(CKR.ENCRYPTED_DATA_INVALID) from None
