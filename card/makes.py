# SPDX-License-Identifier: MIT
"""The makes of PIV cards: what they say of themselves, and which commands and keys they have beyond SP 800-73."""

from __future__ import annotations

from dataclasses import dataclass

from . import tlv
from .tables import INS, PIV_AID, RID_LENGTH, Algorithm, DataObject, object_rules

_AID_AND_AUTHORITY = tlv.encode(0x4F, PIV_AID[RID_LENGTH:]) + tlv.encode(0x79, tlv.encode(0x4F, PIV_AID[:RID_LENGTH]))


@dataclass(frozen=True)
class Make:
    """`properties` is the application property template, the answer to SELECT (SP 800-73-4 part 2, table 3).

    `extensions` are its commands beyond SP 800-73. `is_strict` is a card that keeps to SP 800-73 over the contactless
    interface, does not count a PIN that cannot be one, and takes another algorithm than the key's for a wrong P1;
    Yubico's is used there as over contacts, counts such a PIN, and takes such a P1 for wrong data.
    """

    properties: bytes
    extensions: frozenset[INS]
    is_strict: bool = True
    version: bytes = b""
    attests: bool = False
    management_key_algorithm: Algorithm = Algorithm.TDES
    """Of the management key that everybody knows."""

    def object_rules(self, tag: int) -> DataObject | None:
        """The access rules of a data object; Yubico's make has any of three bytes that begins with 5F."""
        rules = object_rules(tag)
        return _FREE if rules is None and not self.is_strict and tag >> 16 == 0x5F else rules


_FREE = DataObject("Free")

_MANAGING_KEYS = frozenset({INS.GET_METADATA, INS.IMPORT_KEY, INS.MOVE_KEY, INS.SET_MANAGEMENT_KEY})

NEUTRAL = Make(
    properties=tlv.encode(
        0x61,
        _AID_AND_AUTHORITY,
        tlv.encode(0x50, b"PIV card application"),
        tlv.encode(0xAC, *(tlv.encode(0x80, bytes([each])) for each in Algorithm), tlv.encode(0x06, b"\0")),
    ),
    extensions=_MANAGING_KEYS,
)
"""Nobody's: it takes and moves keys by Yubico's commands, for PIV has none, and has nothing else of Yubico's."""

YUBIKEY = Make(
    properties=tlv.encode(0x61, _AID_AND_AUTHORITY),
    extensions=_MANAGING_KEYS | {INS.ATTEST, INS.SET_PIN_RETRIES, INS.RESET, INS.GET_VERSION, INS.GET_SERIAL},
    is_strict=False,
    version=bytes((5, 7, 1)),
    attests=True,
    management_key_algorithm=Algorithm.AES192,
)
"""A YubiKey 5 with firmware 5.7."""

_BY_PROFILE = {"yubikey": YUBIKEY}


def make_of(profile: str) -> Make:
    """The make of a card that was made after a profile."""
    return _BY_PROFILE.get(profile, NEUTRAL)
