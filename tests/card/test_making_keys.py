# SPDX-License-Identifier: MIT
"""GENERATE ASYMMETRIC KEY PAIR and IMPORT KEY: the keys are there, work, and last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.piv_card import PivCard
from cardtear.card.tables import RSA_BITS, Algorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

CURVES = {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}


@pytest.fixture
def blank(new_card: Callable[..., PivCard]) -> PivCard:
    return new_card("blank")


@pytest.fixture
def manager(blank: PivCard, power: Callable[..., Any]) -> Any:
    """A blank card with the management key proved."""
    terminal = power(blank)
    terminal.manage()
    return terminal


def check_ec(terminal: Any, algorithm: Algorithm, public: ec.EllipticCurvePublicKey) -> None:
    digest = hashes.SHA256() if algorithm is Algorithm.P256 else hashes.SHA384()
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
    scalar = key.private_numbers().private_value.to_bytes(CURVES[algorithm].key_size // 8, "big")
    assert manager.command(0xFE, algorithm, 0x9E, tlv.encode(0x06, scalar)) == (b"", 0x9000)
    check_ec(power(blank), algorithm, key.public_key())
    assert dict(tlv.decode(power(blank).command(0xF7, 0, 0x9E)[0]))[3] == b"\2"


def rsa_numbers(key: rsa.RSAPrivateKey) -> dict[int, int]:
    numbers = key.private_numbers()
    return dict(enumerate((numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp), start=1))


def coded(numbers: dict[int, int]) -> bytes:
    return b"".join(tlv.encode(tag, number.to_bytes(192, "big")) for tag, number in numbers.items())


@pytest.mark.parametrize("algorithm", RSA_BITS)
def test_import_rsa(blank: PivCard, manager: Any, power: Callable[..., Any], algorithm: Algorithm) -> None:
    key = rsa.generate_private_key(65537, RSA_BITS[algorithm])
    assert manager.command(0xFE, algorithm, 0x9E, coded(rsa_numbers(key))) == (b"", 0x9000)
    check_rsa(power(blank), algorithm, key.public_key().public_numbers().n, 65537)


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
