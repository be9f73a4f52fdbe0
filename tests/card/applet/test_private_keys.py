# SPDX-License-Identifier: MIT
"""What the private keys do, checked with the public keys of their certificates, by OpenSSL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.tables import SLOTS, Algorithm
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

RSA_SLOTS = [0x9A, 0x9D]
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def public_key(terminal: Any, slot: int) -> Any:
    return x509.load_der_x509_certificate(terminal.certificate(SLOTS[slot].certificate)).public_key()


def pkcs1_block(payload: bytes, length: int = 256) -> bytes:
    return b"\0\1" + b"\xff" * (length - 3 - len(payload)) + b"\0" + payload


@pytest.mark.parametrize("slot", RSA_SLOTS)
def test_rsa_signature(terminal: Any, slot: int) -> None:
    assert terminal.verify() == 0x9000
    digest = hashlib.sha256(b"message").digest()
    signature, status = terminal.use_key(Algorithm.RSA2048, slot, pkcs1_block(SHA256_PREFIX + digest))
    assert status == 0x9000
    public_key(terminal, slot).verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())


BLOCKS = {
    "nothing signed": pkcs1_block(b""),
    "as much as can be signed": pkcs1_block(os.urandom(245)),
    "padding too short for PKCS #1": b"\0\1" + 7 * b"\xff" + b"\0" + os.urandom(246),
    "no end of the padding": b"\0\1" + 254 * b"\xff",
    "a hole in the padding": b"\0\1" + 20 * b"\xff" + b"\xfe" + 20 * b"\xff" + b"\0" + bytes(212),
    "encryption padding": b"\0\2" + 200 * b"\x11" + b"\0" + bytes(53),
    "anything": b"\0" + os.urandom(255),
    "zero": bytes(256),
    "one": bytes(255) + b"\1",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_every_block_goes_through_the_bare_operation(terminal: Any, block: bytes) -> None:
    """Whatever way the card takes: to the power of e, the result is the block again."""
    terminal.verify()
    result, status = terminal.use_key(Algorithm.RSA2048, 0x9A, block)
    assert status == 0x9000
    assert len(result) == 256
    numbers = public_key(terminal, 0x9A).public_numbers()
    assert pow(int.from_bytes(result, "big"), numbers.e, numbers.n) == int.from_bytes(block, "big")


def test_a_block_as_great_as_the_modulus_is_refused(terminal: Any) -> None:
    terminal.verify()
    modulus = public_key(terminal, 0x9A).public_numbers().n
    assert terminal.use_key(Algorithm.RSA2048, 0x9A, modulus.to_bytes(256, "big"))[1] == 0x6A80
    assert terminal.use_key(Algorithm.RSA2048, 0x9A, (modulus - 1).to_bytes(256, "big"))[1] == 0x9000
    assert terminal.use_key(Algorithm.RSA2048, 0x9A, bytes(257))[1] == 0x6A80


def test_rsa_decipher(terminal: Any) -> None:
    terminal.verify()
    secret = os.urandom(48)
    block, status = terminal.use_key(
        Algorithm.RSA2048, 0x9D, public_key(terminal, 0x9D).encrypt(secret, padding.PKCS1v15())
    )
    assert status == 0x9000
    assert block[:2] == b"\0\2"
    assert block.endswith(b"\0" + secret)


@pytest.mark.parametrize(
    ("profile", "slot", "algorithm", "digest"),
    [
        ("piv", 0x9C, Algorithm.P256, hashes.SHA256()),
        ("piv", 0x9E, Algorithm.P256, hashes.SHA256()),
        ("piv-ec", 0x9A, Algorithm.P256, hashes.SHA256()),
        ("piv-ec", 0x9C, Algorithm.P384, hashes.SHA384()),
    ],
)
def test_ecdsa_signature(
    new_card: Callable[..., PivCard],
    power: Callable[..., Any],
    profile: str,
    slot: int,
    algorithm: Algorithm,
    digest: hashes.HashAlgorithm,
) -> None:
    terminal = power(new_card(profile))
    hashed = hashlib.new(digest.name, b"message").digest()
    public = public_key(terminal, slot)
    terminal.verify()
    signature, status = terminal.use_key(algorithm, slot, hashed)
    assert status == 0x9000
    public.verify(signature, b"message", ec.ECDSA(digest))
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"massage", ec.ECDSA(digest))


@pytest.mark.parametrize(("length", "status"), [(0, 0x6A80), (1, 0x9000), (20, 0x9000), (64, 0x9000), (65, 0x6A80)])
def test_ecdsa_of_digests_of_other_lengths(terminal: Any, length: int, status: int) -> None:
    """A short digest is a number with zeros in front, of a long one the leftmost bits count (FIPS 186-5, 6.4.1)."""
    digest = os.urandom(length)
    signature, answer = terminal.use_key(Algorithm.P256, 0x9E, digest)
    assert answer == status
    if status == 0x9000:
        scheme = ec.ECDSA(Prehashed(hashes.SHA256()))
        public_key(terminal, 0x9E).verify(signature, digest[:32].rjust(32, b"\0"), scheme)


@pytest.mark.parametrize(
    ("slot", "algorithm", "curve"), [(0x9D, Algorithm.P256, ec.SECP256R1()), (0x9C, Algorithm.P384, ec.SECP384R1())]
)
def test_ecdh(
    new_card: Callable[..., PivCard],
    power: Callable[..., Any],
    slot: int,
    algorithm: Algorithm,
    curve: ec.EllipticCurve,
) -> None:
    terminal = power(new_card("piv-ec"))
    ours, theirs = ec.generate_private_key(curve), public_key(terminal, slot)
    point = ours.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    terminal.verify()
    assert terminal.use_key(algorithm, slot, point, tag=0x85) == (ours.exchange(ec.ECDH(), theirs), 0x9000)
    terminal.verify()
    off_curve = point[:-1] + bytes([point[-1] ^ 1])
    assert terminal.use_key(algorithm, slot, off_curve, tag=0x85) == (b"", 0x6A80)


@pytest.mark.parametrize("slot", [0x9A, 0x9C, 0x9D, 0x9E])
def test_metadata_tells_the_public_key_of_the_certificate(terminal: Any, slot: int) -> None:
    answer, status = terminal.command(0xF7, 0, slot)
    assert status == 0x9000
    public, fields = public_key(terminal, slot), dict(tlv.decode(dict(tlv.decode(answer))[4]))
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        assert {tag: int.from_bytes(value, "big") for tag, value in fields.items()} == {
            0x81: numbers.n,
            0x82: numbers.e,
        }
    else:
        encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        assert fields == {0x86: public.public_bytes(encoding, form)}


def test_every_key_pair_of_a_blank_card_is_missing(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank"))
    terminal.verify()
    for slot, entry in SLOTS.items():
        assert terminal.use_key(Algorithm.P256, slot, bytes(32))[1] == 0x6A86
        assert terminal.command(0xF7, 0, slot)[1] == 0x6A88
        assert terminal.command(0xCB, 0x3F, 0xFF, tlv.encode(0x5C, entry.certificate.to_bytes(3, "big")))[1] == 0x6A82
