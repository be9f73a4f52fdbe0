# SPDX-License-Identifier: MIT
"""Encodings of PKCS #1 v2.2 (RFC 8017) on the host, for RSA keys of a card that only exponentiates."""

from __future__ import annotations

import hashlib
import hmac
import os

from .constants import CKR
from .errors import P11Error

# RFC 8017, 9.2 note 1
DIGEST_INFO: dict[str, bytes] = {
    "md5": bytes.fromhex("3020300c06082a864886f70d020505000410"),
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
    "sha3_224": bytes.fromhex("302d300d06096086480165030402070500041c"),
    "sha3_256": bytes.fromhex("3031300d060960864801650304020805000420"),
    "sha3_384": bytes.fromhex("3041300d060960864801650304020905000430"),
    "sha3_512": bytes.fromhex("3051300d060960864801650304020a05000440"),
}


def pkcs1_signature_block(data: bytes, length: int) -> bytes:
    """Encode by EMSA-PKCS1-v1_5 (9.2). Raises P11Error(DATA_LEN_RANGE) when there is no room for padding."""
    if len(data) > length - 11:
        raise P11Error(CKR.DATA_LEN_RANGE)
    return b"\0\1" + b"\xff" * (length - 3 - len(data)) + b"\0" + data


def pkcs1_decode(block: bytes) -> bytes:
    """Decode by EME-PKCS1-v1_5 (7.2.2). Raises P11Error(ENCRYPTED_DATA_INVALID)."""
    separator = block.find(0, 2)
    if not (block[:2] == b"\0\2" and separator >= 10):
        raise P11Error(CKR.ENCRYPTED_DATA_INVALID)
    return block[separator + 1 :]


def require_oaep(length: int, digest: str) -> None:
    """Raise P11Error(KEY_SIZE_RANGE) for a modulus of `length` bytes that is too short for the hash (RFC 8017, 7.1)."""
    if length < 2 * hashlib.new(digest).digest_size + 2:
        raise P11Error(CKR.KEY_SIZE_RANGE)


def require_pss(bits: int, digest: str, salt_length: int) -> None:
    """Raise P11Error(KEY_SIZE_RANGE) for a modulus that is too short for hash and salt (RFC 8017, 9.1.1)."""
    if (bits + 6) // 8 < hashlib.new(digest).digest_size + salt_length + 2:
        raise P11Error(CKR.KEY_SIZE_RANGE)


def oaep_encode(data: bytes, length: int, digest: str, mgf_digest: str, label: bytes) -> bytes:
    """Encode by EME-OAEP (7.1.1); the library lacks some hashes. Raises P11Error(DATA_LEN_RANGE)."""
    size = hashlib.new(digest).digest_size
    most = length - 2 * size - 2
    if len(data) > most:
        raise P11Error(CKR.DATA_LEN_RANGE)
    whole = hashlib.new(digest, label).digest() + b"\0" * (most - len(data)) + b"\1" + data
    seed = os.urandom(size)
    masked = _xor(whole, _mgf1(seed, len(whole), mgf_digest))
    return b"\0" + _xor(seed, _mgf1(masked, size, mgf_digest)) + masked


def oaep_decode(block: bytes, digest: str, mgf_digest: str, label: bytes) -> bytes:
    """Decode by EME-OAEP (7.1.2). Raises P11Error(ENCRYPTED_DATA_INVALID), whatever is wrong."""
    size = hashlib.new(digest).digest_size
    require_oaep(len(block), digest)  # a card may return anything
    masked_seed, masked = block[1 : 1 + size], block[1 + size :]
    seed = _xor(masked_seed, _mgf1(masked, size, mgf_digest))
    data = _xor(masked, _mgf1(seed, len(masked), mgf_digest))
    separator = data.find(1, size)
    right = hmac.compare_digest(data[:size], hashlib.new(digest, label).digest())
    if not right or block[0] != 0 or separator < 0 or any(data[size:separator]):
        raise P11Error(CKR.ENCRYPTED_DATA_INVALID)
    return data[separator + 1 :]


def pss_encode(hashed: bytes, bits: int, digest: str, mgf_digest: str, salt_length: int) -> bytes:
    """Encode by EMSA-PSS (9.1.1) for a modulus of `bits` bits that is long enough (require_pss)."""
    length = (bits + 6) // 8
    size = len(hashed)
    salt = os.urandom(salt_length)
    check = hashlib.new(digest, bytes(8) + hashed + salt).digest()
    data = b"\0" * (length - salt_length - size - 2) + b"\1" + salt
    masked = bytearray(_xor(data, _mgf1(check, len(data), mgf_digest)))
    masked[0] &= 0xFF >> (8 * length - (bits - 1))
    return (bytes(masked) + check + b"\xbc").rjust((bits + 7) // 8, b"\0")


def _mgf1(seed: bytes, length: int, digest: str) -> bytes:
    """Return a mask by MGF1 (B.2.1)."""
    output = b""
    counter = 0
    while len(output) < length:
        output += hashlib.new(digest, seed + counter.to_bytes(4, "big")).digest()
        counter += 1
    return output[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
