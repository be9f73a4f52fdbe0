# SPDX-License-Identifier: MIT
"""Ready-made cards: their profiles, and their images, which are made once and kept.

A card is asked for by profile and parameters; the same request finds the same image again.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import KW_ONLY, InitVar, astuple, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256

from .. import atr
from ..applet import keys
from ..applet.management import DEFAULT_MANAGEMENT_KEY, SALT_LENGTH, derived_key, kept_for
from ..applet.piv_card import ForeignCard, PivCard
from ..applet.variants import CardVariant, variant_of
from ..files import output_file
from ..image.state import DEFAULT_CAPACITY, CardState, Reference, StoredKey
from ..image.store import ImageExists, create_image
from ..pin_rules import PIN_LENGTH
from ..tables import (
    ADMIN_DATA,
    ATTESTATION,
    ATTESTATION_CERTIFICATE,
    DISCOVERY,
    GLOBAL_PIN,
    KEY_OBJECT,
    LABEL_OBJECT,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    PIN,
    PRINTED_INFORMATION,
    PUK,
    RETIRED_SLOTS,
    SALT_OBJECT,
    SLOTS,
    SO_KEY_OBJECT,
    TRAITS_OBJECT,
    Algorithm,
    PinRule,
    TouchPolicy,
)
from ..token_traits import CERTIFICATE_RULES, RULES, Traits, rule_of, with_full_path
from ..wording import meant
from . import contents
from .ca import TestCA
from .cardholder import YEARS, Cardholder
from .certificate_options import CertificateOptions
from .certificate_profiles import certify
from .contents import fields as data
from .idle_parameters import idle

_CONTENTS = 14
"""Changes when ready-made images get other contents, so that those kept from before are not used."""


@dataclass(frozen=True)
class Profile:
    """The algorithms of the key pairs by slot, and the parameters with values other than the defaults.

    A profile without PIV is a card that nobody recognises. One that `conforms` keeps to PIV's rules for PINs.
    """

    about: str
    keys: dict[int, Algorithm] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    piv: bool = True
    conforms: bool = False


_ALL_KEYS = {
    0x9A: Algorithm.RSA2048,
    0x9C: Algorithm.RSA2048,
    0x9D: Algorithm.RSA2048,
    0x9E: Algorithm.P256,
    **{slot: Algorithm.RSA2048 if place < 2 else Algorithm.P256 for place, slot in enumerate(RETIRED_SLOTS)},
}
_PIV_KEYS = {0x9A: Algorithm.RSA2048, 0x9C: Algorithm.P256, 0x9D: Algorithm.RSA2048, 0x9E: Algorithm.P256}

PROFILES: dict[str, Profile] = {
    "piv": Profile(
        "RSA-2048 and P-256 keys in the four slots of PIV, with certificates; no biometric data, nothing printed",
        _PIV_KEYS,
        conforms=True,
    ),
    "piv-ec": Profile(
        "as piv, with P-256 and P-384 keys",
        {0x9A: Algorithm.P256, 0x9C: Algorithm.P384, 0x9D: Algorithm.P256, 0x9E: Algorithm.P256},
        conforms=True,
    ),
    "piv-full": Profile(
        "a complete PIV card: biometric data, printed information, addresses in certificates, twenty retired keys",
        _ALL_KEYS,
        {
            "objects": "full",
            # Names that cannot exist: FIPS 201 wants these addresses, and nobody shall be asked.
            "ocsp": "http://ocsp.cardtear.invalid/",
            "crl": "http://crl.cardtear.invalid/ca.crl",
            "ca_issuers": "http://aia.cardtear.invalid/ca.p7c",
        },
        conforms=True,
    ),
    "yubikey": Profile("as a new YubiKey 5, and it attests", {}, {"management": "default", "pin_format": "any"}),
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
    "relaxed": Profile(
        "as piv, but its PINs may be shorter, and have more tries, than PIV allows", _PIV_KEYS, {"pin_min": 4}
    ),
    "unrecognised": Profile("another ATR, no PIV: a card that no driver knows", piv=False),
}


_DEVICE_NUMBERS = (10_000_000, 40_000_000)
"""Serial numbers as YubiKeys have them: eight decimal digits."""


_SHORTEST_PIV_PIN, _MOST_PIV_TRIES = 6, 10


class ProfileError(ValueError):
    """A card cannot be made as requested; the message says why. `code` is for programs."""

    code = "profile-error"


@dataclass(frozen=True)
class CardRequest(Traits):
    """A card to be made: a profile, and parameters that replace the profile's.

    `email` is made from the name if left out, `serial` (1 to 16 hexadecimal digits) at random. `capacity` is bytes of
    keys and data objects, `touch` what its keys ask for. `pin_left` and `puk_left` are tries that are left from birth
    (0: locked), None for all. `protocol` is what its ATR offers, `objects` how many of PIV's data objects are there,
    `compressed` is of certificates, `years` are those for which the card and its certificates are good. `certificates`
    are the parameters of CertificateOptions that were given, by name, with a slot (9A.upn) or for all.
    """

    profile: str = "piv"
    _: KW_ONLY
    name: str = "Alice"
    email: str | None = None
    serial: str | None = None
    pin: str = field(default="123456", repr=False)
    puk: str = field(default="12345678", repr=False)
    capacity: int = DEFAULT_CAPACITY
    pin_tries: int = 3
    puk_tries: int = 3
    pin_left: int | None = None
    puk_left: int | None = None
    touch: str = "never"
    global_pin: str | None = field(default=None, repr=False)
    primary_pin: str = "piv"
    protocol: str = "both"
    objects: str = "few"
    compressed: bool = False
    management_algorithm: str | None = None
    years: int = YEARS
    certificates: tuple[tuple[str, Any], ...] = field(default=(), init=False)

    if TYPE_CHECKING:  # those of CertificateOptions; a type checker derives the signature from all these fields
        subject: InitVar[str | None] = None
        upn: InitVar[str | None] = None
        kerberos_principal: InitVar[str | None] = None
        extended_key_usage: InitVar[tuple[str, ...] | list[str] | None] = None
        ocsp: InitVar[str | None] = None
        crl: InitVar[str | None] = None
        ca_issuers: InitVar[str | None] = None
        valid_from: InitVar[str | None] = None
        valid_until: InitVar[str | None] = None
        ca_certificate: InitVar[str | None] = None
        ca_key: InitVar[str | None] = None
    else:

        def __init__(self, profile: str = "piv", **parameters: Any) -> None:
            self._set(profile, parameters)

    def _set(self, profile: str, parameters: dict[str, Any]) -> None:
        """Check the parameters and set the fields. Raises ProfileError."""
        if profile not in PROFILES:
            raise ProfileError(
                f"there is no profile {profile!r}{meant(profile, PROFILES) or ';'} there are: {', '.join(PROFILES)}"
            )
        given = {"profile": profile, **PROFILES[profile].parameters, **parameters}
        for name, value in given.items():
            _check(name, value)
        given = {name: with_full_path(name, value) for name, value in given.items()}
        frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        certificates = sorted((name, value) for name, value in frozen.items() if name not in RULES)
        for each in fields(self):
            object.__setattr__(self, each.name, frozen.get(each.name, each.default))
        object.__setattr__(self, "certificates", tuple(certificates))
        self._check_together()
        self._check_effect(parameters)

    def certificate(self, slot: int | None = None) -> CertificateOptions:
        """Return the certificate options for a key slot, or for all. Raises ProfileError."""
        try:
            return CertificateOptions.of(dict(self.certificates), slot)
        except ValueError as error:
            raise ProfileError(str(error)) from None

    @property
    def parameters(self) -> dict[str, Any]:
        """Return all parameters by name, as `request` takes them."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "certificates"}
        return values | dict(self.certificates)

    def _check_together(self) -> None:
        """Check rules that concern several parameters. Raises ProfileError."""
        for slot in (None, *PROFILES[self.profile].keys):
            self.certificate(slot)
        self._check_slots()
        if not (0 < len(self.name.encode("utf-8", "replace")) <= 32 and self.name.isprintable()):
            raise ProfileError(f"not a name for a card: {self.name!r} (1 to 32 bytes, printable)")
        if self.name != self.name.strip():
            raise ProfileError(f"not a name for a card: {self.name!r} (no blanks at the ends)")
        if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", self.address):
            raise ProfileError(f"not an e-mail address: {self.address!r}")
        if self.pin_min > self.pin_max:
            raise ProfileError(f"no PIN has at least {self.pin_min} and at most {self.pin_max} characters")
        pins = [self.pin] if self.pin_initialised else []
        pins += [self.global_pin] if self.global_pin is not None else []
        if not all(self.pin_rules.accept(PIN, _padded(pin)) for pin in pins):
            lengths = f"{self.pin_min} to {self.pin_max}" if self.pin_min < self.pin_max else f"{self.pin_max}"
            others = "pin_min, pin_max and pin_format are parameters, too; profile 'relaxed' has shorter ones"
            raise ProfileError(f"that PIN does not fit: a PIN has {lengths} {_CHARACTERS[self.pin_format]} ({others})")
        if self.primary_pin == "global" and self.global_pin is None:
            raise ProfileError("without a global PIN that cannot be the primary one")
        if self.firmware is not None and not self.variant.attests:
            raise ProfileError(f"a card of profile {self.profile!r} tells no firmware; one of 'yubikey' does")
        if self.management_key_algorithm not in self.variant.algorithms:
            raise ProfileError(f"firmware {self.firmware} has no management keys of AES")
        length = MANAGEMENT_KEY_LENGTHS[self.management_key_algorithm]
        if self.management in _OF_24_BYTES and length != len(DEFAULT_MANAGEMENT_KEY):
            raise ProfileError(f"a management key of policy {self.management!r} has 24 bytes: tdes or aes192")
        if not re.fullmatch(r"[ -~]{6,8}", self.puk):
            raise ProfileError("that PUK does not fit: a PUK has 6 to 8 characters, digits or other ASCII")
        if self.serial is not None and not re.fullmatch(r"[0-9A-Fa-f]{1,16}", self.serial):
            raise ProfileError(f"not a serial number: {self.serial!r} (1 to 16 hexadecimal digits)")
        for left, tries in ((self.pin_left, self.pin_tries), (self.puk_left, self.puk_tries)):
            if left is not None and left > tries:
                raise ProfileError(f"there cannot be {left} tries left of {tries}")
        if PROFILES[self.profile].conforms and (self.pin_min < _SHORTEST_PIV_PIN or self.pin_tries > _MOST_PIV_TRIES):
            raise ProfileError(
                f"a card of profile {self.profile!r} calls itself PIV, whose PINs have at least {_SHORTEST_PIV_PIN} "
                f"digits and at most {_MOST_PIV_TRIES} tries (SP 800-73-5 part 1, 3.3.2); profile 'relaxed' need not"
            )

    def _check_effect(self, given: dict[str, Any]) -> None:
        """Refuse a parameter that is set and has no effect. Raises ProfileError."""
        usual = {each.name: each.default for each in fields(self)} | PROFILES[self.profile].parameters
        found = idle(self, [name for name, value in given.items() if value != usual.get(name) and value is not None])
        if found is not None:
            raise ProfileError(f"a card of profile {self.profile!r} {found[1]}: {found[0]!r} would do nothing")

    def _check_slots(self) -> None:
        """Refuse certificate options for a slot that has no certificate. Raises ProfileError."""
        slots = {int(name[:2], 16) for name, _ in self.certificates if name[2:3] == "."}
        for slot in sorted(slots - PROFILES[self.profile].keys.keys()):
            raise ProfileError(f"a card of profile {self.profile!r} has no certificate in slot {slot:02X}")

    @property
    def management_key_algorithm(self) -> Algorithm:
        """Return the algorithm of the card's management key."""
        if self.management_algorithm is not None:
            return Algorithm[self.management_algorithm.upper()]
        if self.management == "default" or Algorithm.AES192 not in self.variant.algorithms:
            return self.variant.management_key_algorithm
        return Algorithm.AES192

    @property
    def is_piv(self) -> bool:
        """Return whether the card has a PIV application."""
        return PROFILES[self.profile].piv

    @property
    def has_no_keys(self) -> bool:
        """Return whether the card is made without key pairs and certificates."""
        return not PROFILES[self.profile].keys

    @property
    def variant(self) -> CardVariant:
        """Return the variant of the card."""
        return variant_of(self.profile, self)

    @property
    def address(self) -> str:
        """Return the e-mail address in the certificates."""
        if self.email is not None:
            return self.email
        return f"{re.sub('[^a-z0-9]', '', self.name.lower()) or 'card'}@example.com"


_SECRETS = ("pin", "puk", "global_pin")
"""Parameters whose values no message repeats."""
_OF_24_BYTES = ("default", "so", "derived")
_CHARACTERS = {"digits": "digits", "any": "characters, digits or other ASCII", "hex": "hexadecimal digits"}


def request(parameters: dict[str, Any]) -> CardRequest:
    """Make a request from a mapping of parameters. Raises ProfileError for unknown names and wrong types."""
    for name, value in parameters.items():
        _check(name, value)
    return CardRequest(**parameters)


def _check(name: str, value: object) -> None:
    """Check the name and the value of a parameter. Raises ProfileError."""
    rule = rule_of(name)
    if rule is None:
        known = sorted((*RULES, *CERTIFICATE_RULES))
        question = meant(name, known) or f"; there are: {', '.join(known)}"
        raise ProfileError(f"a card has no parameter {name!r}{question}")
    if not rule.fits(value):
        if isinstance(value, int) and not isinstance(value, bool) and rule.fits(str(value)):
            raise ProfileError(f"the parameter {name!r} of a card is {rule.words}, not a number: put it in quotes")
        got = "something else" if name in _SECRETS else repr(value)
        raise ProfileError(f"the parameter {name!r} of a card is {rule.words}, not {got}")


_KEYS_DIFFER = 100
"""Bytes by which two cards of one kind may differ, at most: their keys and signatures are other numbers."""


def create(wanted: CardRequest, path: Path, ca: TestCA, passphrase: bytes | None = None) -> None:
    """Make a card and write its image. Raises ImageError if the file exists, ProfileError for `unrecognised`."""
    profile = PROFILES[wanted.profile]
    if not profile.piv:
        raise ProfileError(f"a card of profile {wanted.profile!r} keeps nothing and has no image")
    if path.exists():
        raise ImageExists(path)
    variant = wanted.variant
    guid = uuid.uuid4().bytes
    if wanted.serial is not None:
        guid = guid[:8] + bytes.fromhex(wanted.serial.rjust(16, "0"))
    elif variant.attests:
        guid = guid[:8] + random.SystemRandom().randrange(*_DEVICE_NUMBERS).to_bytes(8, "big")
    state = CardState(
        name=wanted.name,
        profile=wanted.profile,
        atr=atr.YUBIKEY if variant.attests else atr.PIV[wanted.protocol],
        serial=guid[8:],
        references=_references(wanted),
        objects={LABEL_OBJECT: data((0x80, wanted.name.encode()))},
        capacity=wanted.capacity,
        pin_rules=wanted.pin_rules,
    )
    person = Cardholder(wanted.name, wanted.address, guid, wanted.years)
    ca = _own_ca(wanted.certificate()) or ca
    state.objects |= _piv_objects(wanted, person, ca)
    _provide_management_key(wanted, state)
    traits = wanted.encode()
    if traits != Traits().encode():
        state.objects[TRAITS_OBJECT] = traits
    _provide_keys(wanted, state, person, ca)
    if state.used > state.capacity:
        least = -(-(state.used + _KEYS_DIFFER) // 100) * 100
        raise ProfileError(
            f"'capacity' {state.capacity} is too little: what a card of profile {wanted.profile!r} holds from birth "
            f"takes {state.used} bytes; give at least {least}"
        )
    create_image(path, state, passphrase)


def ready_image(wanted: CardRequest, folder: Path, ca: TestCA) -> Path:
    """Return the image of a card in `folder`, made at the first request. Work on a copy: it must not change."""
    this_year = datetime.date.today().year  # cards expire
    described = repr((_CONTENTS, this_year, astuple(wanted), *_issuers(wanted, ca)))
    path = folder / f"{wanted.profile}-{hashlib.sha256(described.encode()).hexdigest()[:20]}.card"
    if not path.exists():
        output_file.make_folder(folder)
        with contextlib.suppress(ImageExists):  # somebody else asked for the same and was faster
            create(wanted, path, ca)
    return path


def _issuers(wanted: CardRequest, ca: TestCA) -> Iterator[bytes]:
    """Yield the fingerprints of the CAs that sign the certificates; the content of a CA's file may change."""
    for slot in (None, *PROFILES[wanted.profile].keys):
        yield (_own_ca(wanted.certificate(slot)) or ca).certificate.fingerprint(SHA256())


def _own_ca(options: CertificateOptions) -> TestCA | None:
    """Return the user's own CA in the options, if any. Raises ProfileError."""
    try:
        return options.issuer()
    except ValueError as error:
        raise ProfileError(str(error)) from None


def open_card(path: Path, passphrase: bytes | None = None) -> PivCard:
    """Open the card of an image, with its passphrase if it has one. Raises ImageError."""
    return PivCard(path, passphrase)


def foreign_card(name: str) -> ForeignCard:
    """Make a card of the profile `unrecognised`."""
    return ForeignCard(name, atr.FOREIGN)


def _references(wanted: CardRequest) -> dict[int, Reference]:
    """Return PIN and PUK. An uninitialised PIN has a value that cannot be entered, and is blocked."""
    pin = Reference(_padded(wanted.pin), _left(wanted.pin_left, wanted.pin_tries), wanted.pin_tries)
    if not wanted.pin_initialised:
        pin = Reference(b"\xff" * PIN_LENGTH, 0, wanted.pin_tries)
    puk = Reference(_padded(wanted.puk), _left(wanted.puk_left, wanted.puk_tries), wanted.puk_tries)
    if wanted.global_pin is None:
        return {PIN: pin, PUK: puk}
    return {PIN: pin, PUK: puk, GLOBAL_PIN: Reference(_padded(wanted.global_pin), wanted.pin_tries, wanted.pin_tries)}


def _left(left: int | None, tries: int) -> int:
    return tries if left is None else left


def _provide_management_key(wanted: CardRequest, state: CardState) -> None:
    """Make the management key, and the objects by which software finds it (MANAGEMENT_POLICIES)."""
    algorithm = wanted.management_key_algorithm
    key, salt = os.urandom(MANAGEMENT_KEY_LENGTHS[algorithm]), os.urandom(SALT_LENGTH)
    match wanted.management:
        case "default":
            key = DEFAULT_MANAGEMENT_KEY
        case "pin" if PRINTED_INFORMATION in state.objects:
            state.objects[KEY_OBJECT] = data((0x88, data((0x89, key))))
        case "pin":
            state.objects[PRINTED_INFORMATION] = data((0x88, data((0x89, key))))
            state.objects[ADMIN_DATA] = data((0x80, data((0x81, b"\x02"))))  # the key is kept for the PIN
        case "derived":
            key = derived_key(wanted.pin, salt)
            state.objects[ADMIN_DATA] = data((0x80, data((0x81, b"\0"), (0x82, salt))))
        case "so":
            key = derived_key(wanted.puk, salt)
            state.objects[SALT_OBJECT] = data((0x80, salt))
    if wanted.management == "pin":
        state.objects[SO_KEY_OBJECT] = kept_for(wanted.puk, key)
    state.keys[MANAGEMENT_KEY] = StoredKey(algorithm, key)


def _piv_objects(wanted: CardRequest, person: Cardholder, ca: TestCA) -> dict[int, bytes]:
    """Return PIV's data objects but certificates; a YubiKey has the discovery object only."""
    usage = _PIN_USAGE[wanted.global_pin is not None, wanted.primary_pin]
    if wanted.variant.attests:
        return {DISCOVERY: contents.discovery(usage)}
    profile = PROFILES[wanted.profile]
    retired = len(RETIRED_SLOTS & profile.keys.keys())
    if wanted.objects != "full" and not profile.keys:
        return contents.blank(person, usage)
    signer = contents.issuer(person, ca, wanted.certificate())
    return (contents.full if wanted.objects == "full" else contents.few)(person, signer, usage, retired)


# The PIN usage policy (SP 800-73-5 part 1, 3.3.2): which PINs meet the access rules, which of two is to be asked for.
_PIN_USAGE = {
    (False, "piv"): b"\x40\x00",
    (True, "piv"): b"\x60\x10",
    (True, "global"): b"\x60\x20",
}


def _provide_keys(wanted: CardRequest, state: CardState, person: Cardholder, ca: TestCA) -> None:
    """Make the key pairs with their certificates, and the attestation key."""
    touch = TouchPolicy[wanted.touch.upper()]
    for slot, algorithm in PROFILES[wanted.profile].keys.items():
        private = keys.generate(algorithm)
        state.keys[slot] = StoredKey(algorithm, keys.pack(private), pin_rule=SLOTS[slot].pin_rule, touch=touch)
        try:
            certificate = certify(ca, person, slot, algorithm, private.public_key(), wanted.certificate(slot))
        except ValueError as error:
            raise ProfileError(f"no certificate for slot {slot:02X}: {error}") from None
        state.objects[SLOTS[slot].certificate] = contents.certificate(certificate, wanted.compressed)
    if wanted.variant.attests:
        attesting = keys.generate(Algorithm.P256)
        state.keys[ATTESTATION] = StoredKey(Algorithm.P256, keys.pack(attesting), imported=True, pin_rule=PinRule.ONCE)
        issued = ca.issue_attestation_ca(attesting.public_key())
        state.objects[ATTESTATION_CERTIFICATE] = contents.certificate(issued)


def _padded(value: str) -> bytes:
    """Return a PIN, padded with FF."""
    return value.encode("utf-8", "replace").ljust(PIN_LENGTH, b"\xff")
