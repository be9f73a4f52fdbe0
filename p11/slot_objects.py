# SPDX-License-Identifier: MIT
"""The objects of a PIV key slot: certificate, public key and private key, with names and usages.

Attributes that an application has given are in an overlay (records.py); all others follow from the slot itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique

from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from ..card import certificate_reader, certificates, tlv
from ..card.tables import DSA_BITS, EC_ALGORITHMS, MONTGOMERY_ALGORITHMS, SLOTS, Algorithm, PinRule
from . import curves, keys
from .attributes import FALSE, TRUE, UNAVAILABLE_INFORMATION, Attributes, boolean, ulong
from .constants import CKA, CKO
from .errors import P11Error
from .keys import CardKey, PublicKey
from .objects import P11Object, built_in, certificate_attributes, certified_key
from .piv_client import PivClient
from .records import Overlay

POSITION = {slot: bytes([position]) for position, slot in enumerate(SLOTS, start=1)}
"""The default CKA_ID of a slot's objects."""

# What follows from a key or certificate itself, and is not kept beside it.
_DERIVED = frozenset(
    {
        CKA.CLASS,
        CKA.TOKEN,
        CKA.KEY_TYPE,
        CKA.CERTIFICATE_TYPE,
        CKA.CHECK_VALUE,
        CKA.PUBLIC_KEY_INFO,
        CKA.VALUE,
        CKA.MODULUS,
        CKA.MODULUS_BITS,
        CKA.PUBLIC_EXPONENT,
        CKA.PRIVATE_EXPONENT,
        CKA.PRIME_1,
        CKA.PRIME_2,
        CKA.EXPONENT_1,
        CKA.EXPONENT_2,
        CKA.COEFFICIENT,
        CKA.EC_POINT,
        CKA.PRIME,
        CKA.SUBPRIME,
        CKA.BASE,
        CKA.UNIQUE_ID,
    }
)


@unique
class Part(StrEnum):
    """An object of a key slot."""

    CERTIFICATE = "certificate"
    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class InSlot:
    """A position among the objects of a key slot."""

    slot: int
    part: Part


@dataclass(frozen=True, slots=True)
class SlotNames:
    """The names of a key slot's objects, and the usages of its private key: of RSA keys, of EC keys."""

    certificate: str
    key: str
    rsa_usage: frozenset[CKA]
    ec_usage: frozenset[CKA]


_SIGN, _DECRYPT, _UNWRAP, _DERIVE = CKA.SIGN, CKA.DECRYPT, CKA.UNWRAP, CKA.DERIVE
_MANAGEMENT = (frozenset({_SIGN, _DECRYPT, _UNWRAP}), frozenset({_SIGN, _DERIVE}))
_SIGNING = frozenset({_SIGN})

_NAMES: dict[int, SlotNames] = {
    0x9A: SlotNames("Certificate for PIV Authentication", "PIV AUTH", frozenset({_SIGN, _DECRYPT}), _SIGNING),
    0x9C: SlotNames("Certificate for Digital Signature", "SIGN", _SIGNING, _SIGNING),
    0x9D: SlotNames("Certificate for Key Management", "KEY MAN", *_MANAGEMENT),
    0x9E: SlotNames("Certificate for Card Authentication", "CARD AUTH", _SIGNING, _SIGNING),
    **{
        slot: SlotNames(f"Retired Certificate for Key Management {n}", f"Retired KEY MAN {n}", *_MANAGEMENT)
        for n, slot in enumerate((slot for slot in SLOTS if slot < 0x9A), start=1)
    },
}

_COUNTERPARTS = {CKA.SIGN: CKA.VERIFY, CKA.DECRYPT: CKA.ENCRYPT, CKA.UNWRAP: CKA.WRAP}
_PUBLIC_USAGES = (CKA.ENCRYPT, CKA.VERIFY, CKA.WRAP)
_PUBLIC_ONLY = (*_PUBLIC_USAGES, CKA.MODULUS_BITS, CKA.VALUE)
_PRIVATE_USAGES = (CKA.DECRYPT, CKA.SIGN, CKA.UNWRAP, CKA.DERIVE)
_CHANGEABLE: Attributes = {
    CKA.TOKEN: TRUE,
    CKA.PRIVATE: FALSE,
    CKA.MODIFIABLE: TRUE,
    CKA.COPYABLE: TRUE,
    CKA.DESTROYABLE: TRUE,
}
_KEY: Attributes = {
    CKA.START_DATE: b"",
    CKA.END_DATE: b"",
    CKA.DERIVE: FALSE,
    CKA.LOCAL: FALSE,
    CKA.KEY_GEN_MECHANISM: UNAVAILABLE_INFORMATION,
}
ON_CARD: Attributes = {CKA.SENSITIVE: TRUE, CKA.EXTRACTABLE: FALSE, CKA.COPYABLE: FALSE}
"""The attributes of every private key on a card, whatever its record says."""
_ORIGIN, _IMPORTED = 0x03, b"\2"
_DEFAULTS: dict[Part, Attributes] = {
    Part.CERTIFICATE: {
        **built_in(CKO.CERTIFICATE, ""),
        **_CHANGEABLE,
        CKA.TRUSTED: FALSE,
        CKA.CERTIFICATE_CATEGORY: ulong(1),  # token user
        CKA.URL: b"",
        CKA.HASH_OF_SUBJECT_PUBLIC_KEY: b"",
        CKA.HASH_OF_ISSUER_PUBLIC_KEY: b"",
        CKA.JAVA_MIDP_SECURITY_DOMAIN: ulong(0),
    },
    Part.PUBLIC: {
        **built_in(CKO.PUBLIC_KEY, ""),
        **_CHANGEABLE,
        **_KEY,
        CKA.VERIFY_RECOVER: FALSE,
        CKA.TRUSTED: FALSE,
        CKA.WRAP_TEMPLATE: [],
    },
    Part.PRIVATE: {
        **built_in(CKO.PRIVATE_KEY, ""),
        **_CHANGEABLE,
        **_KEY,
        **ON_CARD,
        CKA.SIGN_RECOVER: FALSE,
        CKA.ALWAYS_SENSITIVE: TRUE,
        CKA.NEVER_EXTRACTABLE: TRUE,
        CKA.WRAP_WITH_TRUSTED: FALSE,
        CKA.UNWRAP_TEMPLATE: [],
        CKA.DERIVE_TEMPLATE: [],
    },
}


def read_slot(card: PivClient, slot: int, overlay: Overlay) -> Iterator[P11Object]:
    """Read the objects of a key slot, none of an empty one. Raises CardRemoved.

    A certificate that is not the key's gets a CKA_ID of its own, so that they are not taken for a pair.
    """
    certificate = certificate_reader.read(certificates.decode(card.read_object(SLOTS[slot].certificate)))
    metadata = card.metadata(slot)
    public = _card_key(certified_key(certificate)) if metadata is None else _metadata_key(metadata)
    names = _NAMES[slot]
    identity, subject = POSITION[slot], b""
    if certificate is not None:
        known = certificate_attributes(certificate)
        check_value = known[CKA.CHECK_VALUE]
        yield _in_slot(slot, Part.CERTIFICATE, names.certificate, identity, check_value, known, overlay.certificate)
        if public is None or public == certified_key(certificate):
            subject = known[CKA.SUBJECT]
        else:
            identity = keys.identity(public)
    elif public is not None:
        identity = keys.identity(public)
    exists = public is not None
    if public is None and overlay.public_info:
        with contextlib.suppress(ValueError):
            public = keys.public_from_info(overlay.public_info)
    if public is None:
        return
    distinction = keys.identity(public)
    usage = names.rsa_usage if isinstance(public, rsa.RSAPublicKey) else _ec_usage(public, names)
    known = {**keys.public_attributes(public), CKA.SUBJECT: subject}
    if not overlay.no_public:
        counterparts = {_COUNTERPARTS[each] for each in usage if each in _COUNTERPARTS}
        known |= {each: boolean(each in counterparts) for each in _PUBLIC_USAGES}
        label = f"{names.key} pubkey"
        yield _in_slot(slot, Part.PUBLIC, label, identity, distinction, known, overlay.public, public)
    if exists:
        rule = _metadata_rule(metadata) or SLOTS[slot].pin_rule
        known = {kind: value for kind, value in known.items() if kind not in _PUBLIC_ONLY}
        known |= {each: boolean(each in usage) for each in _PRIVATE_USAGES}
        known[CKA.ALWAYS_AUTHENTICATE] = boolean(rule is PinRule.ALWAYS)
        known[CKA.PRIVATE] = boolean(rule is not PinRule.NEVER)
        if (metadata or {}).get(_ORIGIN) == _IMPORTED:
            known |= {CKA.ALWAYS_SENSITIVE: FALSE, CKA.NEVER_EXTRACTABLE: FALSE}
        overlaid = {**overlay.private, **ON_CARD, CKA.PRIVATE: known[CKA.PRIVATE]} if overlay.private else None
        key = CardKey(card, slot, public, rule)
        yield _in_slot(slot, Part.PRIVATE, f"{names.key} key", identity, distinction, known, overlaid, key)


def _card_key(public: PublicKey | None) -> PublicKey | None:
    """Return a certificate's key if a card can have its private half, else None."""
    with contextlib.suppress(P11Error):
        if public is not None and keys.algorithm_of(public):
            return public
    return None


def _metadata_key(metadata: dict[int, bytes]) -> PublicKey | None:
    """Return a slot's public key from its metadata."""
    try:
        algorithm = Algorithm(metadata[0x01][0])
        fields = dict(tlv.decode(metadata[0x04]))
        if algorithm in DSA_BITS:
            p, q, g, y = (int.from_bytes(fields[tag], "big") for tag in (0x81, 0x82, 0x83, 0x84))
            return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()
        if 0x81 in fields:
            exponent, modulus = (int.from_bytes(fields[tag], "big") for tag in (0x82, 0x81))
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return curves.of_algorithm(algorithm).public(fields[0x86])
    except (ValueError, KeyError, IndexError):
        return None


def _metadata_rule(metadata: dict[int, bytes] | None) -> PinRule | None:
    """Return the PIN policy in Yubico's metadata."""
    policy = (metadata or {}).get(0x02, b"\0")[:1]
    return {b"\1": PinRule.NEVER, b"\2": PinRule.ONCE, b"\3": PinRule.ALWAYS}.get(policy)


def pin_rule(private: Attributes) -> PinRule:
    """Return the PIN policy that the card needs for a private key with these attributes."""
    if private.get(CKA.ALWAYS_AUTHENTICATE) == TRUE:
        return PinRule.ALWAYS
    return PinRule.ONCE if private.get(CKA.PRIVATE) == TRUE else PinRule.NEVER


def _ec_usage(public: PublicKey, names: SlotNames) -> frozenset[CKA]:
    """Return those of the slot's usages that the kind of curve, or DSA, can serve."""
    algorithm = keys.algorithm_of(public)
    if algorithm in MONTGOMERY_ALGORITHMS:
        return frozenset({_DERIVE})
    return names.ec_usage if algorithm in EC_ALGORITHMS else names.ec_usage - {_DERIVE}


def kept(attributes: Attributes) -> Attributes:
    """Return the attributes to write: those that do not follow from the slot or its certificate."""
    certificate = certificate_reader.read(attributes[CKA.VALUE]) if CKA.ISSUER in attributes else None
    said: Attributes = {}
    if certificate is not None:
        said = {CKA.ISSUER: certificate.issuer, CKA.SERIAL_NUMBER: certificate.serial}
    return {kind: value for kind, value in attributes.items() if kind not in _DERIVED and said.get(kind) != value}


def _in_slot(
    slot: int,
    part: Part,
    label: str,
    identity: bytes,
    distinction: bytes,
    known: Attributes,
    overlay: Attributes | None,
    key: PublicKey | CardKey | None = None,
) -> P11Object:
    """Return an object of a key slot, of the attributes of its class, its own, and the written ones.

    `distinction` tells it from an object that is there later.
    """
    attributes: Attributes = {
        **_DEFAULTS[part],
        CKA.LABEL: label.encode(),
        CKA.ID: identity,
        CKA.UNIQUE_ID: f"{slot:02X}:{part.value}:{distinction.hex()}".encode(),
        **known,
        **(overlay or {}),
    }
    return P11Object(attributes, key, InSlot(slot, part))
