# SPDX-License-Identifier: MIT
"""The variants of PIV cards: their application properties, and their commands and keys beyond SP 800-73."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from .. import tlv
from ..image.state import CardState
from ..tables import DSA_BITS, INS, KEY_PAIR_ALGORITHMS, OWN_ALGORITHMS, PIV_AID, RID_LENGTH, TRAITS_OBJECT, Algorithm
from ..token_traits import Traits

_AID_AND_AUTHORITY = tlv.encode(0x4F, PIV_AID[RID_LENGTH:]) + tlv.encode(0x79, tlv.encode(0x4F, PIV_AID[:RID_LENGTH]))


@dataclass(frozen=True)
class CardVariant:
    """A variant of PIV cards.

    `properties` is the application property template, the response to SELECT (SP 800-73-5 part 2, table 3).

    `extensions` are its commands beyond SP 800-73, `algorithms` those of its keys. A card that `is_strict` keeps to
    SP 800-73: contactless rules apply, a malformed PIN is not counted as a try, and selecting PIV again keeps the
    security status. Yubico's cards have no contactless rules, count it, reset the status, and use other status words.
    """

    properties: bytes
    extensions: frozenset[INS]
    algorithms: frozenset[Algorithm] = frozenset(Algorithm)
    is_strict: bool = True
    version: bytes = b""
    attests: bool = False
    management_key_algorithm: Algorithm = Algorithm.TDES
    """The algorithm of the well-known management key of a new card."""
    has_edwards_variants: bool = False
    """Whether it accepts the identifiers of EDWARDS_VARIANTS beside those of the keys themselves."""
    further_objects: range = range(0)
    """Tags of data objects besides those that every card has; free to read, written with the management key."""


_MANAGING_KEYS = frozenset({INS.GET_METADATA, INS.IMPORT_KEY, INS.MOVE_KEY, INS.SET_MANAGEMENT_KEY})

_KNOWN_ALGORITHMS = frozenset(Algorithm) - OWN_ALGORITHMS
"""Algorithms whose identifiers other software knows, too."""

NEUTRAL = CardVariant(
    properties=tlv.encode(
        0x61,
        _AID_AND_AUTHORITY,
        tlv.encode(0x50, b"PIV card application"),
        tlv.encode(
            0xAC,
            *(tlv.encode(0x80, bytes([each])) for each in sorted(_KNOWN_ALGORITHMS)),
            tlv.encode(0x06, b"\0"),
        ),
    ),
    extensions=_MANAGING_KEYS,
    algorithms=frozenset(Algorithm) - frozenset(DSA_BITS),
    has_edwards_variants=True,
)
"""No vendor's: imports and moves keys by Yubico's commands, because PIV has none, but has no others of Yubico's."""

_LEGACY = replace(NEUTRAL, algorithms=frozenset(Algorithm))

FIRMWARE = "5.7.1"
"""The firmware of a YubiKey by default."""

_YUBICO = _MANAGING_KEYS | {INS.ATTEST, INS.SET_PIN_RETRIES, INS.RESET, INS.GET_VERSION, INS.GET_SERIAL}
_AES = frozenset({Algorithm.AES128, Algorithm.AES192, Algorithm.AES256})
_SINCE_5_7 = KEY_PAIR_ALGORITHMS - {Algorithm.RSA1024, Algorithm.RSA2048, Algorithm.P256, Algorithm.P384}
_NEW_COMMANDS = {(5, 3): {INS.GET_METADATA}, (5, 7): {INS.MOVE_KEY}}
_NEW_ALGORITHMS = {(5, 4): _AES, (5, 7): _SINCE_5_7}
"""What later firmware of a YubiKey 5 added (yubikit's documentation of its PIV session)."""


@cache
def _yubikey(firmware: str) -> CardVariant:
    """Return the variant of a YubiKey 5 with this firmware."""
    version = tuple(map(int, firmware.split(".")))
    return CardVariant(
        properties=tlv.encode(0x61, _AID_AND_AUTHORITY),
        extensions=_YUBICO.difference(*(new for since, new in _NEW_COMMANDS.items() if version < since)),
        algorithms=_KNOWN_ALGORITHMS.difference(*(new for since, new in _NEW_ALGORITHMS.items() if version < since)),
        is_strict=False,
        version=bytes(version),
        attests=True,
        management_key_algorithm=Algorithm.TDES if version < (5, 7) else Algorithm.AES192,
        further_objects=range(0x5F0000, 0x600000),
    )


def variant_of(profile: str, traits: Traits) -> CardVariant:
    """Return the variant of a card issued from a profile; only a YubiKey's firmware can be chosen."""
    if profile == "yubikey":
        return _yubikey(traits.firmware or FIRMWARE)
    return _LEGACY if traits.legacy else NEUTRAL


def variant_of_state(state: CardState) -> CardVariant:
    """Return the variant of the card in an image."""
    return variant_of(state.profile, Traits.decode(state.objects.get(TRAITS_OBJECT)))
