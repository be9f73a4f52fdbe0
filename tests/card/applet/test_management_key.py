# SPDX-License-Identifier: MIT
"""Authentication with the management key, 3DES and AES, as a host does it with the key in its hands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.management import DEFAULT_MANAGEMENT_KEY
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.tables import MANAGEMENT_KEY_LENGTHS, Algorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PUT_NOTHING = bytes.fromhex("5C035FC10D5300")
WITNESS, CHALLENGE, RESPONSE = 0x80, 0x81, 0x82


class Host:
    """A host that has the management key."""

    def __init__(self, terminal: Any, algorithm: Algorithm, key: bytes) -> None:
        self.terminal, self.algorithm = terminal, algorithm
        self.cipher = Cipher(TripleDES(key) if algorithm is Algorithm.TDES else algorithms.AES(key), modes.ECB())
        self.length = 8 if algorithm is Algorithm.TDES else 16

    def encipher(self, block: bytes) -> bytes:
        return self.cipher.encryptor().update(block)

    def decipher(self, block: bytes) -> bytes:
        return self.cipher.decryptor().update(block)

    def step(self, *fields: tuple[int, bytes]) -> tuple[dict[int, bytes], int]:
        template = tlv.encode(0x7C, *(tlv.encode(tag, value) for tag, value in fields))
        answer, status = self.terminal.command(0x87, self.algorithm, 0x9B, template)
        return dict(tlv.decode(tlv.read(answer)[1])) if answer else {}, status

    def may_write(self) -> bool:
        status: int = self.terminal.command(0xDB, 0x3F, 0xFF, PUT_NOTHING)[1]
        assert status in (0x9000, 0x6982)
        return status == 0x9000


@pytest.fixture(params=MANAGEMENT_KEY_LENGTHS, ids=lambda algorithm: algorithm.name)
def host(request: pytest.FixtureRequest, card: PivCard, power: Callable[..., Any]) -> Host:
    """A host and a card whose management key is of the algorithm, freshly reset."""
    algorithm: Algorithm = request.param
    key = os.urandom(MANAGEMENT_KEY_LENGTHS[algorithm])
    terminal = power(card)
    terminal.manage()
    assert terminal.command(0xFF, 0xFF, 0xFF, bytes((algorithm, 0x9B, len(key))) + key) == (b"", 0x9000)
    return Host(power(card), algorithm, key)


def test_single(host: Host) -> None:
    assert not host.may_write()
    fields, _ = host.step((CHALLENGE, b""))
    assert len(fields[CHALLENGE]) == host.length
    assert host.step((RESPONSE, host.encipher(fields[CHALLENGE]))) == ({}, 0x9000)
    assert host.may_write()


def test_mutual(host: Host) -> None:
    ours = os.urandom(host.length)
    fields, _ = host.step((WITNESS, b""))
    answer, status = host.step((WITNESS, host.decipher(fields[WITNESS])), (CHALLENGE, ours))
    assert (answer, status) == ({RESPONSE: host.encipher(ours)}, 0x9000)
    assert host.may_write()


def test_internal_proves_the_card_not_the_host(host: Host) -> None:
    ours = os.urandom(host.length)
    assert host.step((RESPONSE, b""), (CHALLENGE, ours)) == ({RESPONSE: host.encipher(ours)}, 0x9000)
    assert not host.may_write()


def test_the_card_cannot_be_made_to_answer_its_own_challenge(host: Host) -> None:
    """Having it encipher what it asked makes it forget that it asked."""
    fields, _ = host.step((CHALLENGE, b""))
    answer, _ = host.step((RESPONSE, b""), (CHALLENGE, fields[CHALLENGE]))
    assert answer[RESPONSE] == host.encipher(fields[CHALLENGE])
    assert host.step((RESPONSE, answer[RESPONSE]))[1] == 0x6982
    assert not host.may_write()


def test_a_challenge_is_good_once_and_until_reset(host: Host, card: PivCard, power: Callable[..., Any]) -> None:
    fields, _ = host.step((CHALLENGE, b""))
    answer = host.encipher(fields[CHALLENGE])
    assert host.step((RESPONSE, answer))[1] == 0x9000
    assert host.step((RESPONSE, answer))[1] == 0x6982
    host.step((CHALLENGE, b""))
    host.terminal = power(card)
    assert host.step((RESPONSE, answer))[1] == 0x6982
    assert not host.may_write()


def test_a_chain_that_is_broken_off_answers_nothing(host: Host) -> None:
    """The challenge is open as before (SP 800-73-5 part 2, 3.2.4)."""
    fields, _ = host.step((CHALLENGE, b""))
    assert host.terminal.send(bytes((0x10, 0x87, host.algorithm, 0x9B, 4)) + b"\x7c\x0a\x82\x08")[1] == 0x9000
    assert host.terminal.send("00CB3FFF035C017E00")[1] == 0x9000
    assert host.step((RESPONSE, host.encipher(fields[CHALLENGE]))) == ({}, 0x9000)
    assert host.may_write()


def test_challenges_differ(host: Host) -> None:
    assert host.step((CHALLENGE, b""))[0] != host.step((CHALLENGE, b""))[0]
    assert host.step((WITNESS, b""))[0] != host.step((WITNESS, b""))[0]


def test_the_default_key_of_a_new_card(terminal: Any) -> None:
    host = Host(terminal, Algorithm.TDES, DEFAULT_MANAGEMENT_KEY)
    fields, _ = host.step((CHALLENGE, b""))
    assert host.step((RESPONSE, host.encipher(fields[CHALLENGE])))[1] == 0x9000
