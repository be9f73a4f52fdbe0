# SPDX-License-Identifier: MIT
"""Key slots: the retired ones, policies of single keys, and MOVE KEY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.tables import (
    DSA_BITS,
    KEY_PAIR_ALGORITHMS,
    MONTGOMERY_ALGORITHMS,
    RSA_BITS,
    SLOTS,
    Algorithm,
    PinRule,
)

RETIRED = range(0x82, 0x96)
RULES = {1: PinRule.NEVER, 2: PinRule.ONCE, 3: PinRule.ALWAYS}


def generate(terminal: Any, slot: int, algorithm: int = Algorithm.P256, policies: bytes = b"") -> int:
    template = tlv.encode(0xAC, bytes((0x80, 1, algorithm)), policies)
    status: int = terminal.command(0x47, 0, slot, template)[1]
    return status


def metadata(terminal: Any, slot: int) -> dict[int, bytes]:
    answer, status = terminal.command(0xF7, 0, slot)
    return dict(tlv.decode(answer)) if status == 0x9000 else {}


def use(terminal: Any, algorithm: int, slot: int) -> int:
    """Whether the key can be used: 9000 or 6982."""
    if algorithm in MONTGOMERY_ALGORITHMS:
        point = b"\x09" + bytes(31) if algorithm == Algorithm.X25519 else b"\x05" + bytes(55)
        status: int = terminal.use_key(algorithm, slot, point, tag=0x85)[1]
    else:
        length = RSA_BITS.get(Algorithm(algorithm), 256) // 8
        status = terminal.use_key(algorithm, slot, bytes(length))[1]
    return status


@pytest.mark.parametrize("slot", RETIRED)
def test_a_retired_slot(blank: PivCard, manager: Any, power: Callable[..., Any], slot: int) -> None:
    """It asks for the PIN once, and its certificate lies at 5FC10D and up (SP 800-73-4 part 1, table 3)."""
    assert generate(manager, slot) == 0x9000
    assert SLOTS[slot].certificate == 0x5FC10D + slot - 0x82
    terminal = power(blank)
    assert use(terminal, Algorithm.P256, slot) == 0x6982
    terminal.verify()
    assert [use(terminal, Algorithm.P256, slot) for _ in range(2)] == [0x9000, 0x9000]
    assert metadata(terminal, slot)[2] == b"\2\1"


@pytest.mark.parametrize(
    "algorithm", sorted(KEY_PAIR_ALGORITHMS - {Algorithm.RSA3072, Algorithm.RSA4096} - DSA_BITS.keys())
)
@pytest.mark.parametrize("slot", [0x82, 0x95, 0x9A, 0x9C, 0x9D, 0x9E])
def test_every_algorithm_in_every_slot(manager: Any, slot: int, algorithm: Algorithm) -> None:
    assert generate(manager, slot, algorithm) == 0x9000
    manager.verify()
    assert use(manager, algorithm, slot) == 0x9000
    assert metadata(manager, slot)[1] == bytes([algorithm])


@pytest.mark.parametrize("slot", [0x96, 0x81, 0x80, 0x9B, 0xFF, 0x00])
def test_what_is_no_key_slot(manager: Any, slot: int) -> None:
    assert generate(manager, slot) == 0x6A86
    assert manager.command(0xFE, Algorithm.P256, slot, tlv.encode(6, b"\1" * 32))[1] == 0x6A86
    assert manager.command(0xF6, 0x9A, slot)[1] == 0x6A86


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("policy", RULES)
@pytest.mark.parametrize("slot", [0x82, 0x9A, 0x9C, 0x9E])
def test_a_pin_policy_of_its_own(
    blank: PivCard, manager: Any, power: Callable[..., Any], slot: int, policy: int, imported: bool
) -> None:
    policies = tlv.encode(0xAA, bytes([policy])) + tlv.encode(0xAB, b"\2")
    if imported:
        numbers = tlv.encode(6, b"\1" * 32) + policies
        assert manager.command(0xFE, Algorithm.P256, slot, numbers) == (b"", 0x9000)
    else:
        assert generate(manager, slot, policies=policies) == 0x9000
    terminal = power(blank)
    assert metadata(terminal, slot)[2] == bytes((policy, 2))
    assert use(terminal, Algorithm.P256, slot) == (0x9000 if policy == 1 else 0x6982)
    terminal.verify()
    assert use(terminal, Algorithm.P256, slot) == 0x9000
    assert use(terminal, Algorithm.P256, slot) == (0x6982 if policy == 3 else 0x9000)


@pytest.mark.parametrize("slot", [0x82, 0x9A, 0x9C, 0x9E])
def test_the_policy_of_the_slot(manager: Any, slot: int) -> None:
    """Left out and 0 are the same."""
    for policies in (b"", bytes.fromhex("AA0100 AB0100")):
        assert generate(manager, slot, policies=policies) == 0x9000
        assert RULES[metadata(manager, slot)[2][0]] is SLOTS[slot].pin_rule
        assert metadata(manager, slot)[2][1] == 1


@pytest.mark.parametrize("policies", ["AA0104", "AA01FF", "AA020101", "AA00", "AB0104", "AB00", "AC0101"])
def test_what_is_no_policy(manager: Any, policies: str) -> None:
    assert generate(manager, 0x9A, policies=bytes.fromhex(policies)) == 0x6A80
    numbers = tlv.encode(6, b"\1" * 32) + bytes.fromhex(policies)
    assert manager.command(0xFE, Algorithm.P256, 0x9A, numbers) == (b"", 0x6A80)
    assert metadata(manager, 0x9A) == {}


def test_move(blank: PivCard, manager: Any, power: Callable[..., Any]) -> None:
    """The key goes with its policies; the certificate stays where it is."""
    assert generate(manager, 0x9C) == 0x9000
    certificate = bytes.fromhex("5C035FC10A 5303700101")
    assert manager.command(0xDB, 0x3F, 0xFF, certificate)[1] == 0x9000
    before = metadata(manager, 0x9C)
    assert manager.command(0xF6, 0x82, 0x9C) == (b"", 0x9000)
    assert (metadata(manager, 0x82), metadata(manager, 0x9C)) == (before, {})
    terminal = power(blank)
    assert (metadata(terminal, 0x82), metadata(terminal, 0x9C)) == (before, {})
    assert terminal.command(0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC10A"))[1] == 0x9000
    terminal.verify()
    assert use(terminal, Algorithm.P256, 0x82) == 0x9000
    assert use(terminal, Algorithm.P256, 0x82) == 0x6982
    assert use(terminal, Algorithm.P256, 0x9C) == 0x6A86


def test_move_away(blank: PivCard, manager: Any, power: Callable[..., Any]) -> None:
    assert generate(manager, 0x95) == 0x9000
    assert manager.command(0xF6, 0xFF, 0x95) == (b"", 0x9000)
    assert metadata(manager, 0x95) == metadata(power(blank), 0x95) == {}
    assert blank.store.state.keys.keys() == {0x9B}


def test_a_move_that_cannot_be(manager: Any) -> None:
    generate(manager, 0x9A)
    generate(manager, 0x9C)
    before = metadata(manager, 0x9A), metadata(manager, 0x9C)
    refused = {
        (0x9D, 0x9E): 0x6A88,
        (0xFF, 0x9E): 0x6A88,
        (0x9C, 0x9A): 0x6A80,
        (0x9A, 0x9A): 0x6A80,
        (0x9B, 0x9A): 0x6A86,
        (0x9D, 0x9B): 0x6A86,
        (0xFF, 0x9B): 0x6A86,
        (0x96, 0x9A): 0x6A86,
    }
    for (destination, source), status in refused.items():
        assert manager.command(0xF6, destination, source) == (b"", status)
    assert manager.command(0xF6, 0x9D, 0x9A, b"\0") == (b"", 0x6A80)
    assert (metadata(manager, 0x9A), metadata(manager, 0x9C)) == before


def test_a_move_asks_for_the_management_key(terminal: Any) -> None:
    terminal.verify()
    assert terminal.command(0xF6, 0x82, 0x9A) == (b"", 0x6982)
    assert terminal.command(0xF6, 0xFF, 0x9A) == (b"", 0x6982)
