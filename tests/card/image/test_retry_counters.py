# SPDX-License-Identifier: MIT
"""A try is counted on the disk before anything is compared, whatever else is in the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.applet import references
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.image import retry_counters
from cardtear.card.image.encryption import UNENCRYPTED
from cardtear.card.image.state import Reference
from cardtear.card.image.store import ImageError, read_image
from cardtear.card.tables import PIN, PUK

RIGHT, WRONG = b"123456\xff\xff", b"123457\xff\xff"
NEW = b"654321\xff\xff"
TAG_LENGTH = 8
COMMANDS = {"VERIFY": (0x20, PIN, b""), "CHANGE": (0x24, PIN, NEW), "RESET": (0x2C, PUK, NEW)}


def left_in_file(card: PivCard, tmp_path: Path) -> tuple[int, int]:
    """The tries of PIN and PUK that somebody finds who takes the file as it is now."""
    copy = tmp_path / "taken.card"
    copy.write_bytes(card.store._file.read())  # nobody can open it in the middle of a change
    state = read_image(copy)
    return state.references[PIN].remaining, state.references[PUK].remaining


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("what", COMMANDS)
def test_it_is_counted_before_it_is_compared(
    card: PivCard, terminal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, is_right: bool
) -> None:
    ins, number, new = COMMANDS[what]
    value = {PIN: (WRONG, RIGHT), PUK: (b"87654321", b"12345678")}[number][is_right]
    seen = []

    class Comparison:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            seen.append(left_in_file(card, tmp_path))
            return one == other

    monkeypatch.setattr(references, "hmac", Comparison)
    status = terminal.command(ins, 0, 0x80, value + new)[1]
    assert seen == [(2, 3) if number == PIN else (3, 2)]
    assert status == (0x9000 if is_right else 0x63C2)
    assert left_in_file(card, tmp_path) == ((3, 3) if is_right else seen[0])


def test_counters_move_with_their_rows(card: PivCard, terminal: Any, power: Callable[..., Any], tmp_path: Path) -> None:
    """Each change of a PIN or PUK writes the rows anew; what is counted afterwards is still the right one's."""
    pins = [RIGHT, NEW]
    for turn in range(6):
        old, new = pins[turn % 2], pins[1 - turn % 2]
        assert terminal.command(0x24, 0, 0x80, old + new)[1] == 0x9000
        assert terminal.verify(WRONG) == 0x63C2
        assert left_in_file(card, tmp_path) == (2, 3)
        assert terminal.command(0x24, 0, 0x81, b"12345678" * 2)[1] == 0x9000
        assert terminal.command(0x24, 0, 0x81, b"8765432112345678")[1] == 0x63C2
        assert left_in_file(card, tmp_path) == (2, 2)
        assert terminal.command(0x2C, 0, 0x80, b"12345678" + new)[1] == 0x9000
        assert left_in_file(card, tmp_path) == (3, 3)


def test_more_references_than_a_page_holds(card: PivCard, tmp_path: Path) -> None:
    """No card has so many, but if one had, they would be counted, too."""
    card.store.own(owner := object())
    many = {number: Reference(bytes(8), 9, 9) for number in range(1000, 1200)}
    card.store.commit(owner, references=many)
    for number in (PIN, 1000, 1199):
        with card.store.together():
            card.store.count(owner, number, 1)
    card.close()
    found = read_image(card.store.path).references
    assert {number for number, reference in found.items() if reference.remaining == 1} == {PIN, 1000, 1199}


@pytest.mark.parametrize("at", range(-1, TAG_LENGTH))
def test_a_damaged_counter(card: PivCard, at: int) -> None:
    """In the digest, and in the count, which stands before it."""
    card.close()
    content = bytearray(card.store.path.read_bytes())
    content[content.index(retry_counters.tag(UNENCRYPTED, PIN, 3).to_bytes(TAG_LENGTH, "big")) + at] ^= 1
    card.store.path.write_bytes(content)
    with pytest.raises(ImageError, match="the counter of reference 80 is damaged"):
        read_image(card.store.path)


def test_rows() -> None:
    """Each digest takes eight bytes in SQLite, also one that begins with zeros."""
    for number in (0, PIN, PUK):
        for count in (0, 1, 3, 255, 10_000):
            tag = retry_counters.tag(UNENCRYPTED, number, count)
            assert 1 << 47 < tag < 1 << 63
            assert retry_counters.left(UNENCRYPTED, number, count, tag) == count
            for wrong in ((count, tag + 1), (count + 1, tag), (count, -1), (-1, tag), (1 << 40, tag), (count, 0)):
                with pytest.raises(ValueError, match="damaged"):
                    retry_counters.left(UNENCRYPTED, number, *wrong)
            with pytest.raises(ValueError, match="damaged"):
                retry_counters.left(UNENCRYPTED, number + 1, count, tag)
