# SPDX-License-Identifier: MIT
"""Yubico's PIV commands and their parsers, like those of SP 800-73 in commands.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import tlv
from ..apdu import Command
from ..status import SW, CardError
from ..tables import ATTESTATION, INS, MANAGEMENT_KEY, MANAGEMENT_KEY_LENGTHS, SLOTS, Algorithm, TouchPolicy
from .commands import KeyPolicy, expect, key_pair_algorithm, key_slot, only, take_policy

_NOWHERE = 0xFF
_MANAGEMENT_TOUCH = {0xFF: TouchPolicy.NEVER, 0xFE: TouchPolicy.ALWAYS, 0xFD: TouchPolicy.CACHED}


class ImportKey(NamedTuple):
    """IMPORT KEY: store a private key, given its `numbers`.

    By tag: 01 to 05 are p, q, dP, dQ, qInv of an RSA key, 06 is the scalar on a NIST curve, 07 the private key of
    Ed25519, 08 that of X25519 (32 bytes each), 09 to 0C are prime, order, base and private value of a DSA key.
    """

    slot: int
    algorithm: Algorithm
    numbers: dict[int, bytes]
    policy: KeyPolicy


class MoveKey(NamedTuple):
    """MOVE KEY: move a key to another slot, or delete it when there is no destination."""

    source: int
    destination: int | None


class SetManagementKey(NamedTuple):
    """SET MANAGEMENT KEY: replace the management key, perhaps by one of another algorithm."""

    algorithm: Algorithm
    value: bytes
    touch: TouchPolicy


class GetMetadata(NamedTuple):
    """GET METADATA: describe a key, the PIN or the PUK."""

    reference: int


class Attest(NamedTuple):
    """ATTEST: certify that the key in a slot was generated on the card."""

    slot: int


class SetPinRetries(NamedTuple):
    """SET PIN RETRIES: set the limits of the retry counters; PIN and PUK get their default values."""

    pin: int
    puk: int


class ResetApplication(NamedTuple):
    """RESET: return the application to the state of a new card."""


class GetVersion(NamedTuple):
    """GET VERSION: the version of the firmware."""


class GetSerial(NamedTuple):
    """GET SERIAL: the serial number of the device."""


Extension = (
    ImportKey
    | MoveKey
    | SetManagementKey
    | GetMetadata
    | Attest
    | SetPinRetries
    | ResetApplication
    | GetVersion
    | GetSerial
)


def _import_key(command: Command) -> ImportKey:
    """Parse IMPORT KEY."""
    algorithm, slot = key_pair_algorithm(command.p1, SW.INCORRECT_P1P2), key_slot(command.p2)
    numbers = dict(tlv.decode(command.data))
    policy = take_policy(numbers, slot)
    return ImportKey(slot, algorithm, numbers, policy)


def _move_key(command: Command) -> MoveKey:
    """Parse MOVE KEY; the attestation key can be deleted but not moved. Raises CardError(6A86)."""
    source, destination = key_slot(command.p2), None if command.p1 == _NOWHERE else key_slot(command.p1)
    _expect_nothing(command)
    if destination is not None and ATTESTATION in (source, destination):
        raise CardError(SW.INCORRECT_P1P2)
    return MoveKey(source, destination)


def _set_management_key(command: Command) -> SetManagementKey:
    """Parse SET MANAGEMENT KEY."""
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
    """Parse GET METADATA."""
    expect(command, 0x00, command.p2)
    return GetMetadata(command.p2)


def _attest(command: Command) -> Attest:
    """Parse ATTEST."""
    expect(command, command.p1, 0x00)
    _expect_nothing(command)
    if command.p1 not in SLOTS:
        raise CardError(SW.INCORRECT_P1P2)
    return Attest(command.p1)


def _set_pin_retries(command: Command) -> SetPinRetries:
    """Parse SET PIN RETRIES; no limit can be 0."""
    _expect_nothing(command)
    if not (command.p1 and command.p2):
        raise CardError(SW.INCORRECT_P1P2)
    return SetPinRetries(command.p1, command.p2)


def _reset(command: Command) -> ResetApplication:
    """Parse RESET."""
    expect(command, 0x00, 0x00)
    _expect_nothing(command)
    return ResetApplication()


def _get_version(command: Command) -> GetVersion:
    """Parse GET VERSION."""
    expect(command, 0x00, 0x00)
    return GetVersion()


def _get_serial(command: Command) -> GetSerial:
    """Parse GET SERIAL."""
    expect(command, 0x00, 0x00)
    return GetSerial()


def _expect_nothing(command: Command) -> None:
    """Require an empty data field. Raises CardError(6A80)."""
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
