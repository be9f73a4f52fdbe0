# SPDX-License-Identifier: MIT
"""Data objects of real sizes, in short and extended APDUs, and the table of their access rules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.tables import OBJECT_LIMIT, OBJECTS, PRIVATE_OBJECTS, PUBLIC_OBJECTS, SELF_TAGGED, Access

FACIAL_IMAGE, SIGNATURE_CERTIFICATE = 0x5FC108, 0x5FC10A


def tag_list(tag: int) -> bytes:
    return tlv.encode(0x5C, tag.to_bytes((tag.bit_length() + 7) // 8, "big"))


def put(terminal: Any, tag: int, value: bytes) -> int:
    data = tlv.encode(tag, value) if tag in SELF_TAGGED else tag_list(tag) + tlv.encode(0x53, value)
    status: int = terminal.command(0xDB, 0x3F, 0xFF, data)[1]
    return status


def get(terminal: Any, tag: int) -> tuple[bytes, int]:
    answer, status = terminal.command(0xCB, 0x3F, 0xFF, tag_list(tag))
    if status != 0x9000:
        return b"", status
    assert tlv.read(answer)[0] == (tag if tag in SELF_TAGGED else 0x53)
    assert tlv.read(answer)[2] == len(answer)
    return tlv.read(answer)[1], status


def test_every_tag_can_be_coded() -> None:
    assert [tlv.decode(tlv.encode(tag, b"1")) for tag in OBJECTS] == [[(tag, b"1")] for tag in OBJECTS]


@pytest.mark.parametrize("size", [1, 127, 128, 250, 251, 252, 253, 254, 255, 256, 257, 511, 512, 2000, OBJECT_LIMIT])
def test_sizes(terminal: Any, size: int) -> None:
    """Around every limit of a length's coding, of one answer and of one link."""
    terminal.manage()
    value = os.urandom(size)
    assert put(terminal, SIGNATURE_CERTIFICATE, value) == 0x9000
    assert get(terminal, SIGNATURE_CERTIFICATE) == (value, 0x9000)
    extended = bytes.fromhex("00CB3FFF 000005 5C035FC10A 0000")
    assert terminal.send(extended) == (tlv.encode(0x53, value), 0x9000)


def test_an_extended_put_is_one_command(terminal: Any) -> None:
    terminal.manage()
    data = tag_list(SIGNATURE_CERTIFICATE) + tlv.encode(0x53, bytes(3000))
    assert terminal.send(bytes.fromhex("00DB3FFF00") + len(data).to_bytes(2, "big") + data) == (b"", 0x9000)
    assert get(terminal, SIGNATURE_CERTIFICATE) == (bytes(3000), 0x9000)


def test_too_great_an_object_is_refused_and_the_old_one_stays(terminal: Any) -> None:
    terminal.manage()
    before = get(terminal, SIGNATURE_CERTIFICATE)
    assert put(terminal, SIGNATURE_CERTIFICATE, bytes(OBJECT_LIMIT + 1)) == 0x6A84
    assert put(terminal, SIGNATURE_CERTIFICATE, bytes(40_000)) == 0x6A84
    assert get(terminal, SIGNATURE_CERTIFICATE) == before


def test_a_chain_without_end_does_not_fill_the_memory(terminal: Any) -> None:
    link = bytes.fromhex("10DB3FFFFF") + bytes(255)
    answers = [terminal.send(link)[1] for _ in range(300)]
    assert set(answers) == {0x9000, 0x6A84}


@pytest.mark.parametrize("tag", OBJECTS, ids=lambda tag: f"{tag:X}")
def test_access_rules(card: PivCard, power: Callable[..., Any], tag: int) -> None:
    """Each rule of the table, by what is proved: nothing, the PIN, the management key."""
    proofs: dict[str, set[Access]] = {
        "": {Access.ALWAYS},
        "verify": {Access.ALWAYS, Access.PIN, Access.PIN_OR_MANAGEMENT},
        "manage": {Access.ALWAYS, Access.MANAGEMENT, Access.PIN_OR_MANAGEMENT},
    }
    for proof, enough in proofs.items():
        terminal = power(card)
        if proof:
            getattr(terminal, proof)()
        value = proof.encode() or b"nothing"
        assert put(terminal, tag, value) == (0x9000 if OBJECTS[tag].write in enough else 0x6982)
        assert (get(terminal, tag)[1] != 0x6982) is (OBJECTS[tag].read in enough)


def test_the_table_says_what_the_standard_says() -> None:
    """SP 800-73-4 part 1, table 2: over the contact interface these are read with the PIN only."""
    with_pin = {tag for tag, rules in OBJECTS.items() if rules.read is Access.PIN} - set(PRIVATE_OBJECTS)
    assert with_pin == {0x5FC103, 0x5FC108, 0x5FC109, 0x5FC121, 0x5FC123}
    by_pin = {tag for tag, rules in OBJECTS.items() if rules.write is not Access.MANAGEMENT}
    assert by_pin == {*PUBLIC_OBJECTS, *PRIVATE_OBJECTS}


def test_objects_last(card: PivCard, terminal: Any, power: Callable[..., Any]) -> None:
    terminal.manage()
    assert put(terminal, FACIAL_IMAGE, b"picture") == 0x9000
    assert put(terminal, SIGNATURE_CERTIFICATE, b"") == 0x9000
    again = power(card)
    assert get(again, FACIAL_IMAGE)[1] == 0x6982
    again.verify()
    assert get(again, FACIAL_IMAGE) == (b"picture", 0x9000)
    assert get(again, SIGNATURE_CERTIFICATE)[1] == 0x6A82
