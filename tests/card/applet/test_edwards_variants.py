# SPDX-License-Identifier: MIT
"""GENERAL AUTHENTICATE of an Edwards key with a context or for a hash, by identifiers of our own card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.crypto import edwards
from cardtear.card.tables import EDWARDS_VARIANTS, Algorithm
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

KEYS: dict[Algorithm, Any] = {
    Algorithm.ED25519: ed25519.Ed25519PrivateKey.from_private_bytes(b"\5" * 32),
    Algorithm.ED448: ed448.Ed448PrivateKey.from_private_bytes(b"\5" * 57),
}
IDENTIFIERS = pytest.mark.parametrize(("identifier", "algorithm"), EDWARDS_VARIANTS.items())


def use(terminal: Any, identifier: int, message: bytes, *variant: bytes) -> tuple[bytes, int]:
    """The signature, and the status word."""
    fields = [b"\x82\x00", tlv.encode(0x81, message), *(tlv.encode(0x8E, each) for each in variant)]
    answer, status = terminal.command(0x87, identifier, 0x9E, tlv.encode(0x7C, *fields))
    return (dict(tlv.decode(tlv.read(answer)[1]))[0x82] if status == 0x9000 else answer), status


def load(terminal: Any, algorithm: Algorithm) -> None:
    data = tlv.encode(0x07, KEYS[algorithm].private_bytes_raw())
    assert terminal.command(0xFE, algorithm, 0x9E, data)[1] == 0x9000


@IDENTIFIERS
@pytest.mark.parametrize("prehashed", [False, True])
@pytest.mark.parametrize("length", [0, 1, 255])
def test_signs(manager: Any, identifier: int, algorithm: Algorithm, prehashed: bool, length: int) -> None:
    load(manager, algorithm)
    for message in (b"", b"data", bytes(1000)):
        signature, status = use(manager, identifier, message, bytes([prehashed]) + bytes(length))
        assert status == 0x9000
        edwards.verify(KEYS[algorithm].public_key(), signature, message, edwards.Variant(bytes(length), prehashed))


@IDENTIFIERS
def test_what_is_no_variant(manager: Any, identifier: int, algorithm: Algorithm) -> None:
    """Another byte before the context, a longer context, none; a key of another kind."""
    load(manager, algorithm)
    for variant in ([], [b""], [b"\2"], [b"\xff"], [b"\0" + bytes(256)], [b"\1" + bytes(256)]):
        assert use(manager, identifier, b"data", *variant) == (b"", 0x6A80)
    other = next(each for each in EDWARDS_VARIANTS if each != identifier)
    assert use(manager, other, b"data", b"\0")[1] == 0x6A86
    assert manager.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, Algorithm.P256)))[1] == 0x9000
    assert use(manager, identifier, b"data", b"\0")[1] == 0x6A86
    assert manager.command(0x47, 0, 0x9E, bytes((0xAC, 3, 0x80, 1, identifier)))[1] == 0x6A80


def test_no_other_card(new_card: Callable[..., Any], power: Callable[..., Any]) -> None:
    terminal = power(new_card("yubikey"))
    terminal.manage()
    load(terminal, Algorithm.ED25519)
    assert use(terminal, 0xFA, b"data", b"\1") == (b"", 0x6A80)
