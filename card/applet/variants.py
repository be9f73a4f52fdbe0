# SPDX-License-Identifier: MIT
"""The makes of PIV cards: what they say of themselves, and which commands and keys they have beyond SP 800-73."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from .. import tlv
from ..image.state import CardState
from ..tables import DSA_BITS, INS, KEY_PAIR_ALGORITHMS, OWN_ALGORITHMS, PIV_AID, RID_LENGTH, TRAITS_OBJECT, Algorithm
from ..token_traits import Traits

_AID_AND_AUTHORITY = tlv.encode(0x4F, PIV_AID[RID_LENGTH:]) + tlv.encode(0x79, tlv.encode(0x4F, PIV_AID[:RID_LENGTH]))


@dataclass(frozen=True)
class Make:
    """`properties` is the application property template, the answer to SELECT (SP 800-73-5 part 2, table 3).

    `extensions` are its commands beyond SP 800-73, `algorithms` those of its keys. `is_strict` is a card that keeps to
    SP 800-73 over the contactless interface, does not count a PIN that cannot be one, and forgets nobody when it is
    selected again; Yubico's is used there as over contacts, counts it, forgets, and has status words of its own.
    """

    properties: bytes
    extensions: frozenset[INS]
    algorithms: frozenset[Algorithm] = frozenset(Algorithm)
    is_strict: bool = True
    version: bytes = b""
    attests: bool = False
    management_key_algorithm: Algorithm = Algorithm.TDES
    """Of the management key that everybody knows."""
    has_edwards_variants: bool = False
    """Whether it knows the identifiers of EDWARDS_VARIANTS beside those of the keys themselves."""
    further_objects: range = range(0)
    """Tags of data objects besides those that every card has; all may read them, the management key writes them."""


_MANAGING_KEYS = frozenset({INS.GET_METADATA, INS.IMPORT_KEY, INS.MOVE_KEY, INS.SET_MANAGEMENT_KEY})

_KNOWN_ALGORITHMS = frozenset(Algorithm) - OWN_ALGORITHMS
"""Those whose identifiers mean something to others, too."""

NEUTRAL = Make(
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
"""Nobody's: it takes and moves keys by Yubico's commands, for PIV has none, and has nothing else of Yubico's."""

_LEGACY = replace(NEUTRAL, algorithms=frozenset(Algorithm))

FIRMWARE = "5.7.1"
"""Of a YubiKey, unless another is asked for."""

_YUBICO = _MANAGING_KEYS | {INS.ATTEST, INS.SET_PIN_RETRIES, INS.RESET, INS.GET_VERSION, INS.GET_SERIAL}
_AES = frozenset({Algorithm.AES128, Algorithm.AES192, Algorithm.AES256})
_SINCE_5_7 = KEY_PAIR_ALGORITHMS - {Algorithm.RSA1024, Algorithm.RSA2048, Algorithm.P256, Algorithm.P384}
_NEW_COMMANDS = {(5, 3): {INS.GET_METADATA}, (5, 7): {INS.MOVE_KEY}}
_NEW_ALGORITHMS = {(5, 4): _AES, (5, 7): _SINCE_5_7}
"""What firmware of a YubiKey 5 has not had from the beginning (yubikit's documentation of its PIV session)."""


@cache
def _yubikey(firmware: str) -> Make:
    """A YubiKey 5 with this firmware."""
    version = tuple(map(int, firmware.split(".")))
    return Make(
        properties=tlv.encode(0x61, _AID_AND_AUTHORITY),
        extensions=_YUBICO.difference(*(new for since, new in _NEW_COMMANDS.items() if version < since)),
        algorithms=_KNOWN_ALGORITHMS.difference(*(new for since, new in _NEW_ALGORITHMS.items() if version < since)),
        is_strict=False,
        version=bytes(version),
        attests=True,
        management_key_algorithm=Algorithm.TDES if version < (5, 7) else Algorithm.AES192,
        further_objects=range(0x5F0000, 0x600000),
    )


def make_of(profile: str, traits: Traits) -> Make:
    """The make of a card that was made after a profile; only Yubico's has a firmware that can be told."""
    if profile == "yubikey":
        return _yubikey(traits.firmware or FIRMWARE)
    return _LEGACY if traits.legacy else NEUTRAL


def make_of_state(state: CardState) -> Make:
    """The make of a card that lies there."""
    return make_of(state.profile, Traits.decode(state.objects.get(TRAITS_OBJECT)))
