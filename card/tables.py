# SPDX-License-Identifier: MIT
"""The numbers and rules of PIV: instructions, algorithms, key slots, data objects.

Sources: SP 800-73-4 part 1 (tables 2, 3, 4b) and part 2 (chapter 3), SP 800-78-4 (table 6-2); instructions marked
Yubico are those of the YubiKey's PIV application.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum, unique
from functools import lru_cache
from typing import NamedTuple, overload

PIV_AID = bytes.fromhex("A000000308000010000100")
RID_LENGTH = 5
"""Bytes of the registered provider's part of an AID; the least that selects by a truncated AID."""


@unique
class INS(IntEnum):
    """Instruction bytes."""

    VERIFY = 0x20
    CHANGE_REFERENCE_DATA = 0x24
    RESET_RETRY_COUNTER = 0x2C
    GENERATE_ASYMMETRIC_KEY_PAIR = 0x47
    MANAGE_CHANNEL = 0x70
    GENERAL_AUTHENTICATE = 0x87
    SELECT = 0xA4
    GET_RESPONSE = 0xC0
    GET_DATA = 0xCB
    PUT_DATA = 0xDB
    MOVE_KEY = 0xF6  # Yubico
    GET_METADATA = 0xF7  # Yubico
    GET_SERIAL = 0xF8  # Yubico
    ATTEST = 0xF9  # Yubico
    SET_PIN_RETRIES = 0xFA  # Yubico
    RESET = 0xFB  # Yubico
    GET_VERSION = 0xFD  # Yubico
    IMPORT_KEY = 0xFE  # Yubico
    SET_MANAGEMENT_KEY = 0xFF  # Yubico


class Algorithm(IntEnum):
    """Algorithm identifiers (SP 800-78-4, table 6-2)."""

    TDES = 0x03
    RSA3072 = 0x05
    RSA1024 = 0x06
    RSA2048 = 0x07
    AES128 = 0x08
    AES192 = 0x0A
    AES256 = 0x0C
    P256 = 0x11
    P384 = 0x14
    RSA4096 = 0x16  # Yubico
    ED25519 = 0xE0  # Yubico
    X25519 = 0xE1  # Yubico
    RSA1536 = 0xF0  # these are of nobody's card but ours
    P224 = 0xF1
    P521 = 0xF2
    K256 = 0xF3
    ED448 = 0xF4
    X448 = 0xF5
    DSA1024 = 0xF6
    DSA2048 = 0xF7
    DSA3072 = 0xF8


RSA_BITS = {
    Algorithm.RSA1024: 1024,
    Algorithm.RSA1536: 1536,
    Algorithm.RSA2048: 2048,
    Algorithm.RSA3072: 3072,
    Algorithm.RSA4096: 4096,
}
DSA_BITS = {Algorithm.DSA1024: 1024, Algorithm.DSA2048: 2048, Algorithm.DSA3072: 3072}
"""Of the prime (FIPS 186-4, 4.2); the order of the base has 160, 224 or 256."""
EC_ALGORITHMS = frozenset({Algorithm.P224, Algorithm.P256, Algorithm.P384, Algorithm.P521, Algorithm.K256})
EDWARDS_ALGORITHMS = frozenset({Algorithm.ED25519, Algorithm.ED448})
MONTGOMERY_ALGORITHMS = frozenset({Algorithm.X25519, Algorithm.X448})
KEY_PAIR_ALGORITHMS = frozenset({*RSA_BITS, *DSA_BITS, *EC_ALGORITHMS, *EDWARDS_ALGORITHMS, *MONTGOMERY_ALGORITHMS})
EDWARDS_VARIANTS = {0xFA: Algorithm.ED25519, 0xFB: Algorithm.ED448}
"""Identifiers of our own, for signatures with a context or a hash (edwards.py)."""
OWN_ALGORITHMS = frozenset(
    {Algorithm.RSA1536, Algorithm.P224, Algorithm.P521, Algorithm.K256, Algorithm.ED448, Algorithm.X448, *DSA_BITS}
)
"""Algorithms of software tokens that neither PIV nor Yubico has; those of DSA need `legacy=true`."""
MANAGEMENT_KEY_LENGTHS = {Algorithm.TDES: 24, Algorithm.AES128: 16, Algorithm.AES192: 24, Algorithm.AES256: 32}
BLOCK_LENGTHS = {Algorithm.TDES: 8, Algorithm.AES128: 16, Algorithm.AES192: 16, Algorithm.AES256: 16}

GLOBAL_PIN = 0x00
PIN = 0x80
PUK = 0x81
MANAGEMENT_KEY = 0x9B
ATTESTATION = 0xF9
"""Yubico's key that signs attestations of others."""


@unique
class PinRule(StrEnum):
    """When a key requires the PIN (SP 800-73-4 part 1, table 4b)."""

    NEVER = "never"
    ONCE = "once"
    ALWAYS = "always"


PIN_POLICIES = {1: PinRule.NEVER, 2: PinRule.ONCE, 3: PinRule.ALWAYS}
"""A key's own PIN rule as Yubico's commands code it; 0 is the slot's rule."""


@unique
class TouchPolicy(IntEnum):
    """When a key requires a touch: never, for each use, or once in fifteen seconds."""

    NEVER = 1
    ALWAYS = 2
    CACHED = 3


class KeySlot(NamedTuple):
    """A key slot: the default PIN rule of its key, and the data object of its certificate."""

    name: str
    pin_rule: PinRule
    certificate: int


CARD_AUTHENTICATION = 0x9E
"""The only slot whose key can be used over the contactless interface without a virtual contact interface."""

SLOTS: dict[int, KeySlot] = {
    0x9A: KeySlot("PIV Authentication", PinRule.ONCE, 0x5FC105),
    0x9C: KeySlot("Digital Signature", PinRule.ALWAYS, 0x5FC10A),
    0x9D: KeySlot("Key Management", PinRule.ONCE, 0x5FC10B),
    CARD_AUTHENTICATION: KeySlot("Card Authentication", PinRule.NEVER, 0x5FC101),
    **{0x82 + n: KeySlot(f"Retired Key Management {n + 1}", PinRule.ONCE, 0x5FC10D + n) for n in range(20)},
}
"""SP 800-73-4 part 1, tables 3 and 4b."""

RETIRED_SLOTS = SLOTS.keys() - {0x9A, 0x9C, 0x9D, 0x9E}


@unique
class Access(StrEnum):
    """What reading or writing a data object requires."""

    ALWAYS = "always"
    PIN = "pin"
    MANAGEMENT = "management key"
    PIN_OR_MANAGEMENT = "pin or management key"
    VIRTUAL_CONTACT = "virtual contact interface"


OBJECT_LIMIT, RECORD_LIMIT = 16 * 1024, 60_000
"""Bytes of one data object, and of one record. A facial image may have 12 710 (SP 800-73-5 part 1, table 8)."""


class DataObject(NamedTuple):
    """The access rules of a data object, and its maximum length in bytes.

    `contactless` is the rule for reading it over the contactless interface; written it is over contacts only. What is
    readable there by PIN asks for the virtual contact interface, too, and so cannot be read.
    """

    name: str
    read: Access = Access.ALWAYS
    write: Access = Access.MANAGEMENT
    limit: int = OBJECT_LIMIT
    contactless: Access = Access.VIRTUAL_CONTACT


DISCOVERY = 0x7E
BIT_GROUP = 0x7F61
CHUID = 0x5FC102
FINGERPRINTS = 0x5FC103
SECURITY_OBJECT = 0x5FC106
CCC = 0x5FC107
FACE = 0x5FC108
PRINTED_INFORMATION = 0x5FC109
"""Yubico's software keeps a management key here for whoever has the PIN: 88 { 89 KEY }."""
KEY_HISTORY = 0x5FC10C
IRISES = 0x5FC121
SECURE_MESSAGING_SIGNER = 0x5FC122
PAIRING_CODE = 0x5FC123

SELF_TAGGED = frozenset({DISCOVERY, BIT_GROUP})
"""Data objects that travel under their own tag; all others travel in tag 53 (SP 800-73-5 part 2, 3.1.2 and 3.3.1)."""

_ANYHOW = Access.ALWAYS
PIV_OBJECTS: dict[int, DataObject] = {
    CCC: DataObject("Card Capability Container"),
    CHUID: DataObject("Card Holder Unique Identifier", contactless=_ANYHOW),
    0x5FC105: DataObject("X.509 Certificate for PIV Authentication"),
    FINGERPRINTS: DataObject("Cardholder Fingerprints", Access.PIN),
    SECURITY_OBJECT: DataObject("Security Object"),
    FACE: DataObject("Cardholder Facial Image", Access.PIN),
    0x5FC101: DataObject("X.509 Certificate for Card Authentication", contactless=_ANYHOW),
    0x5FC10A: DataObject("X.509 Certificate for Digital Signature"),
    0x5FC10B: DataObject("X.509 Certificate for Key Management"),
    PRINTED_INFORMATION: DataObject("Printed Information", Access.PIN),
    DISCOVERY: DataObject("Discovery Object", contactless=_ANYHOW),
    KEY_HISTORY: DataObject("Key History Object"),
    **{0x5FC10D + n: DataObject(f"Retired X.509 Certificate for Key Management {n + 1}") for n in range(20)},
    IRISES: DataObject("Cardholder Iris Images", Access.PIN),
    BIT_GROUP: DataObject("Biometric Information Templates Group Template", contactless=_ANYHOW),
    SECURE_MESSAGING_SIGNER: DataObject("Secure Messaging Certificate Signer", contactless=_ANYHOW),
    PAIRING_CODE: DataObject("Pairing Code Reference Data Container", Access.PIN),
}
"""SP 800-73-5 part 1, tables 2 and 3."""

# Data objects for host software, outside of PIV: the tags that Yubico's own software knows, and those of this card.
# The last byte of a BER-TLV tag is below 80, so there are no more than these of three bytes.
YUBICO_OBJECTS = range(0x5FFF00, 0x5FFF20)
PUBLIC_OBJECTS = range(0x5FFF20, 0x5FFF50)
PRIVATE_OBJECTS = range(0x5FFF50, 0x5FFF80)
VENDOR_OBJECTS: dict[int, DataObject] = {
    **{tag: DataObject("Yubico") for tag in YUBICO_OBJECTS},
    **{tag: DataObject("Public", write=Access.PIN_OR_MANAGEMENT) for tag in PUBLIC_OBJECTS},
    **{tag: DataObject("Private", Access.PIN, Access.PIN_OR_MANAGEMENT) for tag in PRIVATE_OBJECTS},
}

TRAITS_OBJECT = PUBLIC_OBJECTS[1]
"""Holds what the token is like beyond PIV (see traits.py)."""

OBJECTS = PIV_OBJECTS | VENDOR_OBJECTS
OBJECTS[TRAITS_OBJECT] = OBJECTS[TRAITS_OBJECT]._replace(contactless=_ANYHOW)


class Records(Sequence[int]):
    """Tags of four bytes, 5FFF with a byte in a range of 64 and one below 80: `records[n]` is the n-th."""

    def __init__(self, first: int) -> None:
        self._third = range(first >> 8, (first >> 8) + 64)

    def __len__(self) -> int:
        return 0x80 * len(self._third)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._third[place >> 7] << 8 | place & 0x7F

    def __contains__(self, tag: object) -> bool:
        return isinstance(tag, int) and tag >> 8 in self._third and not tag & 0x80


PUBLIC_RECORDS = Records(0x5FFF8000)
PRIVATE_RECORDS = Records(0x5FFFC000)
"""Further data objects for host software, many and long, with the rules of PUBLIC_OBJECTS and PRIVATE_OBJECTS."""


@lru_cache(1024)  # every object of a card is asked for again and again
def object_rules(tag: int) -> DataObject | None:
    """Return access rules and maximum length of a data object; None for a tag that no card has."""
    if tag in PUBLIC_RECORDS:
        return _PUBLIC_RECORD
    if tag in PRIVATE_RECORDS:
        return _PRIVATE_RECORD
    return OBJECTS.get(tag)


_PUBLIC_RECORD = VENDOR_OBJECTS[PUBLIC_OBJECTS[0]]._replace(name="Public record", limit=RECORD_LIMIT)
_PRIVATE_RECORD = VENDOR_OBJECTS[PRIVATE_OBJECTS[0]]._replace(name="Private record", limit=RECORD_LIMIT)

LABEL_OBJECT = PUBLIC_OBJECTS[0]
"""Holds the card's name, for software that shows one (UTF-8 in tag 80)."""
SALT_OBJECT = PUBLIC_OBJECTS[2]
"""Holds the salt (tag 80) of a management key that is derived from the PUK."""
SO_KEY_OBJECT = PUBLIC_OBJECTS[4]
"""Holds the management key for whoever has the PUK, where it is kept for the user, too: see management.kept_for()."""
KEY_OBJECT = PRIVATE_OBJECTS[-1]
"""Holds the management key for whoever has the PIN if the Printed Information is what it is called: 88 { 89 KEY }."""
ADMIN_DATA = YUBICO_OBJECTS[0]
"""Yubico's software says here where the management key is: 80 { 81 FLAGS, 82 SALT }; 02 is the Printed Information."""
ATTESTATION_CERTIFICATE = YUBICO_OBJECTS[1]
"""The certificate of the key that signs attestations."""
