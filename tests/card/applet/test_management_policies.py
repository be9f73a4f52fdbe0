# SPDX-License-Identifier: MIT
"""How software gets the management key of a ready-made card, under each policy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.management import DEFAULT_MANAGEMENT_KEY, derived_key
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import Algorithm
from cardtear.card.token_traits import MANAGEMENT_POLICIES
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PRINTED, ADMIN, SALT = (bytes.fromhex(f"5C03{tag}") for tag in ("5FC109", "5FFF00", "5FFF22"))


def get(terminal: Any, name: bytes) -> bytes | None:
    answer, status = terminal.command(0xCB, 0x3F, 0xFF, name)
    return tlv.read(answer)[1] if status == 0x9000 else None


def accepts(terminal: Any, algorithm: Algorithm, key: bytes) -> bool:
    """Whether the card takes this for its management key, and lets itself be written then."""
    template, status = terminal.command(0x87, algorithm, 0x9B, bytes.fromhex("7C028100"))
    if status != 0x9000:
        return False
    cipher = Cipher(TripleDES(key) if algorithm is Algorithm.TDES else algorithms.AES(key), modes.ECB())
    answer = tlv.encode(0x7C, tlv.encode(0x82, cipher.encryptor().update(template[4:])))
    taken = terminal.command(0x87, algorithm, 0x9B, answer)[1] == 0x9000
    written = terminal.command(0xDB, 0x3F, 0xFF, bytes.fromhex("5C035FC10D 530101"))[1] == 0x9000
    assert taken is written
    return taken


def test_pin(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """Byte by byte what Yubico's software writes for a PIN-protected management key, and reads."""
    terminal = power(new_card("blank", management="pin"))
    assert get(terminal, ADMIN) == bytes.fromhex("8003810102")
    assert get(terminal, PRINTED) is None
    terminal.verify()
    protected = get(terminal, PRINTED)
    assert protected is not None
    assert protected[:4] == bytes.fromhex("881A8918")
    assert len(protected) == 4 + 24
    assert accepts(terminal, Algorithm.AES192, protected[4:])
    assert terminal.command(0xF7, 0, 0x9B)[0].startswith(b"\1\1\x0a")


def test_so(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", management="so", puk="secret"))
    salt = get(terminal, SALT)
    assert salt is not None
    assert (salt[:2], len(salt)) == (b"\x80\x10", 18)
    key = hashlib.pbkdf2_hmac("sha1", b"secret", salt[2:], 10_000, 24)
    assert derived_key("secret", salt[2:]) == key
    assert not accepts(terminal, Algorithm.AES192, derived_key("12345678", salt[2:]))
    assert accepts(terminal, Algorithm.AES192, key)
    terminal.verify()
    assert (get(terminal, PRINTED), get(terminal, ADMIN)) == (None, None)


def test_derived(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """Byte by byte what Yubico's software writes for a key that is made from the PIN: flags and salt."""
    terminal = power(new_card("blank", management="derived", pin="654321"))
    admin = get(terminal, ADMIN)
    assert admin is not None
    assert admin[:7] == bytes.fromhex("8015 810100 8210")
    assert accepts(terminal, Algorithm.AES192, hashlib.pbkdf2_hmac("sha1", b"654321", admin[7:], 10_000, 24))


@pytest.mark.parametrize("name", ["tdes", "aes128", "aes192", "aes256"])
def test_algorithms(new_card: Callable[..., PivCard], power: Callable[..., Any], name: str) -> None:
    algorithm = Algorithm[name.upper()]
    terminal = power(new_card("blank", management="pin", management_algorithm=name))
    terminal.verify()
    protected = get(terminal, PRINTED)
    assert protected is not None
    assert accepts(terminal, algorithm, protected[4:])
    assert terminal.command(0xF7, 0, 0x9B)[0] == bytes((1, 1, algorithm)) + bytes.fromhex("02020001 050100")


def test_the_derivation() -> None:
    """A value of PBKDF2-HMAC-SHA1 that OpenSSL gives: openssl kdf -keylen 24 -kdfopt digest:SHA1 ... PBKDF2."""
    assert derived_key("12345678", bytes(range(16))).hex() == "43132d34370d4655008e803667bff885b823a77a3f9139a9"


def test_none(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", management="none"))
    terminal.verify()
    assert {get(terminal, name) for name in (PRINTED, ADMIN, SALT)} == {None}
    assert not accepts(terminal, Algorithm.AES192, DEFAULT_MANAGEMENT_KEY)
    assert not accepts(terminal, Algorithm.TDES, DEFAULT_MANAGEMENT_KEY)


def test_default(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", management="default"))
    terminal.verify()
    assert {get(terminal, name) for name in (PRINTED, ADMIN, SALT)} == {None}
    assert accepts(terminal, Algorithm.TDES, DEFAULT_MANAGEMENT_KEY)


def test_two_cards_share_no_key(new_card: Callable[..., PivCard]) -> None:
    for policy in ("pin", "so", "none"):
        keys = {new_card("blank", management=policy, name=name).store.state.keys[0x9B].value for name in ("A", "B")}
        assert len(keys) == 2


@pytest.mark.parametrize("policy", MANAGEMENT_POLICIES)
def test_the_card_tells_its_policy(new_card: Callable[..., PivCard], policy: str) -> None:
    assert CardRequest().management == "pin"
    objects = new_card("blank", management=policy).store.state.objects
    assert objects.get(0x5FFF21) == (None if policy == "pin" else b'{"management":"%s"}' % policy.encode())
