# SPDX-License-Identifier: MIT
"""What is on a card as a file for people and other programs, and what comes from such files onto a card.

An export is JSON. With keys it is all that makes up the card, and makes it again; without, it has nothing that a card
does not tell everybody. A PEM or PKCS #12 file fills one key slot.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from ..card import keys, tlv
from ..card.makes import make_of
from ..card.profiles import PROFILES
from ..card.security import PIN_FORMATS, PIN_LENGTH, PinRules
from ..card.state import CardState, Reference, StoredKey
from ..card.status import CardError
from ..card.store import Store
from ..card.tables import (
    ATTESTATION,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    SLOTS,
    Access,
    Algorithm,
    PinRule,
    Touch,
    object_rules,
)

Pair = tuple[Any, x509.Certificate | None]
"""A private key of cryptography and a certificate; None for what there is not."""


def _number(value: object) -> object:
    return int(value, 16) if isinstance(value, str) else value


def _octets(value: object) -> object:
    return bytes.fromhex(value) if isinstance(value, str) else value


_Number = Annotated[int, BeforeValidator(_number), PlainSerializer(lambda number: f"{number:02X}")]
_Octets = Annotated[bytes, BeforeValidator(_octets), PlainSerializer(lambda value: value.hex().upper())]


class _Part(BaseModel):
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
        """Raises ValueError."""
        algorithm, touch = Algorithm[self.algorithm], Touch[self.touch.upper()]
        if self.slot == MANAGEMENT_KEY:
            if len(self.value or b"") != MANAGEMENT_KEY_LENGTHS.get(algorithm):
                raise ValueError(f"no management key of {self.algorithm}")
            return StoredKey(algorithm, self.value or b"", self.imported, self.pin, touch)
        private = serialization.load_pem_private_key((self.private_key or "").encode(), None)
        if self.slot not in (*SLOTS, ATTESTATION) or keys.algorithm_of(private) is not algorithm:
            raise ValueError(f"no key of {self.algorithm} for slot {self.slot:02X}")
        return StoredKey(algorithm, _der(private), self.imported, self.pin, touch)


class _PinRules(_Part):
    minimum: int = Field(ge=0, le=PIN_LENGTH)
    maximum: int = Field(ge=0, le=PIN_LENGTH)
    format: str


class _Export(_Part):
    """A card. `objects` are by tag; what is not told to everybody is null where keys are left out."""

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
    """The export of a card."""
    rules, objects = state.pin_rules, sorted(state.objects.items())
    export = _Export(
        name=state.name,
        profile=state.profile,
        atr=state.atr,
        serial=state.serial,
        capacity=state.capacity,
        pin_rules=_PinRules(minimum=rules.minimum, maximum=rules.maximum, format=rules.form),
        references=[
            _Reference(number=number, tries=each.tries, maximum=each.maximum, value=each.value if with_keys else None)
            for number, each in sorted(state.references.items())
        ],
        keys=[_exported_key(slot, key, with_keys) for slot, key in sorted(state.keys.items())],
        objects={f"{tag:X}": value if with_keys or _is_public(tag) else None for tag, value in objects},
    )
    return json.dumps(export.model_dump(mode="json"), indent=2) + "\n"


def from_json(content: bytes, name: str) -> CardState:
    """The card of an export with keys; `name` is the file's. Raises ValueError with the field that is wrong."""
    if not content.lstrip().startswith(b"{"):
        raise ValueError(f"{name} is no export of a card; a key or a certificate goes into a slot: --slot 9A")
    try:
        export = _Export.model_validate_json(content)
        if any(each.value is None for each in export.references) or None in export.objects.values():
            raise ValueError("it is without keys and PIN, which makes no card; export with --with-keys")
        if export.profile not in PROFILES:
            raise ValueError(f"there is no profile {export.profile!r}")
        if export.pin_rules.format not in PIN_FORMATS:
            raise ValueError(f"there is no PIN format {export.pin_rules.format!r}")
        further = make_of(export.profile).further_objects
        for tag in export.objects:
            if object_rules(int(tag, 16)) is None and int(tag, 16) not in further:
                raise ValueError(f"a card has no object {tag}")
        rules = PinRules(export.pin_rules.minimum, export.pin_rules.maximum, export.pin_rules.format)
        return CardState(
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
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{name} is no export of a card: {where}: {first['msg']}") from None
    except (ValueError, KeyError) as error:
        raise ValueError(f"no card can be made of {name}: {error}") from None


def as_pem(state: CardState, with_keys: bool) -> str:
    """The certificates of the key slots, each after its name, and the private keys before them."""
    parts = []
    for number, slot in SLOTS.items():
        stored, certificate = state.keys.get(number), _certificate(state.objects.get(slot.certificate))
        if certificate is not None or (with_keys and stored is not None):
            parts.append(f"# {number:02X} {slot.name}\n")
        if with_keys and stored is not None:
            parts.append(_pem(stored))
        if certificate is not None:
            parts.append(certificate.public_bytes(serialization.Encoding.PEM).decode())
    return "".join(parts)


def read_pair(content: bytes, password: bytes | None, name: str) -> Pair:
    """The key and the certificate in a PEM or PKCS #12 file. Raises ValueError."""
    try:
        if b"-----BEGIN " not in content:
            key, certificate, _ = pkcs12.load_key_and_certificates(content, password)
        else:
            count = len(re.findall(b"-----BEGIN [A-Z ]*PRIVATE KEY-----", content))
            if count > 1:
                raise ValueError(f"there are {count} keys in it, and one slot")
            key = serialization.load_pem_private_key(content, password) if count else None
            certificate = x509.load_pem_x509_certificates(content)[0] if b"-----BEGIN CERT" in content else None
    except (ValueError, TypeError) as error:  # TypeError: a password for a file that has none, or none
        hint = "" if password else "; the password of a file that has one goes into --password-file"
        raise ValueError(f"{name} cannot be taken: {error}{hint}") from None
    if key is None and certificate is None:
        raise ValueError(f"{name} has neither a private key nor a certificate")
    return key, certificate


def put(path: Path, passphrase: bytes | None, slot: str, pair: Pair) -> None:
    """Write a key and its certificate into a key slot, at once. What is there is replaced; a certificate alone has to
    fit the key that is there. Raises ValueError, ImageError.
    """
    number = next((each for each in SLOTS if f"{each:02X}" == slot.upper()), None)
    if number is None:
        raise ValueError(f"there is no key slot {slot}; there are: {', '.join(f'{each:02X}' for each in SLOTS)}")
    key, certificate = pair
    store = Store(path, passphrase)
    try:
        held = store.state.keys.get(number)
        new = None if key is None else StoredKey(keys.algorithm_of(key), _der(key), True, SLOTS[number].pin_rule)
        if new is not None and new.algorithm not in make_of(store.state.profile).algorithms:
            raise ValueError(f"a card of profile {store.state.profile} has no keys of {Algorithm(new.algorithm).name}")
        _require_match(certificate, new or held, slot)
        store.own(owner := object())
        tag = SLOTS[number].certificate
        objects = {} if certificate is None else {tag: _certificate_object(certificate)}
        store.commit(owner, keys={} if new is None else {number: new}, objects=objects)
    except CardError as error:
        raise ValueError(f"the card does not take it: {error}") from None
    finally:
        store.close()


def _exported_key(slot: int, key: StoredKey, with_keys: bool) -> _Key:
    secret: dict[str, Any] = {}
    if with_keys:
        secret = {"value": key.value} if slot == MANAGEMENT_KEY else {"private_key": _pem(key)}
    name, touch = Algorithm(key.algorithm).name, key.touch.name.lower()
    return _Key(slot=slot, algorithm=name, imported=key.imported, pin=key.pin_rule, touch=touch, **secret)


def _is_public(tag: int) -> bool:
    rules = object_rules(tag)
    return rules is not None and rules.read is Access.ALWAYS


def _require_match(certificate: x509.Certificate | None, stored: StoredKey | None, slot: str) -> None:
    if certificate is None or stored is None:
        return
    private: Any = serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True)
    if private.public_key() != certificate.public_key():
        raise ValueError(f"the certificate is not that of the key for slot {slot.upper()}")


def _certificate(value: bytes | None) -> x509.Certificate | None:
    """The certificate in a data object, if it is one that can be read."""
    try:
        return x509.load_der_x509_certificate(dict(tlv.decode(value or b""))[0x70])
    except (ValueError, KeyError):
        return None


def _certificate_object(certificate: x509.Certificate) -> bytes:
    """Not compressed (SP 800-73-4 part 1, table 10)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    return tlv.encode(0x70, der) + tlv.encode(0x71, b"\0") + tlv.encode(0xFE, b"")


def _pem(stored: StoredKey) -> str:
    private = serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True)
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _der(key: Any) -> bytes:
    keys.wrap(key)
    der: bytes = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return der
