# SPDX-License-Identifier: MIT
"""What Yubico tests its devices with, by its library: tries, resets, management keys, and a card that others reset."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from .libykpiv import Library, Result
from .yubico import MANAGEMENT_KEY, PIN, PUK, YubiKey, older_key, pcscd

__all__ = ["older_key", "pcscd"]

pytestmark = pytest.mark.needs("yubico-piv-tool")

RSA1024 = 0x06
WELL_KNOWN = bytes.fromhex(MANAGEMENT_KEY)
BLOCK = bytes(128)


@pytest.fixture
def library(older_key: YubiKey) -> Iterator[Library]:
    """Connected, with the management key proved."""
    library = Library()
    assert library.authenticate(WELL_KNOWN) is Result.OK
    yield library
    library.close()


def block(library: Library) -> int:
    """PIN and PUK; how many wrong PINs it has taken."""
    tries = 0
    while library.verify("AAAAAA") is Result.WRONG_PIN:
        tries += 1
    assert library.pin_retries() == 0
    while library.change("change_puk", "AAAAAAAA", "AAAAAAAA") is Result.WRONG_PIN:
        pass
    return tries


def test_tries_and_reset(library: Library) -> None:
    assert block(library) == 3
    assert library.verify(PIN) is Result.PIN_LOCKED
    assert library.reset() is Result.OK
    assert library.authenticate(WELL_KNOWN) is Result.OK
    assert library.verify(PIN) is Result.OK
    assert library.set_pin_retries(8, 3) is Result.OK
    assert block(library) == 8
    assert library.reset() is Result.OK
    assert library.verify("AAAAAA") is Result.WRONG_PIN
    assert library.pin_retries() == 2
    assert library.verify(PIN) is Result.OK
    assert library.pin_retries() == 3
    assert library.pin_retries() == 3


def test_pin_and_puk(library: Library) -> None:
    assert library.change("change_pin", PIN, "ABCDEF") is Result.OK
    assert library.verify(PIN) is Result.WRONG_PIN
    assert library.verify("ABCDEF") is Result.OK
    assert library.change("change_puk", PUK, "ABCDEFGH") is Result.OK
    assert library.change("unblock_pin", PUK, PIN) is Result.WRONG_PIN
    assert library.change("unblock_pin", "ABCDEFGH", PIN) is Result.OK
    assert library.verify(PIN) is Result.OK


def test_attestation(library: Library) -> None:
    """Of a key that the card has made, and of no other."""
    key = rsa.generate_private_key(65537, 1024).private_numbers()
    numbers = [each.to_bytes(64, "big") for each in (key.p, key.q, key.dmp1, key.dmq1, key.iqmp)]
    assert library.attest(0x9A) is not Result.OK
    assert library.import_key(0x9A, RSA1024, numbers) is Result.OK
    assert library.attest(0x9A) is Result.ARGUMENT_ERROR
    assert library.generate(0x9A, RSA1024) is Result.OK
    assert library.attest(0x9A) is Result.OK


def test_management_key(library: Library) -> None:
    assert library.authenticate(os.urandom(24)) is Result.AUTHENTICATION_ERROR
    assert library.authenticate(WELL_KNOWN) is Result.OK
    assert library.verify(PIN) is Result.OK
    key = os.urandom(24)
    assert library.set_protected_key(key) is Result.OK
    assert library.protected_key() == key
    assert library.authenticate(WELL_KNOWN) is Result.AUTHENTICATION_ERROR
    assert library.authenticate(key) is Result.OK
    value = bytes(range(256)) * 4
    assert library.write_certificate(0x9A, value) is Result.OK
    assert library.certificate(0x9A) == value


def test_pin_always(library: Library) -> None:
    assert library.generate(0x9E, RSA1024, pin_policy=3) is Result.OK
    for _ in range(2):
        assert library.decipher(0x9E, RSA1024, BLOCK) is Result.AUTHENTICATION_ERROR
        assert library.verify(PIN) is Result.OK
        assert library.decipher(0x9E, RSA1024, BLOCK) is Result.OK


def test_another_program_resets_the_card(library: Library) -> None:
    """The library connects again, and gives the PIN that it has kept."""
    assert library.generate(0x9A, RSA1024) is Result.OK
    library.reconnect()
    assert library.decipher(0x9A, RSA1024, BLOCK) is Result.AUTHENTICATION_ERROR
    assert library.verify(PIN) is Result.OK
    assert library.decipher(0x9A, RSA1024, BLOCK) is Result.OK
    Library().close()
    assert library.decipher(0x9A, RSA1024, BLOCK) is Result.OK


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_card_is_pulled(older_key: YubiKey, library: Library, when: str) -> None:
    """In the middle of a decipherment: an error; a connection to the card that is back works."""
    assert library.generate(0x9A, RSA1024) is Result.OK
    assert library.verify(PIN) is Result.OK
    older_key.pull_at(0x87, when)
    assert library.decipher(0x9A, RSA1024, BLOCK) is Result.PCSC_ERROR
    older_key.put_back()
    again = Library()
    assert again.verify(PIN) is Result.OK
    assert again.decipher(0x9A, RSA1024, BLOCK) is Result.OK
    again.close()
