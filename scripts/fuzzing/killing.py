# SPDX-License-Identifier: MIT
"""Kills processes that use a card: the image is that before a command or after it.

A child works through commands that a seed decides, and says after each answer that it came. Its parent kills it
somewhen, opens the image, and compares it with what those commands make of the card by a model of their own.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from cardtear.card import tlv
from cardtear.card.applet import keys
from cardtear.card.applet.management import DEFAULT_MANAGEMENT_KEY
from cardtear.card.applet.piv_card import PoweredCard
from cardtear.card.image.state import CardState, StoredKey
from cardtear.card.image.store import read_image
from cardtear.card.issuing.profiles import open_card
from cardtear.card.tables import MANAGEMENT_KEY, PIN, PIV_AID, PUBLIC_RECORDS, PUK, SLOTS, Algorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

DEADLINE = 30
_LONGEST = 0.004  # seconds from the first answer to the kill: some ten commands
_PINS = (b"123456\xff\xff", b"654321\xff\xff")
_WRONG = b"000000\xff\xff"


class CardCommand(NamedTuple):
    """A command, the first byte of its status word, and its effect on the state of the card.

    `costs` is the reference of which a try is gone from the moment on that the command begins to compare.
    """

    ins: int
    p1: int
    p2: int
    data: bytes
    status: int
    effect: Callable[[CardState], None]
    costs: int | None = None


class ImageDamage(Exception):
    """A killed process left an image that is neither the card before nor after a command."""


def commands(chance: random.Random, state: CardState) -> Iterator[CardCommand]:
    """Yield random commands for a card in this state, authenticated with its management key; updates the state."""
    while True:
        command = chance.choice(_KINDS)(chance, state)
        yield command
        command.effect(state)


def _wrong_pin(chance: random.Random, state: CardState) -> CardCommand:
    if state.references[PIN].remaining < 2:
        return _unblock(chance, state)
    return CardCommand(0x20, 0, PIN, _WRONG, 0x63, lambda after: _count(after, PIN), PIN)


def _right_pin(chance: random.Random, state: CardState) -> CardCommand:
    if state.references[PIN].remaining < 1:
        return _unblock(chance, state)
    value = state.references[PIN].value
    return CardCommand(0x20, 0, PIN, value, 0x90, lambda after: _renew(after, PIN, value), PIN)


def _change_pin(chance: random.Random, state: CardState) -> CardCommand:
    if state.references[PIN].remaining < 1:
        return _unblock(chance, state)
    old, new = state.references[PIN].value, chance.choice(_PINS)
    return CardCommand(0x24, 0, PIN, old + new, 0x90, lambda after: _renew(after, PIN, new), PIN)


def _unblock(chance: random.Random, state: CardState) -> CardCommand:
    puk, new = state.references[PUK].value, chance.choice(_PINS)

    def effect(after: CardState) -> None:
        _renew(after, PIN, new)
        _renew(after, PUK, puk)

    return CardCommand(0x2C, 0, PIN, puk + new, 0x90, effect, PUK)


def _put(chance: random.Random, state: CardState) -> CardCommand:
    tag = PUBLIC_RECORDS[chance.randrange(3)]
    value = chance.randbytes(chance.choice((0, 1, 100, 5000, 20_000)))
    data = tlv.encode(0x5C, tag.to_bytes(4, "big")) + tlv.encode(0x53, value)

    def effect(after: CardState) -> None:
        after.objects.pop(tag, None)
        if value:
            after.objects[tag] = value

    return CardCommand(0xDB, 0x3F, 0xFF, data, 0x90, effect)


def _import(chance: random.Random, state: CardState) -> CardCommand:
    slot, scalar = chance.choice(_SLOTS), chance.randbytes(31).rjust(32, b"\1")
    numbers = {0x06: scalar}
    stored = StoredKey(Algorithm.P256, keys.assemble(Algorithm.P256, numbers), True, SLOTS[slot].pin_rule)

    def effect(after: CardState) -> None:
        after.keys[slot] = stored

    return CardCommand(0xFE, Algorithm.P256, slot, tlv.encode(0x06, scalar), 0x90, effect)


def _move(chance: random.Random, state: CardState) -> CardCommand:
    held = [slot for slot in _SLOTS if slot in state.keys]
    if not held:
        return _import(chance, state)
    origin, target = chance.choice(held), chance.choice((0xFF, *(slot for slot in _SLOTS if slot not in held)))

    def effect(after: CardState) -> None:
        key = after.keys.pop(origin)
        if target != 0xFF:
            after.keys[target] = key

    return CardCommand(0xF6, target, origin, b"", 0x90, effect)


_SLOTS = (0x82, 0x83, 0x84)
_KINDS = (_wrong_pin, _wrong_pin, _right_pin, _change_pin, _unblock, _put, _put, _put, _import, _move)


def _count(state: CardState, number: int) -> None:
    held = state.references[number]
    state.references[number] = held._replace(remaining=held.remaining - 1)


def _renew(state: CardState, number: int, value: bytes) -> None:
    held = state.references[number]
    state.references[number] = held._replace(value=value, remaining=held.maximum)


# The child


def work(path: Path, passphrase: bytes | None, seed: str, answered: int) -> None:
    """Send commands to the card without end; write a byte to the file `answered` for each response."""
    card = open_card(path, passphrase)
    model = deepcopy(card.store.state)
    activation = card.activate()
    _prove(activation)
    os.write(answered, b"!")
    for command in commands(random.Random(seed), model):
        status = _send(activation, command.ins, command.p1, command.p2, command.data)[-2]
        os.write(answered, b"." if status == command.status else b"?")


def _prove(activation: PoweredCard) -> None:
    """Select PIV and authenticate with the management key."""
    _send(activation, 0xA4, 4, 0, PIV_AID)
    challenge = _send(activation, 0x87, Algorithm.TDES, MANAGEMENT_KEY, bytes.fromhex("7C028100"))[4:-2]
    response = Cipher(TripleDES(DEFAULT_MANAGEMENT_KEY), modes.ECB()).encryptor().update(challenge)
    _send(activation, 0x87, Algorithm.TDES, MANAGEMENT_KEY, tlv.encode(0x7C, tlv.encode(0x82, response)))


def _send(activation: PoweredCard, ins: int, p1: int, p2: int, data: bytes) -> bytes:
    """Send a command in short APDUs, chained if needed; return the last response."""
    while len(data) > 255:
        activation.transmit(bytes((0x10, ins, p1, p2, 255)) + data[:255])
        data = data[255:]
    return activation.transmit(bytes((0, ins, p1, p2)) + (bytes([len(data)]) + data if data else b""))


# The parent


def kill_again_and_again(path: Path, passphrase: bytes | None, seed: int, rounds: int) -> int:
    """Run `rounds` children on the image and kill each; return the number of commands that were answered.

    Raises ImageDamage. The image's management key is the well-known one. Not for a process that has threads: it forks.
    """
    chance = random.Random(seed)
    before = read_image(path, passphrase)
    total = 0
    for number in range(rounds):
        name = f"{seed}/{number}"
        answers = _killed(path, passphrase, name, chance.uniform(0, _LONGEST))
        after = read_image(path, passphrase)
        _compare(name, before, after, answers)
        before, total = after, total + answers
    return total


def _killed(path: Path, passphrase: bytes | None, seed: str, seconds: float) -> int:
    """Run a child, kill it `seconds` after it began, and return the number of its responses."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            work(path, passphrase, seed, write)
        finally:
            os._exit(1)
    os.close(write)
    try:
        if not select.select([read], [], [], DEADLINE)[0]:
            raise ImageDamage(f"{seed}: the child did not begin")
        time.sleep(seconds)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    said = b"".join(iter(lambda: os.read(read, 1 << 16), b""))
    os.close(read)
    if not os.WIFSIGNALED(status) or not said.startswith(b"!"):
        raise ImageDamage(f"{seed}: the child ended by itself")
    if b"?" in said:
        raise ImageDamage(f"{seed}: command {said.index(b'?')} got another status word")
    return len(said) - 1


def _compare(seed: str, before: CardState, after: CardState, answers: int) -> None:
    """Raise ImageDamage unless `after` is the state after these commands, or one more, or with its try counted."""
    model = deepcopy(before)
    stream = commands(random.Random(seed), model)
    for _ in range(answers):
        next(stream)
    last = next(stream)  # the effects of all before it are in the model
    possible = [deepcopy(model)]
    if last.costs is not None:
        _count(model, last.costs)
        possible.append(deepcopy(model))
        model = deepcopy(possible[0])
    last.effect(model)
    if after not in (*possible, model):
        raise ImageDamage(f"{seed}: after {answers} answers, at {last.ins:02X}, the card is neither before nor after")
