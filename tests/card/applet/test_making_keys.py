# SPDX-License-Identifier: MIT
"""GENERATE ASYMMETRIC KEY PAIR and IMPORT KEY: the keys are there, work, and last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.tables import OWN_ALGORITHMS, RSA_BITS, Algorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

CURVES: dict[Algorithm, ec.EllipticCurve] = {
    Algorithm.P224: ec.SECP224R1(),
    Algorithm.P256: ec.SECP256R1(),
    Algorithm.P384: ec.SECP384R1(),
    Algorithm.P521: ec.SECP521R1(),
    Algorithm.K256: ec.SECP256K1(),
}
DIGESTS = {224: hashes.SHA224(), 256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


def check_ec(terminal: Any, algorithm: Algorithm, public: ec.EllipticCurvePublicKey) -> None:
    digest = DIGESTS[public.key_size]
    signature, status = terminal.use_key(algorithm, 0x9E, bytes(digest.digest_size))
    assert status == 0x9000
    public.verify(signature, bytes(digest.digest_size), ec.ECDSA(Prehashed(digest)))


def check_rsa(terminal: Any, algorithm: Algorithm, n: int, e: int) -> None:
    block = b"\0" + b"\x5a" * (RSA_BITS[algorithm] // 8 - 1)
    result, status = terminal.use_key(algorithm, 0x9E, block)
    assert status == 0x9000
    assert pow(int.from_bytes(result, "big"), e, n) == int.from_bytes(block, "big")


@pytest.mark.parametrize("algorithm", CURVES)
def test_generate_ec(blank: PivCard, manager: Any, power: Callable[..., Any], algorithm: Algorithm) -> None:
    answer, status = manager.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, algorithm)))
    assert status == 0x9000
    point = dict(tlv.decode(dict(tlv.decode(answer))[0x7F49]))[0x86]
    public = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[algorithm], point)
    check_ec(manager, algorithm, public)
    check_ec(power(blank), algorithm, public)


@pytest.mark.parametrize("algorithm", RSA_BITS)
def test_generate_rsa(blank: PivCard, manager: Any, power: Callable[..., Any], algorithm: Algorithm) -> None:
    answer, status = manager.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, algorithm)))
    assert status == 0x9000
    fields = dict(tlv.decode(dict(tlv.decode(answer))[0x7F49]))
    n, e = (int.from_bytes(fields[tag], "big") for tag in (0x81, 0x82))
    assert n.bit_length() == RSA_BITS[algorithm]
    check_rsa(manager, algorithm, n, e)
    check_rsa(power(blank), algorithm, n, e)


def test_a_new_key_takes_the_place_of_the_old_one_at_once(manager: Any) -> None:
    answers = [manager.command(0x47, 0, 0x9E, bytes.fromhex("AC03800111"))[0] for _ in range(2)]
    assert answers[0] != answers[1]
    point = dict(tlv.decode(dict(tlv.decode(answers[1]))[0x7F49]))[0x86]
    check_ec(manager, Algorithm.P256, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))


@pytest.mark.parametrize("algorithm", CURVES)
def test_import_ec(blank: PivCard, manager: Any, power: Callable[..., Any], algorithm: Algorithm) -> None:
    key = ec.generate_private_key(CURVES[algorithm])
    scalar = key.private_numbers().private_value.to_bytes((CURVES[algorithm].key_size + 7) // 8, "big")
    assert manager.command(0xFE, algorithm, 0x9E, tlv.encode(0x06, scalar)) == (b"", 0x9000)
    check_ec(power(blank), algorithm, key.public_key())
    assert dict(tlv.decode(power(blank).command(0xF7, 0, 0x9E)[0]))[3] == b"\2"


def rsa_numbers(key: rsa.RSAPrivateKey) -> dict[int, int]:
    numbers = key.private_numbers()
    return dict(enumerate((numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp), start=1))


def coded(numbers: dict[int, int]) -> bytes:
    return b"".join(tlv.encode(tag, number.to_bytes(256, "big")) for tag, number in numbers.items())


@pytest.mark.parametrize("algorithm", RSA_BITS)
def test_import_rsa(blank: PivCard, manager: Any, power: Callable[..., Any], algorithm: Algorithm) -> None:
    key = rsa.generate_private_key(65537, RSA_BITS[algorithm])
    assert manager.command(0xFE, algorithm, 0x9E, coded(rsa_numbers(key))) == (b"", 0x9000)
    check_rsa(power(blank), algorithm, key.public_key().public_numbers().n, 65537)


@pytest.mark.parametrize("exponent", [3, 17, 2**32 + 15])
def test_import_rsa_with_another_public_exponent(
    blank: PivCard, manager: Any, power: Callable[..., Any], exponent: int
) -> None:
    """The exponent does not come along; the card finds it from p and dP."""
    key = rsa_key(exponent)
    assert manager.command(0xFE, Algorithm.RSA1024, 0x9E, coded(rsa_numbers(key))) == (b"", 0x9000)
    check_rsa(power(blank), Algorithm.RSA1024, key.public_key().public_numbers().n, exponent)
    public = dict(tlv.decode(dict(tlv.decode(power(blank).command(0xF7, 0, 0x9E)[0]))[4]))
    assert int.from_bytes(public[0x82], "big") == exponent


def rsa_key(exponent: int) -> rsa.RSAPrivateKey:
    """An RSA-1024 key of primes that the exponent fits; cryptography makes no keys with any exponent."""
    while True:
        numbers = rsa.generate_private_key(65537, 1024).private_numbers()
        p, q, order = numbers.p, numbers.q, (numbers.p - 1) * (numbers.q - 1)
        if math.gcd(exponent, order) == 1:
            d = pow(exponent, -1, order)
            public = rsa.RSAPublicNumbers(exponent, p * q)
            return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, public).private_key()


def made(manager: Any, algorithm: Algorithm, key: Any) -> bytes:
    """The public key of a key pair in 9E: of an imported one if there is a key to import, else of a generated one."""
    if key is not None:
        tag = {Algorithm.ED25519: 7, Algorithm.X25519: 8}[algorithm]
        assert manager.command(0xFE, algorithm, 0x9E, tlv.encode(tag, key.private_bytes_raw())) == (b"", 0x9000)
        answer = dict(tlv.decode(manager.command(0xF7, 0, 0x9E)[0]))[4]
        assert tlv.decode(answer) == [(0x86, key.public_key().public_bytes_raw())]
        return key.public_key().public_bytes_raw()  # type: ignore[no-any-return]
    answer, status = manager.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, algorithm)))
    assert status == 0x9000
    ((tag, public),) = tlv.decode(dict(tlv.decode(answer))[0x7F49])
    assert tag == 0x86
    return public


@pytest.mark.parametrize("key", [None, ed25519.Ed25519PrivateKey.generate()], ids=["generated", "imported"])
@pytest.mark.parametrize("length", [0, 1, 32, 255, 5000, 60_000])
def test_ed25519(blank: PivCard, manager: Any, power: Callable[..., Any], key: Any, length: int) -> None:
    """A message of any length, and none at all is one, too (RFC 8032, 7.1)."""
    public = ed25519.Ed25519PublicKey.from_public_bytes(made(manager, Algorithm.ED25519, key))
    message = bytes(length)
    signature, status = power(blank).use_key(Algorithm.ED25519, 0x9E, message)
    assert status == 0x9000
    assert len(signature) == 64
    public.verify(signature, message)


@pytest.mark.parametrize("key", [None, x25519.X25519PrivateKey.generate()], ids=["generated", "imported"])
def test_x25519(blank: PivCard, manager: Any, power: Callable[..., Any], key: Any) -> None:
    public, ours = made(manager, Algorithm.X25519, key), x25519.X25519PrivateKey.generate()
    terminal = power(blank)
    point = ours.public_key().public_bytes_raw()
    secret = ours.exchange(x25519.X25519PublicKey.from_public_bytes(public))
    assert terminal.use_key(Algorithm.X25519, 0x9E, point, tag=0x85) == (secret, 0x9000)
    for wrong in (bytes(32), b"\1" + bytes(31), point[:-1], point + b"\0", b""):
        assert terminal.use_key(Algorithm.X25519, 0x9E, wrong, tag=0x85) == (b"", 0x6A80)
    assert terminal.use_key(Algorithm.X25519, 0x9E, point) == (b"", 0x6A80)


def test_rfc_8032_and_7748(manager: Any) -> None:
    """RFC 8032, 7.1, test 2; RFC 7748, 6.1."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    assert manager.command(0xFE, Algorithm.ED25519, 0x9E, tlv.encode(7, private))[1] == 0x9000
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert manager.use_key(Algorithm.ED25519, 0x9E, b"\x72") == (bytes.fromhex(signature), 0x9000)
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    secret = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert manager.command(0xFE, Algorithm.X25519, 0x9E, tlv.encode(8, private))[1] == 0x9000
    assert manager.use_key(Algorithm.X25519, 0x9E, bob, tag=0x85) == (secret, 0x9000)


def test_import_of_what_is_no_key(manager: Any) -> None:
    numbers = rsa_numbers(rsa.generate_private_key(65537, 2048))
    longer = rsa_numbers(rsa.generate_private_key(65537, 3072))
    wrong: dict[str, tuple[int, bytes]] = {
        "p is even": (Algorithm.RSA2048, coded(numbers | {1: numbers[1] - 1})),
        "dP of another key": (Algorithm.RSA2048, coded(numbers | {3: numbers[4]})),
        "q is missing": (Algorithm.RSA2048, coded({tag: each for tag, each in numbers.items() if tag != 2})),
        "something more": (Algorithm.RSA2048, coded(numbers | {0xAA: 1})),
        "nothing": (Algorithm.RSA2048, b""),
        "zeros": (Algorithm.RSA2048, coded(dict.fromkeys(range(1, 6), 0))),
        "longer than it says": (Algorithm.RSA2048, coded(longer)),
        "scalar 0": (Algorithm.P256, tlv.encode(0x06, bytes(32))),
        "scalar too great": (Algorithm.P256, tlv.encode(0x06, b"\xff" * 32)),
        "no scalar": (Algorithm.P256, tlv.encode(0x07, b"\1" * 32)),
        "an exponent that dP does not undo": (Algorithm.RSA2048, coded(numbers | {3: 2})),
        "an exponent as great as p": (Algorithm.RSA2048, coded(numbers | {3: numbers[1] - 2})),
        "Ed25519 in the tag of X25519": (Algorithm.ED25519, tlv.encode(0x08, b"\1" * 32)),
        "Ed25519 too short": (Algorithm.ED25519, tlv.encode(0x07, b"\1" * 31)),
        "X25519 too long": (Algorithm.X25519, tlv.encode(0x08, b"\1" * 33)),
        "cut off": (Algorithm.P256, tlv.encode(0x06, b"\1" * 32)[:-1]),
    }
    for what, (algorithm, data) in wrong.items():
        assert manager.command(0xFE, algorithm, 0x9E, data) == (b"", 0x6A80), what
    assert manager.command(0xFE, Algorithm.TDES, 0x9E, b"")[1] == 0x6A86
    assert manager.command(0xFE, Algorithm.P256, 0x9B, tlv.encode(0x06, b"\1" * 32))[1] == 0x6A86
    assert manager.command(0xF7, 0, 0x9E)[1] == 0x6A88


def test_import_asks_for_the_management_key(terminal: Any) -> None:
    terminal.verify()
    assert terminal.command(0xFE, Algorithm.P256, 0x9E, tlv.encode(0x06, b"\1" * 32)) == (b"", 0x6982)


def test_digest_filled_up_on_p521(manager: Any) -> None:
    """To the 66 bytes of the order; what is in front of the digest has to be zeros."""
    assert manager.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, Algorithm.P521)))[1] == 0x9000
    for front, expected in ((b"", 0x9000), (b"\0\0", 0x9000), (b"\0\1", 0x6A80), (b"\0\0\0", 0x6A80)):
        assert manager.use_key(Algorithm.P521, 0x9E, front + b"\x5a" * 64)[1] == expected


@pytest.mark.parametrize("algorithm", sorted(OWN_ALGORITHMS))
def test_keys_that_only_software_has(
    new_card: Callable[..., PivCard], power: Callable[..., Any], algorithm: Algorithm
) -> None:
    """A card that is somebody's make has none of them."""
    terminal = power(new_card("yubikey"))
    terminal.manage()
    assert terminal.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, algorithm)))[1] == 0x6A80
    assert terminal.command(0xFE, algorithm, 0x9E, tlv.encode(6, b"\1"))[1] in (0x6A80, 0x6A86)
