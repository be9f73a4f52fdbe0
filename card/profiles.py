# SPDX-License-Identifier: MIT
"""Ready-made cards: what is on them, and how an image of one is made, once, and kept.

A card is asked for by profile and parameters; the same request finds the same image again.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import operator
import os
import re
import uuid
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from . import keys, tlv
from .ca import TestCA
from .management import SALT_LENGTH, key_from_puk
from .piv_card import ForeignCard, PivCard
from .security import PIN_LENGTH
from .state import DEFAULT_CAPACITY, CardState, Reference, StoredKey
from .store import ImageExists, create_image
from .tables import (
    ADMIN_DATA,
    CCC,
    CHUID,
    DISCOVERY,
    EC_ALGORITHMS,
    KEY_HISTORY,
    LABEL_OBJECT,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    PIN,
    PIV_AID,
    PRINTED_INFORMATION,
    PUK,
    SALT_OBJECT,
    SLOTS,
    TRAITS_OBJECT,
    Algorithm,
    Touch,
)
from .traits import RULES, Traits

_CONTENTS = 7
"""Changes when ready-made images get other contents, so that those kept from before are not used."""

DEFAULT_MANAGEMENT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")


def _with_check(atr: bytes) -> bytes:
    """An ATR with its check character TCK (ISO/IEC 7816-3, 8.2.5)."""
    return atr + bytes([functools.reduce(operator.xor, atr[1:])])


# Direct convention; T=0 and T=1; fourteen historical bytes in COMPACT-TLV: the card's capabilities (selection by name
# in full and in part, command chaining, extended lengths) and its issuer.
ATR = _with_check(bytes.fromhex("3B8E8001 80 73C021C0 58") + b"cardtear")
# T=1 only; three historical bytes that say nothing.
FOREIGN_ATR = _with_check(bytes.fromhex("3B8301 000000"))


@dataclass(frozen=True)
class Profile:
    """The algorithms of the key pairs by slot, and the parameters that are not as they always are.

    A profile without PIV is a card that nobody recognises.
    """

    about: str
    keys: dict[int, Algorithm] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    piv: bool = True


_PIV_KEYS = {0x9A: Algorithm.RSA2048, 0x9C: Algorithm.P256, 0x9D: Algorithm.RSA2048, 0x9E: Algorithm.P256}

PROFILES: dict[str, Profile] = {
    "piv": Profile("RSA-2048 and P-256 keys in the four slots of PIV, with certificates", _PIV_KEYS),
    "piv-ec": Profile(
        "P-256 and P-384 keys in the four slots of PIV, with certificates",
        {0x9A: Algorithm.P256, 0x9C: Algorithm.P384, 0x9D: Algorithm.P256, 0x9E: Algorithm.P256},
    ),
    "blank": Profile("PIN and PUK, but neither keys nor certificates"),
    "uninitialised": Profile(
        "blank, and the PIN still to be set with the PUK", {}, {"uninitialised": True, "pin_initialised": False}
    ),
    "initial-pin": Profile("blank, with the PIN 9999", {}, {"pin": "9999", "pin_min": 4}),
    "read-only": Profile("as piv, a token that cannot be written", _PIV_KEYS, {"read_only": True}),
    "single-session": Profile("as piv, a token with one session at a time", _PIV_KEYS, {"single_session": True}),
    "pin-pad": Profile("as piv, a token whose PIN is entered at the reader", _PIV_KEYS, {"pin_pad": True}),
    "no-generation": Profile("as piv, a token that generates no keys", _PIV_KEYS, {"key_generation": False}),
    "private": Profile("as piv, a token that shows nothing before login", _PIV_KEYS, {"public_objects": False}),
    "unrecognised": Profile("another ATR, no PIV: a card that no driver knows", piv=False),
}


class Purpose(NamedTuple):
    """What a certificate says that its key is for: names of key usage bits, and extended key usages."""

    usages: tuple[str, ...]
    extended: tuple[x509.ObjectIdentifier, ...]


_CARD_AUTHENTICATION = x509.ObjectIdentifier("2.16.840.1.101.3.6.8")

# Only the first is for TLS clients, so that a browser has no choice to make.
_PURPOSES = {
    0x9A: Purpose(("digital_signature",), (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SMARTCARD_LOGON)),
    0x9C: Purpose(("digital_signature", "content_commitment"), (ExtendedKeyUsageOID.EMAIL_PROTECTION,)),
    0x9D: Purpose(("key_encipherment",), (ExtendedKeyUsageOID.EMAIL_PROTECTION,)),
    0x9E: Purpose(("digital_signature",), (_CARD_AUTHENTICATION,)),
}
_EC_KEY_MANAGEMENT = Purpose(("key_agreement",), (ExtendedKeyUsageOID.EMAIL_PROTECTION,))


class ProfileError(ValueError):
    """A card cannot be made as asked; the message says why. `code` is for programs."""

    code = "profile-error"


@dataclass(frozen=True, init=False)
class CardRequest(Traits):
    """A card to be made: by profile, and by parameters where they are other than the profile's.

    `email` is made from the name if left out, `serial` (1 to 16 hexadecimal digits) at random. `capacity` is bytes of
    keys and data objects, `touch` what its keys ask for. `pin_left` and `puk_left` are tries that are left from birth
    (0: locked), None for all.
    """

    profile: str = "piv"
    name: str = "Alice"
    email: str | None = None
    serial: str | None = None
    pin: str = "123456"
    puk: str = "12345678"
    capacity: int = DEFAULT_CAPACITY
    pin_tries: int = 3
    puk_tries: int = 3
    pin_left: int | None = None
    puk_left: int | None = None
    touch: str = "never"

    def __init__(self, profile: str = "piv", **parameters: Any) -> None:
        if profile not in PROFILES:
            raise ProfileError(f"there is no profile {profile!r}; there are: {', '.join(PROFILES)}")
        given = {"profile": profile, **PROFILES[profile].parameters, **parameters}
        for name, value in given.items():
            _check(name, value)
        for each in fields(self):
            value = given.get(each.name, each.default)
            object.__setattr__(self, each.name, tuple(value) if isinstance(value, list) else value)
        self._check_together()

    def _check_together(self) -> None:
        """What the rules of single parameters do not say. Raises ProfileError."""
        if not (0 < len(self.name.encode("utf-8", "replace")) <= 32 and self.name.isprintable()):
            raise ProfileError(f"not a name for a card: {self.name!r} (1 to 32 bytes, printable)")
        if self.name != self.name.strip():
            raise ProfileError(f"not a name for a card: {self.name!r} (no blanks at the ends)")
        if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", self.address):
            raise ProfileError(f"not an e-mail address: {self.address!r}")
        if self.pin_min > self.pin_max:
            raise ProfileError(f"no PIN has at least {self.pin_min} and at most {self.pin_max} characters")
        if self.pin_initialised and not self.pin_rules.accept(PIN, _padded(self.pin)):
            lengths = f"{self.pin_min} to {self.pin_max}" if self.pin_min < self.pin_max else f"{self.pin_max}"
            raise ProfileError(f"that PIN does not fit: a PIN has {lengths} {_CHARACTERS[self.pin_format]}")
        if not re.fullmatch(r"[ -~]{6,8}", self.puk):
            raise ProfileError("that PUK does not fit: a PUK has 6 to 8 characters, digits or other ASCII")
        if self.serial is not None and not re.fullmatch(r"[0-9A-Fa-f]{1,16}", self.serial):
            raise ProfileError(f"not a serial number: {self.serial!r} (1 to 16 hexadecimal digits)")
        for left, tries in ((self.pin_left, self.pin_tries), (self.puk_left, self.puk_tries)):
            if left is not None and left > tries:
                raise ProfileError(f"there cannot be {left} tries left of {tries}")

    @property
    def address(self) -> str:
        """The e-mail address in the certificates."""
        if self.email is not None:
            return self.email
        return f"{re.sub('[^a-z0-9]', '', self.name.lower()) or 'card'}@example.com"


_CHARACTERS = {"digits": "digits", "any": "characters, digits or other ASCII", "hex": "hexadecimal digits"}


def request(parameters: dict[str, Any]) -> CardRequest:
    """A request from a mapping of its parameters. Raises ProfileError for unknown names and wrong types."""
    for name, value in parameters.items():
        _check(name, value)
    return CardRequest(**parameters)


def _check(name: str, value: object) -> None:
    rule = RULES.get(name)
    if rule is None:
        raise ProfileError(f"a card has no parameter {name!r}; there are: {', '.join(sorted(RULES))}")
    if not rule.fits(value):
        got = "something else" if name in ("pin", "puk") else repr(value)
        raise ProfileError(f"the parameter {name!r} of a card is {rule.words}, not {got}")


def create(wanted: CardRequest, path: Path, ca: TestCA, passphrase: bytes | None = None) -> None:
    """Make a card and write its image. Raises ImageError if the file is there already, ProfileError if it has none."""
    profile = PROFILES[wanted.profile]
    if not profile.piv:
        raise ProfileError(f"a card of profile {wanted.profile!r} keeps nothing and has no image")
    if path.exists():
        raise ImageExists(path)
    guid = uuid.uuid4().bytes
    if wanted.serial is not None:
        guid = guid[:8] + bytes.fromhex(wanted.serial.rjust(16, "0"))
    state = CardState(
        name=wanted.name,
        profile=wanted.profile,
        atr=ATR,
        serial=guid[8:],
        references=_references(wanted),
        objects=_piv_objects(wanted.name, guid),
        capacity=wanted.capacity,
        pin_rules=wanted.pin_rules,
    )
    _provide_management_key(wanted, state)
    traits = wanted.encode()
    if traits != Traits().encode():
        state.objects[TRAITS_OBJECT] = traits
    touch = Touch[wanted.touch.upper()]
    for slot, algorithm in profile.keys.items():
        stored = state.keys[slot] = StoredKey(
            algorithm, keys.generate(algorithm), pin_rule=SLOTS[slot].pin_rule, touch=touch
        )
        state.objects[SLOTS[slot].certificate] = _certificate_object(_certify(wanted, slot, stored, ca))
    create_image(path, state, passphrase)


def ready_image(wanted: CardRequest, folder: Path, ca: TestCA) -> Path:
    """The image of a card in `folder`, made at the first request. Not to be changed: work on a copy."""
    described = repr((_CONTENTS, wanted, ca.certificate.serial_number))
    path = folder / f"{wanted.profile}-{hashlib.sha256(described.encode()).hexdigest()[:20]}.card"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(ImageExists):  # somebody else asked for the same and was faster
            create(wanted, path, ca)
    return path


def open_card(path: Path, passphrase: bytes | None = None) -> PivCard:
    """The card of an image, with the passphrase if it has one. Raises ImageError."""
    return PivCard(path, passphrase)


def foreign_card(name: str) -> ForeignCard:
    """A card of the profile `unrecognised`."""
    return ForeignCard(name, FOREIGN_ATR)


def _references(wanted: CardRequest) -> dict[int, Reference]:
    """PIN and PUK. A PIN that is not initialised is none that anybody could enter, and locked."""
    pin = Reference(_padded(wanted.pin), _left(wanted.pin_left, wanted.pin_tries), wanted.pin_tries)
    if not wanted.pin_initialised:
        pin = Reference(b"\xff" * PIN_LENGTH, 0, wanted.pin_tries)
    return {PIN: pin, PUK: Reference(_padded(wanted.puk), _left(wanted.puk_left, wanted.puk_tries), wanted.puk_tries)}


def _left(left: int | None, tries: int) -> int:
    return tries if left is None else left


def _provide_management_key(wanted: CardRequest, state: CardState) -> None:
    """The key, and what software needs to get at it under the card's policy (MANAGEMENT_POLICIES)."""
    algorithm, key = Algorithm.AES192, os.urandom(MANAGEMENT_KEY_LENGTHS[Algorithm.AES192])
    match wanted.management:
        case "default":
            algorithm, key = Algorithm.TDES, DEFAULT_MANAGEMENT_KEY
        case "pin":
            state.objects[PRINTED_INFORMATION] = tlv.encode(0x88, tlv.encode(0x89, key))
            state.objects[ADMIN_DATA] = tlv.encode(0x80, tlv.encode(0x81, b"\x02"))  # the key is kept for the PIN
        case "so":
            salt = os.urandom(SALT_LENGTH)
            key = key_from_puk(wanted.puk, salt)
            state.objects[SALT_OBJECT] = tlv.encode(0x80, salt)
    state.keys[MANAGEMENT_KEY] = StoredKey(algorithm, key)


def _piv_objects(name: str, guid: bytes) -> dict[int, bytes]:
    """The data objects that every PIV card has (SP 800-73-4 part 1, chapter 3 and appendix A)."""
    fasc_n = bytes.fromhex("D4E739DA739CED39CE739D836858210842108421C84210C3EB")  # agency 9999, as test cards have it
    expires = f"{datetime.date.today().year + 20}1231".encode()
    card_identifier = bytes.fromhex("A000000116 FF 02") + guid[:14]  # the issuer's RID, a Java card, its number
    nothing_more = (0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE)
    return {
        CHUID: _fields((0x30, fasc_n), (0x34, guid), (0x35, expires), (0x3E, b""), (0xFE, b"")),
        CCC: _fields(
            (0xF0, card_identifier),
            (0xF1, b"\x21"),
            (0xF2, b"\x21"),
            (0xF3, b""),
            (0xF4, b"\x00"),
            (0xF5, b"\x10"),
            *((tag, b"") for tag in nothing_more),
        ),
        DISCOVERY: _fields((0x4F, PIV_AID), (0x5F2F, b"\x40\x00")),  # the PIV application's own PIN only
        KEY_HISTORY: _fields((0xC1, b"\0"), (0xC2, b"\0"), (0xFE, b"")),  # no retired keys
        LABEL_OBJECT: _fields((0x80, name.encode())),
    }


def _certify(wanted: CardRequest, slot: int, key: StoredKey, ca: TestCA) -> x509.Certificate:
    private = serialization.load_der_private_key(key.value, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    purpose = _PURPOSES[slot]
    if slot == 0x9D and key.algorithm in EC_ALGORITHMS:
        purpose = _EC_KEY_MANAGEMENT
    return ca.issue(private.public_key(), wanted.name, wanted.address, purpose.usages, purpose.extended)


def _certificate_object(certificate: x509.Certificate) -> bytes:
    """Certificate, CertInfo (not compressed), error detection code (SP 800-73-4 part 1, table 10)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    return _fields((0x70, der), (0x71, b"\0"), (0xFE, b""))


def _fields(*fields: tuple[int, bytes]) -> bytes:
    return b"".join(tlv.encode(tag, value) for tag, value in fields)


def _padded(value: str) -> bytes:
    return value.encode("utf-8", "replace").ljust(PIN_LENGTH, b"\xff")
