# SPDX-License-Identifier: MIT
"""The PIV commands with their parameters taken apart; what they do is not known here.

One parser for each instruction turns P1, P2 and the data field into a named tuple. A parser raises CardError for
what is malformed whatever the card holds; everything that depends on the card's state is left to the handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import tlv
from .apdu import Command
from .security import PIN_LENGTH
from .status import SW, CardError
from .tables import (
    INS,
    KEY_PAIR_ALGORITHMS,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    PIN,
    PIN_POLICIES,
    PUK,
    SELF_TAGGED,
    SLOTS,
    Algorithm,
    PinRule,
    Touch,
)

_TAG_LIST = 0x5C
_DYNAMIC_AUTHENTICATION = 0x7C
_CONTROL_REFERENCE, _MECHANISM = 0xAC, 0x80
_PIN_POLICY, _TOUCH_POLICY, _DEFAULT = 0xAA, 0xAB, b"\0"
_NOWHERE = 0xFF


class GetData(NamedTuple):
    """3.1.2"""

    tag: int


class PutData(NamedTuple):
    """3.3.1; an empty value deletes the object."""

    tag: int
    value: bytes


class Verify(NamedTuple):
    """3.2.1 with data: compare the PIN."""

    value: bytes


class QueryVerification(NamedTuple):
    """3.2.1 without data: is the PIN verified, and if not, how many tries are left?"""


class ResetVerification(NamedTuple):
    """3.2.1 with P1 = FF: the PIN counts as not verified from now on."""


class ChangeReferenceData(NamedTuple):
    """3.2.2: a new PIN or PUK by the old one."""

    reference: int
    old: bytes
    new: bytes


class ResetRetryCounter(NamedTuple):
    """3.2.3: a new PIN by the PUK."""

    puk: bytes
    pin: bytes


class GeneralAuthenticate(NamedTuple):
    """3.2.4: `fields` is the content of the dynamic authentication template (table 7) by tag."""

    algorithm: int
    slot: int
    fields: dict[int, bytes]


class KeyPolicy(NamedTuple):
    """Yubico: what a new key asks for before it is used."""

    pin_rule: PinRule
    touch: Touch


class GenerateKeyPair(NamedTuple):
    """3.3.2"""

    slot: int
    algorithm: Algorithm
    policy: KeyPolicy


class ImportKey(NamedTuple):
    """Yubico: a private key by its `numbers`.

    01 to 05 are p, q, dP, dQ, qInv of an RSA key, 06 is the scalar on a NIST curve, 07 the private key of Ed25519,
    08 that of X25519 (32 bytes each).
    """

    slot: int
    algorithm: Algorithm
    numbers: dict[int, bytes]
    policy: KeyPolicy


class MoveKey(NamedTuple):
    """Yubico: a key to another slot, or away when there is no destination."""

    source: int
    destination: int | None


class SetManagementKey(NamedTuple):
    """Yubico: another management key, perhaps of another algorithm."""

    algorithm: Algorithm
    value: bytes


class GetMetadata(NamedTuple):
    """Yubico: what is known of a key, the PIN or the PUK."""

    reference: int


class GetVersion(NamedTuple):
    """Yubico."""


class GetSerial(NamedTuple):
    """Yubico."""


PivCommand = (
    GetData
    | PutData
    | Verify
    | QueryVerification
    | ResetVerification
    | ChangeReferenceData
    | ResetRetryCounter
    | GeneralAuthenticate
    | GenerateKeyPair
    | ImportKey
    | MoveKey
    | SetManagementKey
    | GetMetadata
    | GetVersion
    | GetSerial
)


def parse(command: Command) -> PivCommand:
    """The PIV command in a whole command APDU. Raises CardError."""
    parser = _PARSERS.get(command.ins)
    if parser is None:
        raise CardError(SW.INS_NOT_SUPPORTED)
    try:
        return parser(command)
    except tlv.TlvError:
        raise CardError(SW.INCORRECT_DATA) from None


def _get_data(command: Command) -> GetData:
    _expect(command, 0x3F, 0xFF)
    return GetData(int.from_bytes(_only(command.data, _TAG_LIST), "big"))


def _put_data(command: Command) -> PutData:
    _expect(command, 0x3F, 0xFF)
    match tlv.decode(command.data):
        case [(tag, value)] if tag in SELF_TAGGED:
            return PutData(tag, value)
        case [(0x5C, tag_list), (0x53, value)]:
            return PutData(int.from_bytes(tag_list, "big"), value)
    raise CardError(SW.INCORRECT_DATA)


def _verify(command: Command) -> Verify | QueryVerification | ResetVerification:
    _expect_reference(command, PIN)
    if command.p1 == 0:
        return Verify(command.data) if command.data else QueryVerification()
    if command.p1 != 0xFF:
        raise CardError(SW.INCORRECT_P1P2)
    if command.data:
        raise CardError(SW.INCORRECT_DATA)
    return ResetVerification()


def _change_reference_data(command: Command) -> ChangeReferenceData:
    _expect_reference(command, PIN, PUK)
    return ChangeReferenceData(command.p2, *_two_references(command))


def _reset_retry_counter(command: Command) -> ResetRetryCounter:
    _expect_reference(command, PIN)
    return ResetRetryCounter(*_two_references(command))


def _general_authenticate(command: Command) -> GeneralAuthenticate:
    fields = dict(tlv.decode(_only(command.data, _DYNAMIC_AUTHENTICATION)))
    return GeneralAuthenticate(command.p1 or Algorithm.TDES, command.p2, fields)


def _generate_key_pair(command: Command) -> GenerateKeyPair:
    _expect(command, 0x00, command.p2)
    fields = dict(tlv.decode(_only(command.data, _CONTROL_REFERENCE)))
    mechanism, slot = fields.pop(_MECHANISM, b""), _key_slot(command.p2)
    policy = _take_policy(fields, slot)
    if len(mechanism) != 1 or fields:
        raise CardError(SW.INCORRECT_DATA)
    return GenerateKeyPair(slot, _key_pair_algorithm(mechanism[0], SW.INCORRECT_DATA), policy)


def _import_key(command: Command) -> ImportKey:
    algorithm, slot = _key_pair_algorithm(command.p1, SW.INCORRECT_P1P2), _key_slot(command.p2)
    numbers = dict(tlv.decode(command.data))
    policy = _take_policy(numbers, slot)
    return ImportKey(slot, algorithm, numbers, policy)


def _move_key(command: Command) -> MoveKey:
    if command.data:
        raise CardError(SW.INCORRECT_DATA)
    destination = None if command.p1 == _NOWHERE else _key_slot(command.p1)
    return MoveKey(_key_slot(command.p2), destination)


def _set_management_key(command: Command) -> SetManagementKey:
    _expect(command, 0xFF, 0xFF)
    algorithm, rest = command.data[:1], command.data[1:]
    value = _only(rest, MANAGEMENT_KEY)
    for known, length in MANAGEMENT_KEY_LENGTHS.items():
        if algorithm == bytes([known]) and len(value) == length:
            return SetManagementKey(known, value)
    raise CardError(SW.INCORRECT_DATA)


def _get_metadata(command: Command) -> GetMetadata:
    _expect(command, 0x00, command.p2)
    return GetMetadata(command.p2)


def _get_version(command: Command) -> GetVersion:
    _expect(command, 0x00, 0x00)
    return GetVersion()


def _get_serial(command: Command) -> GetSerial:
    _expect(command, 0x00, 0x00)
    return GetSerial()


_PARSERS: dict[int, Callable[[Command], PivCommand]] = {
    INS.VERIFY: _verify,
    INS.CHANGE_REFERENCE_DATA: _change_reference_data,
    INS.RESET_RETRY_COUNTER: _reset_retry_counter,
    INS.GENERATE_ASYMMETRIC_KEY_PAIR: _generate_key_pair,
    INS.GENERAL_AUTHENTICATE: _general_authenticate,
    INS.GET_DATA: _get_data,
    INS.PUT_DATA: _put_data,
    INS.GET_METADATA: _get_metadata,
    INS.GET_SERIAL: _get_serial,
    INS.GET_VERSION: _get_version,
    INS.IMPORT_KEY: _import_key,
    INS.MOVE_KEY: _move_key,
    INS.SET_MANAGEMENT_KEY: _set_management_key,
}


def _expect(command: Command, p1: int, p2: int) -> None:
    if command.p1 != p1 or command.p2 != p2:
        raise CardError(SW.INCORRECT_P1P2)


def _expect_reference(command: Command, *known: int) -> None:
    """A key reference in P2, and no variant of the command in P1 where it has none."""
    if command.p2 not in known:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    if command.p1 != 0 and command.ins != INS.VERIFY:
        raise CardError(SW.INCORRECT_P1P2)


def _only(data: bytes, tag: int) -> bytes:
    """The value of the one data object, which has this tag."""
    if not data:
        raise CardError(SW.INCORRECT_DATA)
    found, value, end = tlv.read(data)
    if found != tag or end != len(data):
        raise CardError(SW.INCORRECT_DATA)
    return value


def _two_references(command: Command) -> tuple[bytes, bytes]:
    if len(command.data) != 2 * PIN_LENGTH:
        raise CardError(SW.INCORRECT_DATA)
    return command.data[:PIN_LENGTH], command.data[PIN_LENGTH:]


def _key_slot(number: int) -> int:
    if number not in SLOTS:
        raise CardError(SW.INCORRECT_P1P2)
    return number


def _take_policy(fields: dict[int, bytes], slot: int) -> KeyPolicy:
    """The policies among the fields of a command that makes a key; what is left out or 0 is as the slot has it."""
    pin, touch = (fields.pop(tag, _DEFAULT) for tag in (_PIN_POLICY, _TOUCH_POLICY))
    if len(pin) != 1 or len(touch) != 1:
        raise CardError(SW.INCORRECT_DATA)
    try:
        return KeyPolicy(
            SLOTS[slot].pin_rule if pin == _DEFAULT else PIN_POLICIES[pin[0]],
            Touch.NEVER if touch == _DEFAULT else Touch(touch[0]),
        )
    except (KeyError, ValueError):
        raise CardError(SW.INCORRECT_DATA) from None


def _key_pair_algorithm(number: int, status: SW) -> Algorithm:
    if number in KEY_PAIR_ALGORITHMS:
        return Algorithm(number)
    raise CardError(status)
