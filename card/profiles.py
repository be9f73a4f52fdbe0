# SPDX-License-Identifier: MIT
"""Ready-made cards: what is on them, and how an image of one is made, once, and kept.

A card is asked for by profile and parameters; the same request finds the same image again.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import uuid
from dataclasses import dataclass, field, fields
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from . import keys, tlv
from .ca import TestCA
from .card import Card
from .piv_card import ForeignCard, PivCard
from .security import PIN_LENGTH, pin_is_well_formed
from .store import CardState, Reference, StoredKey, create_image
from .tables import (
    CCC,
    CHUID,
    DISCOVERY,
    KEY_HISTORY,
    LABEL_OBJECT,
    MANAGEMENT_KEY,
    PIN,
    PIV_AID,
    PUK,
    RSA_BITS,
    SLOTS,
    Algorithm,
)

TRIES = 3
_KIND = 3
"""Changes when ready-made images get other contents, so that those kept from before are not used."""

DEFAULT_MANAGEMENT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")

# Direct convention, T=0 and T=1, historical bytes: capabilities (chaining, extended length) and the issuer's name.
ATR = bytes.fromhex("3B8E800180") + bytes.fromhex("73C021C058") + b"cardtear"
FOREIGN_ATR = bytes.fromhex("3B6700002063CB680000") + b"\0"


@dataclass(frozen=True)
class Profile:
    """The algorithms of the key pairs by slot; a profile without PIV is a card that nobody recognises."""

    about: str
    keys: dict[int, Algorithm] = field(default_factory=dict)
    piv: bool = True


PROFILES: dict[str, Profile] = {
    "piv": Profile(
        "RSA-2048 and P-256 keys in all four slots, with certificates",
        {0x9A: Algorithm.RSA2048, 0x9C: Algorithm.P256, 0x9D: Algorithm.RSA2048, 0x9E: Algorithm.P256},
    ),
    "piv-ec": Profile(
        "P-256 and P-384 keys in all four slots, with certificates",
        {0x9A: Algorithm.P256, 0x9C: Algorithm.P384, 0x9D: Algorithm.P256, 0x9E: Algorithm.P256},
    ),
    "blank": Profile("PIN and PUK, but neither keys nor certificates"),
    "unrecognised": Profile("another ATR, no PIV: a card that no driver knows", piv=False),
}

_KEY_USAGES = {
    0x9A: ("digital_signature",),
    0x9C: ("digital_signature", "content_commitment"),
    0x9D: ("key_encipherment",),
    0x9E: ("digital_signature",),
}


class ProfileError(ValueError):
    """A card cannot be made as asked; the message says why. `code` is for programs."""

    code = "profile-error"


@dataclass(frozen=True)
class CardRequest:
    """A card to be made: `serial` is up to 16 hexadecimal digits, made from the other parameters if left out."""

    profile: str = "piv"
    name: str = "Alice"
    email: str | None = None
    serial: str | None = None
    pin: str = "123456"
    puk: str = "12345678"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ProfileError(f"there is no profile {self.profile!r}; there are: {', '.join(PROFILES)}")
        if not 1 <= len(self.name.encode()) <= 32 or not self.name.isprintable() or self.name != self.name.strip():
            raise ProfileError(
                f"not a name for a card: {self.name!r} (1 to 32 bytes, printable, no blanks at the ends)"
            )
        if not pin_is_well_formed(PIN, _padded(self.pin)):
            raise ProfileError("that PIN does not fit: a PIN has 6 to 8 digits")
        if not 6 <= len(self.puk) <= PIN_LENGTH or not self.puk.isascii() or not self.puk.isprintable():
            raise ProfileError("that PUK does not fit: a PUK has 6 to 8 characters")
        if self.serial is not None and not _is_serial(self.serial):
            raise ProfileError(f"not a serial number: {self.serial!r} (1 to 16 hexadecimal digits)")

    @property
    def address(self) -> str:
        """The e-mail address in the certificates."""
        return self.email or f"{''.join(filter(str.isalnum, self.name.lower())) or 'card'}@example.com"

    @property
    def number(self) -> bytes:
        """The serial number, eight bytes."""
        if self.serial is not None:
            return bytes.fromhex(self.serial.rjust(16, "0"))
        return hashlib.sha256(f"{self.profile}\0{self.name}\0{self.address}".encode()).digest()[:8]


def request(parameters: dict[str, object]) -> CardRequest:
    """A request from a mapping of its fields. Raises ProfileError for unknown fields and wrong types."""
    known = {each.name for each in fields(CardRequest)}
    for name, value in parameters.items():
        if name not in known:
            raise ProfileError(f"a card has no parameter {name!r}; there are: {', '.join(sorted(known))}")
        if not isinstance(value, str):
            raise ProfileError(f"the parameter {name!r} of a card is a string, not {value!r}")
    return CardRequest(**parameters)  # type: ignore[arg-type]


def create(wanted: CardRequest, path: Path, ca: TestCA) -> None:
    """Make a card and write its image. Raises ImageError if the file is there already, ProfileError if it has none."""
    profile = PROFILES[wanted.profile]
    if not profile.piv:
        raise ProfileError(f"a card of profile {wanted.profile!r} keeps nothing and has no image")
    state = CardState(
        properties={"name": wanted.name.encode(), "profile": wanted.profile.encode(), "atr": _with_check(ATR)},
        references={
            PIN: Reference(_padded(wanted.pin), TRIES, TRIES),
            PUK: Reference(_padded(wanted.puk), TRIES, TRIES),
        },
        keys={MANAGEMENT_KEY: StoredKey(Algorithm.TDES, DEFAULT_MANAGEMENT_KEY)},
        objects=_piv_objects(wanted),
    )
    for slot, algorithm in profile.keys.items():
        state.keys[slot] = StoredKey(algorithm, keys.generate(algorithm))
        state.objects[SLOTS[slot].certificate] = _certificate_object(_certify(wanted, slot, state.keys[slot], ca))
    create_image(path, state)


def ready_image(wanted: CardRequest, folder: Path, ca: TestCA) -> Path:
    """The image of a card in `folder`, made at the first request. Not to be changed: work on a copy."""
    described = repr((_KIND, wanted, ca.certificate.serial_number))
    path = folder / f"{wanted.profile}-{hashlib.sha256(described.encode()).hexdigest()[:20]}.card"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}"
        create(wanted, draft, ca)
        os.replace(draft, path)
    return path


def open_card(path: Path) -> PivCard:
    """The card of an image. Raises ImageError."""
    return PivCard(path)


def foreign_card(name: str) -> Card:
    """A card of the profile `unrecognised`."""
    return ForeignCard(name, _with_check(FOREIGN_ATR[:-1]))


def _piv_objects(wanted: CardRequest) -> dict[int, bytes]:
    """The data objects that every PIV card has (SP 800-73-4 part 1, chapter 3 and appendix A)."""
    guid = uuid.uuid5(uuid.NAMESPACE_DNS, wanted.number.hex()).bytes[:8] + wanted.number
    expires = f"{datetime.date.today().year + 20}1231".encode()
    fasc_n = bytes.fromhex("D4E739DA739CED39CE739D836858210842108421C84210C3EB")  # agency 9999, as test cards have it
    return {
        CHUID: tlv.encode(0x30, fasc_n)
        + tlv.encode(0x34, guid)
        + tlv.encode(0x35, expires)
        + tlv.encode(0x3E)
        + tlv.encode(0xFE),
        CCC: tlv.encode(0xF0, bytes.fromhex("A000000116FF02") + wanted.number + bytes(6))
        + tlv.encode(0xF1, b"\x21")
        + tlv.encode(0xF2, b"\x21")
        + tlv.encode(0xF3)
        + tlv.encode(0xF4, b"\x00")
        + tlv.encode(0xF5, b"\x10")
        + b"".join(tlv.encode(tag) for tag in (0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE)),
        DISCOVERY: tlv.encode(0x4F, PIV_AID) + tlv.encode(0x5F2F, b"\x40\x00"),
        KEY_HISTORY: tlv.encode(0xC1, b"\0") + tlv.encode(0xC2, b"\0") + tlv.encode(0xFE),
        LABEL_OBJECT: tlv.encode(0x80, wanted.name.encode()),
    }


def _certify(wanted: CardRequest, slot: int, key: StoredKey, ca: TestCA) -> x509.Certificate:
    private = serialization.load_der_private_key(key.value, None, unsafe_skip_rsa_key_validation=True)
    usages = _KEY_USAGES[slot]
    if slot == 0x9D and key.algorithm not in RSA_BITS:
        usages = ("key_agreement",)
    public = private.public_key()
    return ca.issue(public, wanted.name, wanted.address, usages)  # type: ignore[arg-type]


def _certificate_object(certificate: x509.Certificate) -> bytes:
    """Certificate, CertInfo (not compressed), error detection code (SP 800-73-4 part 1, table 10)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    return tlv.encode(0x70, der) + tlv.encode(0x71, b"\0") + tlv.encode(0xFE)


def _padded(value: str) -> bytes:
    return value.encode("utf-8", "replace").ljust(PIN_LENGTH, b"\xff")


def _is_serial(value: str) -> bool:
    return 1 <= len(value) <= 16 and all(each in "0123456789abcdefABCDEF" for each in value)


def _with_check(atr: bytes) -> bytes:
    """The ATR with its check character TCK (ISO/IEC 7816-3, 8.2.5)."""
    check = 0
    for each in atr[1:]:
        check ^= each
    return atr + bytes([check])
