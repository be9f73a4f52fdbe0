# SPDX-License-Identifier: MIT
"""Yubico's PIV commands with their parameters taken apart, like those of SP 800-73 in commands.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import tlv
from ..apdu import Command
from ..status import SW, CardError
from ..tables import ATTESTATION, INS, MANAGEMENT_KEY, MANAGEMENT_KEY_LENGTHS, SLOTS, Algorithm, Touch
from .commands import KeyPolicy, expect, key_pair_algorithm, key_slot, only, take_policy

_NOWHERE = 0xFF
_MANAGEMENT_TOUCH = {0xFF: Touch.NEVER, 0xFE: Touch.ALWAYS, 0xFD: Touch.CACHED}


class ImportKey(NamedTuple):
    """A private key by its `numbers`.

    01 to 05 are p, q, dP, dQ, qInv of an RSA key, 06 is the scalar on a NIST curve, 07 the private key of Ed25519,
    08 that of X25519 (32 bytes each), 09 to 0C are prime, order, base and private value of a DSA key.
    """

    slot: int
    algorithm: Algorithm
    numbers: dict[int, bytes]
    policy: KeyPolicy


class MoveKey(NamedTuple):
    """A key to another slot, or away when there is no destination."""

    source: int
    destination: int | None


class SetManagementKey(NamedTuple):
    """Another management key, perhaps of another algorithm."""

    algorithm: Algorithm
    value: bytes
    touch: Touch


class GetMetadata(NamedTuple):
    """What is known of a key, the PIN or the PUK."""

    reference: int


class Attest(NamedTuple):
    """A certificate that says that the card has made a key itself."""

    slot: int


class SetPinRetries(NamedTuple):
    """How many tries PIN and PUK have; both go back to what they are on a new card."""

    pin: int
    puk: int


class Reset(NamedTuple):
    """Back to a new card."""


class GetVersion(NamedTuple):
    """The firmware's version."""


class GetSerial(NamedTuple):
    """The device's serial number."""


Extension = (
    ImportKey | MoveKey | SetManagementKey | GetMetadata | Attest | SetPinRetries | Reset | GetVersion | GetSerial
)


def _import_key(command: Command) -> ImportKey:
    algorithm, slot = key_pair_algorithm(command.p1, SW.INCORRECT_P1P2), key_slot(command.p2)
    numbers = dict(tlv.decode(command.data))
    policy = take_policy(numbers, slot)
    return ImportKey(slot, algorithm, numbers, policy)


def _move_key(command: Command) -> MoveKey:
    """The key of attestations stays where it is, or goes."""
    source, destination = key_slot(command.p2), None if command.p1 == _NOWHERE else key_slot(command.p1)
    _expect_nothing(command)
    if destination is not None and ATTESTATION in (source, destination):
        raise CardError(SW.INCORRECT_P1P2)
    return MoveKey(source, destination)


def _set_management_key(command: Command) -> SetManagementKey:
    touch = _MANAGEMENT_TOUCH.get(command.p2)
    if command.p1 != 0xFF or touch is None:
        raise CardError(SW.INCORRECT_P1P2)
    algorithm, rest = command.data[:1], command.data[1:]
    value = only(rest, MANAGEMENT_KEY)
    for known, length in MANAGEMENT_KEY_LENGTHS.items():
        if algorithm == bytes([known]) and len(value) == length:
            return SetManagementKey(known, value, touch)
    raise CardError(SW.INCORRECT_DATA)


def _get_metadata(command: Command) -> GetMetadata:
    expect(command, 0x00, command.p2)
    return GetMetadata(command.p2)


def _attest(command: Command) -> Attest:
    expect(command, command.p1, 0x00)
    _expect_nothing(command)
    if command.p1 not in SLOTS:
        raise CardError(SW.INCORRECT_P1P2)
    return Attest(command.p1)


def _set_pin_retries(command: Command) -> SetPinRetries:
    _expect_nothing(command)
    if not (command.p1 and command.p2):
        raise CardError(SW.INCORRECT_P1P2)
    return SetPinRetries(command.p1, command.p2)


def _reset(command: Command) -> Reset:
    expect(command, 0x00, 0x00)
    _expect_nothing(command)
    return Reset()


def _get_version(command: Command) -> GetVersion:
    expect(command, 0x00, 0x00)
    return GetVersion()


def _get_serial(command: Command) -> GetSerial:
    expect(command, 0x00, 0x00)
    return GetSerial()


def _expect_nothing(command: Command) -> None:
    if command.data:
        raise CardError(SW.INCORRECT_DATA)


PARSERS: dict[int, Callable[[Command], Extension]] = {
    INS.IMPORT_KEY: _import_key,
    INS.MOVE_KEY: _move_key,
    INS.SET_MANAGEMENT_KEY: _set_management_key,
    INS.GET_METADATA: _get_metadata,
    INS.ATTEST: _attest,
    INS.SET_PIN_RETRIES: _set_pin_retries,
    INS.RESET: _reset,
    INS.GET_VERSION: _get_version,
    INS.GET_SERIAL: _get_serial,
}
