# SPDX-License-Identifier: MIT
"""Random commands: each gets a response, none an internal error, and the card still works afterwards."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cardtear.card.card import Activation, Card
from cardtear.card.tables import INS, PIV_AID, SLOTS

_SELECT = bytes((0, INS.SELECT, 4, 0, len(PIV_AID))) + PIV_AID
_STILL_WORKS = (bytes.fromhex("00CB3FFF035C017E00"), bytes.fromhex("00F7009B00"))
_LENGTHS = (0, 0, 1, 5, 8, 16, 16, 60, 255)
_TEMPLATES = tuple(
    map(bytes.fromhex, ["5C035FC105", "5C017E", "7C028200", "7C04820081", "AC03800111", "53", "5C045FFF8000"])
)
_INSTRUCTIONS = tuple(INS)
_HEADERS = [
    tuple(bytes.fromhex(each))
    for each in (
        *("20 00 80", "24 00 80", "24 00 81", "2C 00 80", "CB 3F FF", "DB 3F FF", "87 11 9E", "87 03 9B", "87 0A 9B"),
        *("47 00 9A", "F7 00 9A", "FE 11 82", "F6 83 82", "F9 9A 00", "FF FF FF", "FA 03 03", "FB 00 00"),
    )
]
_PARAMETERS = (0x00, 0x00, 0x3F, 0xFF, 0x80, 0x81, 0x03, 0x07, 0x11, 0x9B, *SLOTS)
_BLOCK = 1 << 16


class CardFailure(Exception):
    """The card failed at a command."""


def headers(seed: int) -> Iterator[tuple[int, int, int]]:
    """Yield INS, P1 and P2: all 2**24 of them in an order that the seed decides, again and again."""
    chance = random.Random(seed)
    step, at = chance.randrange(1 << 24) | 1, chance.randrange(1 << 24)
    while True:
        yield at >> 16, at >> 8 & 0xFF, at & 0xFF
        at = (at + step) & 0xFFFFFF


def commands(seed: int) -> Iterator[bytes]:
    """Yield commands with random data: all headers in turn, known headers, now and then an odd class or length."""
    chance = random.Random(seed)
    for ins, p1, p2 in headers(seed):
        match chance.randrange(4):
            case 0:
                ins, p1, p2 = chance.choice(_INSTRUCTIONS), chance.choice(_PARAMETERS), chance.choice(_PARAMETERS)
            case 1:
                ins, p1, p2 = chance.choice(_HEADERS)
        data = chance.choice(_TEMPLATES) if chance.random() < 0.2 else b""
        data += chance.randbytes(chance.choice(_LENGTHS))
        head = bytes((chance.choice((0, 0, 0, 0, 0, 0, 0x10, ins)), ins, p1, p2))
        match chance.randrange(16):
            case 0:
                yield head + data  # what comes next is taken for lengths
            case 1:
                yield head + b"\0" + len(data).to_bytes(2, "big") + data + b"\0\0"
            case _:
                yield head + (bytes([len(data) & 0xFF]) + data[:255] if data else b"") + b"\0" * chance.randrange(2)


def flood(card: Card, seed: int, count: int) -> Counter[int]:
    """Send `count` commands, with a reset and SELECT between blocks; count the first bytes of the status words.

    Raises CardFailure.
    """
    answers: Counter[int] = Counter()
    stream = commands(seed)
    while count > 0:
        activation = _reset(card)
        for _ in range(min(count, _BLOCK)):
            command = next(stream)
            response = activation.transmit(command)
            status = response[-2]
            if status >> 4 not in (6, 9) or status == 0x6F:
                raise CardFailure(f"{command.hex()} gets {response[-2:].hex()}")
            answers[status] += 1
        count -= _BLOCK
        require_working(card)
    return answers


def require_working(card: Card) -> None:
    """Raise CardFailure unless the card does what it did at first."""
    activation = _reset(card)
    for command in _STILL_WORKS:
        if activation.transmit(command)[-2:] != b"\x90\0":
            raise CardFailure(f"the card does not answer {command.hex()} any more")


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _reset(card: Card) -> Activation:
    activation = card.activate()
    if activation.transmit(_SELECT)[-2:] != b"\x90\0":
        raise CardFailure("the card cannot be selected")
    return activation
