# SPDX-License-Identifier: MIT
"""The numbers of PIV and its rules: instructions, algorithms, key slots, data objects.

Sources: SP 800-73-4 part 1 (tables 2, 3, 4b) and part 2 (chapter 3), SP 800-78-4 (table 6-2); instructions and tags
marked Yubico are those of the YubiKey's PIV application.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique
from typing import NamedTuple

PIV_AID = bytes.fromhex("A000000308000010000100")
PIV_RID_PIX = PIV_AID[:9]
"""The AID without its version, which is enough to SELECT."""


@unique
class INS(IntEnum):
    """Instruction bytes."""

    VERIFY = 0x20
    CHANGE_REFERENCE_DATA = 0x24
    RESET_RETRY_COUNTER = 0x2C
    GENERATE_ASYMMETRIC_KEY_PAIR = 0x47
    GENERAL_AUTHENTICATE = 0x87
    SELECT = 0xA4
    GET_RESPONSE = 0xC0
    GET_DATA = 0xCB
    PUT_DATA = 0xDB
    GET_METADATA = 0xF7  # Yubico


class Algorithm(IntEnum):
    """Algorithm identifiers (SP 800-78-4, table 6-2)."""

    TDES = 0x03
    RSA3072 = 0x05
    RSA2048 = 0x07
    AES128 = 0x08
    AES192 = 0x0A
    AES256 = 0x0C
    P256 = 0x11
    P384 = 0x14


RSA_BITS = {Algorithm.RSA2048: 2048, Algorithm.RSA3072: 3072}
EC_ALGORITHMS = frozenset({Algorithm.P256, Algorithm.P384})
MANAGEMENT_KEY_LENGTHS = {Algorithm.TDES: 24, Algorithm.AES128: 16, Algorithm.AES192: 24, Algorithm.AES256: 32}
BLOCK_LENGTHS = {Algorithm.TDES: 8, Algorithm.AES128: 16, Algorithm.AES192: 16, Algorithm.AES256: 16}


@unique
class PinRule(StrEnum):
    """When a key asks for the PIN (SP 800-73-4 part 1, table 4b)."""

    NEVER = "never"
    ONCE = "once"
    ALWAYS = "always"


class Slot(NamedTuple):
    """A key slot: its PIN rule, and the data object of its certificate."""

    name: str
    pin_rule: PinRule
    certificate: int


SLOTS: dict[int, Slot] = {
    0x9A: Slot("PIV Authentication", PinRule.ONCE, 0x5FC105),
    0x9C: Slot("Digital Signature", PinRule.ALWAYS, 0x5FC10A),
    0x9D: Slot("Key Management", PinRule.ONCE, 0x5FC10B),
    0x9E: Slot("Card Authentication", PinRule.NEVER, 0x5FC101),
}
"""SP 800-73-4 part 1, tables 3 and 4b."""

MANAGEMENT_KEY = 0x9B

PIN = 0x80
PUK = 0x81


class ReadRule(StrEnum):
    """What GET DATA asks for over the contact interface."""

    ALWAYS = "always"
    PIN = "pin"


DISCOVERY = 0x7E
CHUID = 0x5FC102
CCC = 0x5FC107
KEY_HISTORY = 0x5FC10C

OBJECTS: dict[int, ReadRule] = {
    CCC: ReadRule.ALWAYS,
    CHUID: ReadRule.ALWAYS,
    0x5FC105: ReadRule.ALWAYS,  # certificate for PIV Authentication
    0x5FC103: ReadRule.PIN,  # cardholder fingerprints
    0x5FC106: ReadRule.ALWAYS,  # security object
    0x5FC108: ReadRule.PIN,  # cardholder facial image
    0x5FC101: ReadRule.ALWAYS,  # certificate for Card Authentication
    0x5FC10A: ReadRule.ALWAYS,  # certificate for Digital Signature
    0x5FC10B: ReadRule.ALWAYS,  # certificate for Key Management
    0x5FC109: ReadRule.PIN,  # printed information
    DISCOVERY: ReadRule.ALWAYS,
    KEY_HISTORY: ReadRule.ALWAYS,
    **{0x5FC10D + number: ReadRule.ALWAYS for number in range(20)},  # retired certificates 1 to 20
    0x5FC121: ReadRule.PIN,  # cardholder iris images
}
"""SP 800-73-4 part 1, table 2."""

VENDOR_OBJECTS = range(0x5FFF00, 0x600000)
"""Data objects that are not PIV's: read always, written with the management key like any other."""

LABEL_OBJECT = 0x5FFF10
"""The vendor data object that holds the card's name, for software that shows one (UTF-8 in tag 80)."""
