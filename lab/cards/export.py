# SPDX-License-Identifier: MIT
"""Export of a card as JSON or PEM, and import of such a JSON file.

JSON with keys is the whole card, and can be imported; without keys it has only what the card tells without PIN. PEM
has the certificates, and with keys the private keys.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives import serialization
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from ...card import certificates
from ...card.applet import keys
from ...card.applet.variants import variant_of
from ...card.certificate_reader import NO_KEY
from ...card.files import json_text
from ...card.image.state import CardState, Reference, StoredKey
from ...card.issuing.profiles import PROFILES
from ...card.pin_rules import PIN_FORMATS, PIN_LENGTH, PinRules
from ...card.shown import shown
from ...card.tables import (
    ATTESTATION,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    SLOTS,
    Access,
    Algorithm,
    PinRule,
    TouchPolicy,
    object_rules,
)
from ...card.token_traits import Traits
from ...p11 import image_objects

LONGEST = 64 << 20
"""Most bytes of an export that is read; a byte on the card takes two in it."""


def _number(value: object) -> object:
    """Return a number from its hexadecimal text."""
    return int(value, 16) if isinstance(value, str) else value


def _octets(value: object) -> object:
    """Return bytes from their hexadecimal text."""
    return bytes.fromhex(value) if isinstance(value, str) else value


_Number = Annotated[int, BeforeValidator(_number), PlainSerializer(lambda number: f"{number:02X}")]
_Octets = Annotated[bytes, BeforeValidator(_octets), PlainSerializer(lambda value: value.hex().upper())]


class _Part(BaseModel):
    """Base class of an export's parts, which have no other fields."""

    model_config = ConfigDict(extra="forbid")


class _Reference(_Part):
    """A PIN or PUK. Its value is padded with FF."""

    number: Annotated[_Number, Field(ge=0, le=0xFF)]
    tries: int = Field(ge=0, le=255)
    maximum: int = Field(ge=1, le=255)
    value: Annotated[_Octets, Field(min_length=PIN_LENGTH, max_length=PIN_LENGTH)] | None = None


class _Key(_Part):
    """A key pair's private key as PEM, or the bytes of the management key."""

    slot: _Number
    algorithm: str
    imported: bool = False
    pin: PinRule = PinRule.ALWAYS
    touch: str = "never"
    private_key: str | None = None
    value: _Octets | None = None

    def stored(self) -> StoredKey:
        """Return the key as a card image has it. Raises ValueError."""
        algorithm, touch = Algorithm[self.algorithm], TouchPolicy[self.touch.upper()]
        if self.slot == MANAGEMENT_KEY:
            if len(self.value or b"") != MANAGEMENT_KEY_LENGTHS.get(algorithm):
                raise ValueError(f"no management key of {self.algorithm}")
            return StoredKey(algorithm, self.value or b"", self.imported, self.pin, touch)
        try:
            private: Any = serialization.load_pem_private_key((self.private_key or "").encode(), None)
        except NO_KEY as error:
            raise ValueError(f"the key for slot {self.slot:02X}: {error}") from None
        if self.slot not in (*SLOTS, ATTESTATION) or keys.algorithm_of(private) is not algorithm:
            raise ValueError(f"no key of {self.algorithm} for slot {self.slot:02X}")
        return StoredKey(algorithm, keys.pack(private), self.imported, self.pin, touch)


class _PinRules(_Part):
    """What can be a PIN."""

    minimum: int = Field(ge=0, le=PIN_LENGTH)
    maximum: int = Field(ge=0, le=PIN_LENGTH)
    format: str


class _Export(_Part):
    """A whole card. `objects` are by tag; without keys, those that cannot be read without PIN are null."""

    cardtear: Literal[1] = 1
    name: str = Field(min_length=1, max_length=32)
    profile: str
    atr: Annotated[_Octets, Field(min_length=2, max_length=33)]
    serial: Annotated[_Octets, Field(min_length=8, max_length=8)]
    capacity: int = Field(ge=0)
    pin_rules: _PinRules
    references: list[_Reference]
    keys: list[_Key]
    objects: dict[str, _Octets | None]


def as_json(state: CardState, with_keys: bool) -> str:
    """Return the export of a card as JSON."""
    rules, objects = state.pin_rules, sorted(state.objects.items())
    export = _Export(
        name=state.name,
        profile=state.profile,
        atr=state.atr,
        serial=state.serial,
        capacity=state.capacity,
        pin_rules=_PinRules(minimum=rules.minimum, maximum=rules.maximum, format=rules.form),
        references=[
            _Reference(
                number=number, tries=each.remaining, maximum=each.maximum, value=each.value if with_keys else None
            )
            for number, each in sorted(state.references.items())
        ],
        keys=[_exported_key(slot, key, with_keys) for slot, key in sorted(state.keys.items())],
        objects={f"{tag:X}": value if with_keys or _is_public(tag) else None for tag, value in objects},
    )
    return json.dumps(export.model_dump(mode="json"), indent=2) + "\n"


def from_json(content: bytes, name: str) -> CardState:
    """Return the card of an export with keys; `name` is the file's. Raises ValueError that names the wrong field."""
    is_json = content.lstrip().startswith(b"{")
    if not is_json and b"-----BEGIN " in content:
        raise ValueError(
            f"{name} is PEM, as of `card export --pem`, which makes no card again: export with --with-keys and without "
            "--pem; a key goes into a slot of a card that is there: --slot 9A"
        )
    if not is_json:
        raise ValueError(f"{name} is no export of a card; a key goes into a slot of a card that is there: --slot 9A")
    try:
        with contextlib.suppress(json.JSONDecodeError, UnicodeDecodeError):  # those are told below
            json_text.loads(content)
        export = _Export.model_validate_json(content)
        if any(each.value is None for each in export.references) or None in export.objects.values():
            raise ValueError("it is without keys and PIN, which makes no card; export with --with-keys")
        if export.profile not in PROFILES:
            raise ValueError(f"there is no profile {export.profile!r}")
        if export.pin_rules.format not in PIN_FORMATS:
            raise ValueError(f"there is no PIN format {export.pin_rules.format!r}")
        further = variant_of(export.profile, Traits()).further_objects
        for tag in export.objects:
            if object_rules(int(tag, 16)) is None and int(tag, 16) not in further:
                raise ValueError(f"a card has no object {tag}")
        rules = PinRules(export.pin_rules.minimum, export.pin_rules.maximum, export.pin_rules.format)
        state = CardState(
            export.name,
            export.profile,
            export.atr,
            export.serial,
            {each.number: Reference(each.value or b"", each.tries, each.maximum) for each in export.references},
            {each.slot: each.stored() for each in export.keys},
            {int(tag, 16): value for tag, value in export.objects.items() if value},
            export.capacity,
            rules,
        )
        if state.used > state.capacity:
            raise ValueError(f"its capacity is {state.capacity} bytes, and what it holds takes {state.used}")
        return state
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{name} is no export of a card: {where}: {first['msg']}") from None
    except (ValueError, KeyError) as error:
        raise ValueError(f"no card can be made of {name}: {error}") from None


def as_pem(state: CardState, with_keys: bool) -> str:
    """Return PEM of each key slot, with keys the private key first, then of all other certificates."""
    parts = []
    for number, slot in SLOTS.items():
        stored, certificate = state.keys.get(number), certificates.decode(state.objects.get(slot.certificate))
        if certificate or (with_keys and stored is not None):
            parts.append(f"# {number:02X} {slot.name}\n")
        if with_keys and stored is not None:
            parts.append(_pem(stored))
        if certificate:
            parts.append(ssl.DER_cert_to_PEM_cert(certificate))
    for label, further in image_objects.certificates(state.objects):
        parts.append(f"# {shown(label)}\n{ssl.DER_cert_to_PEM_cert(further.der)}")
    return "".join(parts)


def _exported_key(slot: int, key: StoredKey, with_keys: bool) -> _Key:
    """Return the export of a key; without keys, what is known about it."""
    secret: dict[str, Any] = {}
    if with_keys:
        secret = {"value": key.value} if slot == MANAGEMENT_KEY else {"private_key": _pem(key)}
    name, touch = Algorithm(key.algorithm).name, key.touch.name.lower()
    return _Key(slot=slot, algorithm=name, imported=key.imported, pin=key.pin_rule, touch=touch, **secret)


def _is_public(tag: int) -> bool:
    """Return whether a data object can be read without PIN."""
    rules = object_rules(tag)
    return rules is not None and rules.read is Access.ALWAYS


def _pem(stored: StoredKey) -> str:
    """Return a private key as PEM (PKCS #8)."""
    private = serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True)
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
