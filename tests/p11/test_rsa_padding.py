# SPDX-License-Identifier: MIT
"""The host's half of RSA, held against cryptography's."""

from __future__ import annotations

import hashlib

import pytest
from cardtear.p11 import rsa_padding
from cardtear.p11.errors import P11Error
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import given, settings
from hypothesis import strategies as st

HASHES = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
# A modulus whose length in bits is one above a whole number of bytes is where PSS encodings go wrong.
KEYS = [rsa.generate_private_key(65537, bits) for bits in (2048, 2049, 2055, 3072)]


def apply(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """The bare private operation."""
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    return pow(int.from_bytes(block, "big"), numbers.d, modulus).to_bytes((key.key_size + 7) // 8, "big")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key.key_size))
@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("mgf", ["sha1", "sha256"])
@pytest.mark.parametrize("salt", [0, 20, 64])
def test_pss(key: rsa.RSAPrivateKey, name: str, mgf: str, salt: int) -> None:
    """What is encoded here and exponentiated is a signature there."""
    digest = hashlib.new(name, b"data").digest()
    signature = apply(key, rsa_padding.pss_encode(digest, key.key_size, name, mgf, salt))
    scheme = padding.PSS(padding.MGF1(HASHES[mgf]), salt)
    key.public_key().verify(signature, digest, scheme, Prehashed(HASHES[name]))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(sorted(HASHES)), st.sampled_from(sorted(HASHES)), st.binary(max_size=9))
def test_oaep(data: bytes, name: str, mgf: str, label: bytes) -> None:
    """What is encrypted there is decoded here; another label, or one bit, and it is not."""
    key = KEYS[0]
    scheme = padding.OAEP(padding.MGF1(HASHES[mgf]), HASHES[name], label or None)
    block = apply(key, key.public_key().encrypt(data, scheme))
    assert rsa_padding.oaep_decode(block, name, mgf, label) == data
    for wrong, other in ((block, label + b"x"), (bytes([block[0] ^ 1]) + block[1:], label)):
        with pytest.raises(P11Error):
            rsa_padding.oaep_decode(wrong, name, mgf, other)


@given(st.binary(max_size=245))
def test_pkcs1(data: bytes) -> None:
    """Encryption blocks are decoded; signature blocks are padded to the length of the modulus."""
    key = KEYS[0]
    assert rsa_padding.pkcs1_decode(apply(key, key.public_key().encrypt(data, padding.PKCS1v15()))) == data
    block = rsa_padding.pkcs1_signature_block(data, 256)
    assert len(block) == 256
    assert block.endswith(b"\0" + data)


@pytest.mark.parametrize("block", [bytes(256), b"\0\2" + bytes(254), b"\0\1" + b"\xff" * 254, bytes(range(8))])
def test_bad_blocks(block: bytes) -> None:
    """An error, whatever they are."""
    with pytest.raises(P11Error):
        rsa_padding.pkcs1_decode(block)
    with pytest.raises(P11Error):
        rsa_padding.oaep_decode(block, "sha256", "sha256", b"")
