# SPDX-License-Identifier: MIT
"""The PIV commands and their parsers (SP 800-73-5 part 2, chapter 3).

One parser for each instruction turns P1, P2 and the data field into a named tuple. A parser raises CardError for
a command that is malformed in any state of the card; checks against the state are left to the handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import tlv
from ..apdu import Command
from ..pin_rules import PIN_LENGTH
from ..status import SW, CardError
from ..tables import (
    ATTESTATION,
    DSA_BITS,
    GLOBAL_PIN,
    INS,
    KEY_PAIR_ALGORITHMS,
    PIN,
    PIN_POLICIES,
    PUK,
    RSA_BITS,
    SELF_TAGGED,
    SLOTS,
    Algorithm,
    PinRule,
    TouchPolicy,
)

_TAG_LIST = 0x5C
_DYNAMIC_AUTHENTICATION = 0x7C
_CONTROL_REFERENCE, _MECHANISM, _PARAMETER = 0xAC, 0x80, 0x81
_DOMAIN = (0x81, 0x82, 0x83)
_EXPONENT = 65537
"""The only public exponent of generated RSA keys; a command may name it."""
_PIN_POLICY, _TOUCH_POLICY, _DEFAULT = 0xAA, 0xAB, b"\0"


class GetData(NamedTuple):
    """GET DATA (3.1.2)."""

    tag: int


class PutData(NamedTuple):
    """PUT DATA (3.3.1); an empty value deletes the object."""

    tag: int
    value: bytes


class Verify(NamedTuple):
    """VERIFY with data (3.2.1): compare the card's own or the global PIN."""

    reference: int
    value: bytes


class QueryVerification(NamedTuple):
    """VERIFY without data (3.2.1): is the PIN verified, and if not, what does the retry counter stand at?"""

    reference: int


class ResetVerification(NamedTuple):
    """VERIFY with P1 = FF (3.2.1): make the PIN not verified."""

    reference: int


class ChangeReferenceData(NamedTuple):
    """CHANGE REFERENCE DATA (3.2.2): replace a PIN or PUK, given the old one."""

    reference: int
    old: bytes
    new: bytes


class ResetRetryCounter(NamedTuple):
    """RESET RETRY COUNTER (3.2.3): replace the PIN, given the PUK."""

    puk: bytes
    pin: bytes


class GeneralAuthenticate(NamedTuple):
    """GENERAL AUTHENTICATE (3.2.4): `fields` is the content of the dynamic authentication template (table 7) by tag."""

    algorithm: int
    slot: int
    fields: dict[int, bytes]


class KeyPolicy(NamedTuple):
    """The PIN and touch policy of a new key (Yubico's extension)."""

    pin_rule: PinRule
    touch: TouchPolicy


class GenerateKeyPair(NamedTuple):
    """GENERATE ASYMMETRIC KEY PAIR (3.3.2)."""

    slot: int
    algorithm: Algorithm
    policy: KeyPolicy
    domain: tuple[bytes, ...] = ()
    """Prime, order and base of a DSA key, in tags 81 to 83 as in its public key; PIV has none."""


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
)


def _get_data(command: Command) -> GetData:
    """Parse GET DATA."""
    expect(command, 0x3F, 0xFF)
    return GetData(int.from_bytes(only(command.data, _TAG_LIST), "big"))


def _put_data(command: Command) -> PutData:
    """Parse PUT DATA, whose data field is a tag list and a value, or one object that is its own tag."""
    expect(command, 0x3F, 0xFF)
    match tlv.decode(command.data):
        case [(tag, value)] if tag in SELF_TAGGED:
            return PutData(tag, value)
        case [(0x5C, tag_list), (0x53, value)] if (tag := int.from_bytes(tag_list, "big")) not in SELF_TAGGED:
            return PutData(tag, value)
    raise CardError(SW.INCORRECT_DATA)


def _verify(command: Command) -> Verify | QueryVerification | ResetVerification:
    """Parse VERIFY, which is one of three commands by P1 and the presence of data."""
    _expect_reference(command, PIN, GLOBAL_PIN)
    if command.p1 == 0:
        return Verify(command.p2, command.data) if command.data else QueryVerification(command.p2)
    if command.p1 != 0xFF:
        raise CardError(SW.INCORRECT_P1P2)
    if command.data:
        raise CardError(SW.INCORRECT_DATA)
    return ResetVerification(command.p2)


def _change_reference_data(command: Command) -> ChangeReferenceData:
    """Parse CHANGE REFERENCE DATA."""
    _expect_reference(command, PIN, PUK, GLOBAL_PIN)
    return ChangeReferenceData(command.p2, *_two_references(command))


def _reset_retry_counter(command: Command) -> ResetRetryCounter:
    """Parse RESET RETRY COUNTER."""
    _expect_reference(command, PIN)
    return ResetRetryCounter(*_two_references(command))


def _general_authenticate(command: Command) -> GeneralAuthenticate:
    """Parse GENERAL AUTHENTICATE; algorithm 00 is 3DES (SP 800-78-5)."""
    fields = _fields(only(command.data, _DYNAMIC_AUTHENTICATION))
    return GeneralAuthenticate(command.p1 or Algorithm.TDES, command.p2, fields)


def _generate_key_pair(command: Command) -> GenerateKeyPair:
    """Parse GENERATE ASYMMETRIC KEY PAIR."""
    expect(command, 0x00, command.p2)
    slot, fields = key_slot(command.p2), _fields(only(command.data, _CONTROL_REFERENCE))
    mechanism, policy = fields.pop(_MECHANISM, b""), take_policy(fields, slot)
    if len(mechanism) != 1:
        raise CardError(SW.INCORRECT_DATA)
    algorithm = key_pair_algorithm(mechanism[0], SW.INCORRECT_DATA)
    if algorithm in RSA_BITS and int.from_bytes(fields.get(_PARAMETER, b""), "big") == _EXPONENT:
        del fields[_PARAMETER]
    domain = tuple(fields.pop(tag, b"") for tag in _DOMAIN) if algorithm in DSA_BITS else ()
    if fields:
        raise CardError(SW.INCORRECT_DATA)
    return GenerateKeyPair(slot, algorithm, policy, domain)


PARSERS: dict[int, Callable[[Command], PivCommand]] = {
    INS.VERIFY: _verify,
    INS.CHANGE_REFERENCE_DATA: _change_reference_data,
    INS.RESET_RETRY_COUNTER: _reset_retry_counter,
    INS.GENERATE_ASYMMETRIC_KEY_PAIR: _generate_key_pair,
    INS.GENERAL_AUTHENTICATE: _general_authenticate,
    INS.GET_DATA: _get_data,
    INS.PUT_DATA: _put_data,
}


# For parsers, here and in extensions.py


def expect(command: Command, p1: int, p2: int) -> None:
    """Require these values of P1 and P2. Raises CardError(6A86)."""
    if command.p1 != p1 or command.p2 != p2:
        raise CardError(SW.INCORRECT_P1P2)


def only(data: bytes, tag: int) -> bytes:
    """Return the value of the single data object, which must have this tag. Raises CardError(6A80), TlvError."""
    if not data:
        raise CardError(SW.INCORRECT_DATA)
    found, value, end = tlv.read(data)
    if found != tag or end != len(data):
        raise CardError(SW.INCORRECT_DATA)
    return value


def key_slot(number: int) -> int:
    """Return the number of a slot for key pairs. Raises CardError(6A86)."""
    if number not in SLOTS and number != ATTESTATION:
        raise CardError(SW.INCORRECT_P1P2)
    return number


def key_pair_algorithm(number: int, status: SW) -> Algorithm:
    """Return an algorithm of key pairs. Raises CardError with the given status."""
    if number in KEY_PAIR_ALGORITHMS:
        return Algorithm(number)
    raise CardError(status)


def take_policy(fields: dict[int, bytes], slot: int) -> KeyPolicy:
    """Remove the policies from the fields of a command that creates a key; absent or 0 means the slot's default.

    Raises CardError(6A80).
    """
    pin, touch = (fields.pop(tag, _DEFAULT) for tag in (_PIN_POLICY, _TOUCH_POLICY))
    if len(pin) != 1 or len(touch) != 1:
        raise CardError(SW.INCORRECT_DATA)
    rule = SLOTS[slot].pin_rule if slot in SLOTS else PinRule.NEVER
    try:
        return KeyPolicy(
            rule if pin == _DEFAULT else PIN_POLICIES[pin[0]],
            TouchPolicy.NEVER if touch == _DEFAULT else TouchPolicy(touch[0]),
        )
    except (KeyError, ValueError):
        raise CardError(SW.INCORRECT_DATA) from None


def _expect_reference(command: Command, *known: int) -> None:
    """Require a known key reference in P2, and P1 = 00 but for VERIFY. Raises CardError: 6A88, 6A86."""
    if command.p2 not in known:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    if command.p1 != 0 and command.ins != INS.VERIFY:
        raise CardError(SW.INCORRECT_P1P2)


def _two_references(command: Command) -> tuple[bytes, bytes]:
    """Split the data field into two references of eight bytes. Raises CardError(6A80)."""
    if len(command.data) != 2 * PIN_LENGTH:
        raise CardError(SW.INCORRECT_DATA)
    return command.data[:PIN_LENGTH], command.data[PIN_LENGTH:]


def _fields(template: bytes) -> dict[int, bytes]:
    """Return the data objects of a template by tag. Raises CardError(6A80) for a tag that occurs twice."""
    found = tlv.decode(template)
    fields = dict(found)
    if len(fields) != len(found):
        raise CardError(SW.INCORRECT_DATA)
    return fields
