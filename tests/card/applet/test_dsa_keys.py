# SPDX-License-Identifier: MIT
"""DSA keys of a card that is asked for them: by no other algorithm identifiers than ours, in every slot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet import keys
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.crypto import dsa_keys
from cardtear.card.crypto.dsa_keys import Domain
from cardtear.card.issuing.profiles import open_card
from cardtear.card.tables import DSA_BITS, SLOTS, Algorithm
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ...shared.dsa_domains import DOMAINS

ALGORITHMS = pytest.mark.parametrize("algorithm", sorted(DSA_BITS))
P, Q, G, Y = 0x81, 0x82, 0x83, 0x84


@pytest.fixture
def manager(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> Any:
    """A blank card that has DSA, with the management key proved."""
    terminal = power(new_card("blank", legacy=True))
    terminal.manage()
    return terminal


def octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def generate(terminal: Any, slot: int, algorithm: int, domain: Domain | None, more: bytes = b"") -> tuple[bytes, int]:
    numbers = [] if domain is None else [tlv.encode(*each) for each in domain.encode(P).items()]
    answer: tuple[bytes, int] = terminal.command(
        0x47, 0, slot, tlv.encode(0xAC, bytes((0x80, 1, algorithm)), *numbers, more)
    )
    return answer


def load(terminal: Any, slot: int, algorithm: int, domain: Domain, value: int) -> int:
    numbers = {**domain.encode(0x09), 0x0C: octets(value)}
    status: int = terminal.command(0xFE, algorithm, slot, b"".join(tlv.encode(*each) for each in numbers.items()))[1]
    return status


def public_key(template: bytes) -> dsa.DSAPublicKey:
    """Out of an answer, whose tags are those of ISO/IEC 7816-8."""
    p, q, g, y = (int.from_bytes(dict(tlv.decode(template))[tag], "big") for tag in (P, Q, G, Y))
    return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()


@ALGORITHMS
@pytest.mark.parametrize("slot", [0x82, 0x9A, 0x9C, 0x9D, 0x9E])
def test_made_in_every_slot(manager: Any, slot: int, algorithm: Algorithm) -> None:
    """In the domain that came with the command; it signs digests of all lengths, longer ones by their beginning."""
    domain = DOMAINS[DSA_BITS[algorithm]]
    answer, status = generate(manager, slot, algorithm, domain)
    assert status == 0x9000
    public = public_key(tlv.read(answer)[1])
    assert dsa_keys.domain_of(public) == domain
    told = dict(tlv.decode(manager.command(0xF7, 0, slot)[0]))
    assert (told[1], told[3]) == (bytes([algorithm]), b"\1")
    assert public_key(told[4]).public_numbers() == public.public_numbers()
    manager.verify()
    for name in ("sha1", "sha224", "sha256", "sha384", "sha512"):
        manager.verify()
        digest = hashlib.new(name, b"data").digest()
        signature, status = manager.use_key(algorithm, slot, digest)
        assert status == 0x9000
        length = len(octets(domain.q))
        scheme = {20: hashes.SHA1(), 28: hashes.SHA224(), 32: hashes.SHA256()}[length]
        public.verify(signature, digest[:length].rjust(length, b"\0"), Prehashed(scheme))
        with pytest.raises(InvalidSignature):
            public.verify(signature, bytes(length), Prehashed(scheme))


@ALGORITHMS
def test_brought(manager: Any, algorithm: Algorithm) -> None:
    domain = DOMAINS[DSA_BITS[algorithm]]
    assert load(manager, 0x9E, algorithm, domain, 12345) == 0x9000
    told = dict(tlv.decode(manager.command(0xF7, 0, 0x9E)[0]))
    assert told[3] == b"\2"
    assert public_key(told[4]).public_numbers().y == pow(domain.g, 12345, domain.p)
    for length, expected in ((0, 0x6A80), (1, 0x9000), (20, 0x9000), (64, 0x9000), (65, 0x6A80)):
        assert manager.use_key(algorithm, 0x9E, bytes(length))[1] == expected
    assert manager.use_key(algorithm, 0x9E, b"\4" + bytes(64), tag=0x85)[1] == 0x6A80
    assert manager.use_key(Algorithm.P256, 0x9E, bytes(32))[1] == 0x6A86


def test_wrong_domains(manager: Any) -> None:
    """Nothing is made in them, by either command; the key that was there is."""
    good = DOMAINS[1024]
    assert load(manager, 0x9E, Algorithm.DSA1024, good, 5) == 0x9000
    before = manager.command(0xF7, 0, 0x9E)
    wrong = [
        None,
        DOMAINS[2048],
        good._replace(p=good.p - 1),
        good._replace(p=good.p - 2),
        good._replace(p=0),
        good._replace(q=good.q - 2),
        good._replace(q=0),
        good._replace(q=1),
        good._replace(q=good.p - 1),
        *(good._replace(g=g) for g in (0, 1, 2, good.p - 1, good.p, good.p + good.g)),
    ]
    for domain in wrong:
        assert generate(manager, 0x9E, Algorithm.DSA1024, domain) == (b"", 0x6A80), domain
        if domain is not None:
            assert load(manager, 0x9E, Algorithm.DSA1024, domain, 5) == 0x6A80, domain
    for value in (0, good.q, good.q + 5):
        assert load(manager, 0x9E, Algorithm.DSA1024, good, value) == 0x6A80
    assert generate(manager, 0x9E, Algorithm.DSA1024, good, tlv.encode(0x85, b"\1"))[1] == 0x6A80
    assert generate(manager, 0x9E, Algorithm.P256, good)[1] == 0x6A80
    for left_out in (0x09, 0x0A, 0x0B, 0x0C):
        numbers = {**good.encode(0x09), 0x0C: b"\5"}
        del numbers[left_out]
        data = b"".join(tlv.encode(*each) for each in numbers.items())
        assert manager.command(0xFE, Algorithm.DSA1024, 0x9E, data)[1] == 0x6A80
    assert manager.command(0xF7, 0, 0x9E) == before


@pytest.mark.parametrize("profile", ["blank", "piv", "yubikey"])
def test_only_if_asked_for(new_card: Callable[..., PivCard], power: Callable[..., Any], profile: str) -> None:
    """And never on a card that is somebody's make."""
    terminal = power(new_card(profile, legacy=profile == "yubikey"))
    terminal.manage()
    for algorithm, bits in DSA_BITS.items():
        assert generate(terminal, 0x9E, algorithm, DOMAINS[bits])[1] == 0x6A80
        assert load(terminal, 0x9E, algorithm, DOMAINS[bits], 5) == 0x6A86


def test_kept_in_the_image(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """Closed and opened again: the same keys, which still sign."""
    card = new_card("blank", legacy=True)
    terminal = power(card)
    terminal.manage()
    slots = dict(zip(SLOTS, DSA_BITS, strict=False))
    for slot, algorithm in slots.items():
        assert load(terminal, slot, algorithm, DOMAINS[DSA_BITS[algorithm]], 7) == 0x9000
    path, before = card.store.path, {slot: terminal.command(0xF7, 0, slot) for slot in slots}
    card.close()
    again = open_card(path)
    terminal = power(again)
    assert {slot: terminal.command(0xF7, 0, slot) for slot in slots} == before
    for slot, algorithm in slots.items():
        terminal.verify()
        assert terminal.use_key(algorithm, slot, bytes(20))[1] == 0x9000
    again.close()


def test_certificate_and_pair() -> None:
    """What tells a certificate's key, and the same key again, works with DSA, too."""
    one, other = (dsa_keys.private_key(DOMAINS[1024], value) for value in (5, 6))
    stored = [keys.StoredKey(keys.algorithm_of(key), keys.pack(key)) for key in (one, other)]  # type: ignore[attr-defined]
    assert [each.algorithm for each in stored] == [Algorithm.DSA1024] * 2
    assert keys.same_pair(stored[0], replace(stored[0], imported=True))
    assert not keys.same_pair(*stored)
