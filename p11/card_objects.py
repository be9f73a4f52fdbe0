# SPDX-License-Identifier: MIT
"""The objects on a card: read from it, made, changed and destroyed on it, all by PIV commands.

Private keys lie in PIV's key slots, their certificates beside them; PIV tools see both. Everything else, and what PIV
does not know of those, lies in data objects for host software (records.py). The order of the writes is such that a
card that is pulled between any two of them holds the state before or the state after.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum, unique

from cryptography.hazmat.primitives.asymmetric import rsa

from ..card import tlv
from ..card.tables import PRIVATE_OBJECTS, PRIVATE_RECORDS, PUBLIC_OBJECTS, PUBLIC_RECORDS, SLOTS, Algorithm, PinRule
from ..card.traits import Traits
from ..reader.errors import CardRemoved
from . import curves, keys
from .attributes import FALSE, TRUE, UNAVAILABLE_INFORMATION, Attributes, boolean, ulong
from .constants import CKA, CKO, CKP, CKR
from .errors import P11Error
from .keys import CardKey, PublicKey
from .objects import (
    P11Object,
    built_in,
    certificate_attributes,
    certified_key,
    parsed_certificate,
    profile_object,
)
from .piv_client import PivClient
from .records import Index, Overlay, RecordError, decode_attributes, encode_attributes

_INDEX = {False: PUBLIC_OBJECTS[3], True: PRIVATE_OBJECTS[0]}
_RECORDS = {False: PUBLIC_RECORDS, True: PRIVATE_RECORDS}
_OVERLAYS = dict(zip(SLOTS, PUBLIC_OBJECTS[16:], strict=False))
_POSITION = {slot: bytes([position]) for position, slot in enumerate(SLOTS, start=1)}
_FREE_ORDER = (0x9A, 0x9D, 0x9C, 0x9E, *(slot for slot in SLOTS if slot not in (0x9A, 0x9C, 0x9D, 0x9E)))

_PROFILES = (CKP.BASELINE_PROVIDER, CKP.EXTENDED_PROVIDER, CKP.AUTHENTICATION_TOKEN)

# What follows from a key or certificate itself, and is not kept beside it.
_DERIVED = frozenset(
    {
        CKA.CLASS,
        CKA.TOKEN,
        CKA.KEY_TYPE,
        CKA.CERTIFICATE_TYPE,
        CKA.CHECK_VALUE,
        CKA.PUBLIC_KEY_INFO,
        CKA.ISSUER,
        CKA.SERIAL_NUMBER,
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
        CKA.UNIQUE_ID,
    }
)


@unique
class Part(StrEnum):
    """The objects of a key slot."""

    CERTIFICATE = "certificate"
    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class InSlot:
    """A place in PIV."""

    slot: int
    part: Part


@dataclass(frozen=True, slots=True)
class InRecord:
    """A place outside of PIV, by number; private ones are read with the PIN only."""

    private: bool
    number: int


@dataclass(frozen=True, slots=True)
class SlotNames:
    """What the objects of a key slot are called, and what its private key may do: RSA keys, EC keys."""

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


class CardObjects:
    """The objects of one card, as far as they have been read. Every method holds the card's lock.

    Whoever calls the writing methods has the right to write: the PIN or the management key has been proved.
    """

    def __init__(self, card: PivClient, traits: Traits) -> None:
        self._card = card
        self.traits = traits
        self._known: dict[bytes, P11Object] = {}
        self._revision: object = None
        self._private_read = False
        self._index: dict[bool, Index] = {}

    def visible(self, logged_in: bool) -> list[P11Object]:
        """All objects that may be seen, read from the card when it has changed. Raises CardRemoved."""
        with self._card.lock:
            revision = self._card.revision
            if self._revision != revision:
                self._private_read = False
                self._keep(list(self._read_public()), lambda item: not _is_private_record(item))
                self._revision = revision
            if logged_in and not self._private_read:
                self._keep(list(self._read_records(private=True)), _is_private_record)
                self._private_read = True
            return [item for item in self._known.values() if logged_in or not item.is_private]

    def create(self, item: P11Object) -> P11Object:
        """A new object like `item`, on the card. Raises P11Error(DEVICE_MEMORY), CardRemoved: nothing is made."""
        with self._card.lock:
            self.visible(logged_in=False)
            if item.object_class == CKO.PRIVATE_KEY:
                return self._create_private_key(item)
            public = item.key if isinstance(item.key, PublicKey) else None
            if public is not None and not item.is_private:
                slot = self._slot_of(public)
                if slot is not None and self._find(InSlot(slot, Part.PUBLIC)) is None:
                    return self._show_public_key(slot, item)
            if item.object_class == CKO.CERTIFICATE and not item.is_private:
                public = certified_key(parsed_certificate(item.attributes[CKA.VALUE]))
                slot = None if public is None else self._slot_of(public)
                if slot is not None and self._find(InSlot(slot, Part.CERTIFICATE)) is None:
                    return self._create_certificate(slot, item.attributes)
            return self._create_record(item)

    def generate(self, algorithm: Algorithm, public: Attributes, private: Attributes) -> tuple[P11Object, P11Object]:
        """A key pair made by the card: its public and its private key object. Raises P11Error, CardRemoved."""
        with self._card.lock:
            self.visible(logged_in=False)
            slot = self._free_slot(private)
            with self._overlaid(slot, Overlay(public=_kept(public), private=_kept(private))):
                self._card.generate(slot, algorithm, _pin_rule(private))
            made = {item.place.part: item for item in self._reread(slot)}
            return made[Part.PUBLIC], made[Part.PRIVATE]

    def change(self, item: P11Object, attributes: Attributes) -> None:
        """Give an object other attributes. Raises P11Error, CardRemoved: it keeps the old ones."""
        with self._card.lock:
            place = item.place
            if isinstance(place, InRecord):
                self._card.write_object(_RECORDS[place.private][place.number], encode_attributes(attributes))
            elif isinstance(place, InSlot):
                self._write_overlay(place.slot, _with_part(self._overlay(place.slot), place.part, _kept(attributes)))
            else:
                raise P11Error(CKR.ACTION_PROHIBITED)
            item.become(attributes)
            self._written()

    def destroy(self, item: P11Object) -> None:
        """Take an object from the card. Raises P11Error, CardRemoved: it stays."""
        with self._card.lock:
            place = item.place
            if isinstance(place, InRecord):
                self._write_index(place.private, self._read_index(place.private).without_record(place.number))
                self._card.write_object(_RECORDS[place.private][place.number], b"")
            elif isinstance(place, InSlot):
                self._destroy_in_slot(place, item)
            else:
                raise P11Error(CKR.ACTION_PROHIBITED)
            self._forget(item)
            self._written()

    def erase(self) -> None:
        """Empty the token: first nothing counts any more, then it goes, so that what is cut off leaves no half."""
        with self._card.lock:
            self.visible(logged_in=False)
            indexes = {private: self._read_index(private) for private in (True, False)}
            for private in indexes:
                self._write_index(private, Index())
            for slot in SLOTS:
                if self._card.metadata(slot):
                    self._card.delete_key(slot)
                if self._card.read_object(SLOTS[slot].certificate) is not None:
                    self._card.write_object(SLOTS[slot].certificate, b"")
            for private, index in indexes.items():
                for number in index.records:
                    self._card.write_object(_RECORDS[private][number], b"")
                for slot in index.overlays:
                    self._card.write_object(_OVERLAYS[slot], b"")
            for item in list(self._known.values()):
                self._forget(item)
            self._revision = None

    # Reading

    def _read_public(self) -> Iterator[P11Object]:
        self._index.clear()
        in_slots: list[P11Object] = []
        for slot in SLOTS:
            in_slots += self._read_slot(slot)
        yield from in_slots
        shown = {item.attributes[CKA.VALUE] for item in in_slots if item.object_class == CKO.CERTIFICATE}
        for item in self._read_records(private=False):
            # A certificate that was on its way into the slot of its key is there twice.
            if item.object_class != CKO.CERTIFICATE or item.attributes[CKA.VALUE] not in shown:
                yield item
        # What the profiles promise begins with a user who can log in. (NSS's PK11_ResetToken locks itself out for ever
        # on a token that shows one right after C_InitToken.)
        if self.traits.pin_initialised:
            for profile in (*_PROFILES, *([CKP.PUBLIC_CERTIFICATES_TOKEN] if self.traits.friendly else [])):
                yield profile_object(profile)

    def _read_records(self, private: bool) -> Iterator[P11Object]:
        read, tags = self._card.read_object, _RECORDS[private]
        for number in sorted(self._read_index(private).records):
            try:
                item = P11Object(decode_attributes(read(tags[number]) or b""), place=InRecord(private, number))
            except (RecordError, KeyError):
                continue
            yield item

    def _read_slot(self, slot: int) -> Iterator[P11Object]:
        card, overlay = self._card, self._overlay(slot)
        certificate = parsed_certificate(_certificate_der(card.read_object(SLOTS[slot].certificate)))
        metadata = card.metadata(slot)
        public = certified_key(certificate) if metadata is None else metadata_key(metadata)
        names = _NAMES[slot]
        identity = _POSITION[slot]
        if certificate is not None:
            known = certificate_attributes(certificate)
            yield self._in_slot(slot, Part.CERTIFICATE, names.certificate, identity, known, overlay.certificate)
        elif public is not None:
            identity = keys.identity(public)
        exists = public is not None
        if public is None and overlay.public_info:
            with contextlib.suppress(ValueError):
                public = keys.public_from_info(overlay.public_info)
        if public is None:
            return
        subject = certificate.subject.public_bytes() if certificate is not None else b""
        usage = names.rsa_usage if isinstance(public, rsa.RSAPublicKey) else _ec_usage(public, names)
        known = {**keys.public_attributes(public), CKA.SUBJECT: subject}
        if not overlay.no_public:
            counterparts = {_COUNTERPARTS[each] for each in usage if each in _COUNTERPARTS}
            known |= {each: boolean(each in counterparts) for each in _PUBLIC_USAGES}
            label = f"{names.key} pubkey"
            yield self._in_slot(slot, Part.PUBLIC, label, identity, known, overlay.public, public)
        if exists:
            rule = _metadata_rule(metadata) or SLOTS[slot].pin_rule
            known = {kind: value for kind, value in known.items() if kind not in (*_PUBLIC_USAGES, CKA.MODULUS_BITS)}
            known |= {each: boolean(each in usage) for each in _PRIVATE_USAGES}
            known[CKA.ALWAYS_AUTHENTICATE] = boolean(rule is PinRule.ALWAYS)
            known[CKA.PRIVATE] = boolean(rule is not PinRule.NEVER)
            overlaid = {**(overlay.private or {}), CKA.PRIVATE: known[CKA.PRIVATE]} if overlay.private else None
            key = CardKey(card, slot, public, rule)
            yield self._in_slot(slot, Part.PRIVATE, f"{names.key} key", identity, known, overlaid, key)

    def _in_slot(
        self,
        slot: int,
        part: Part,
        label: str,
        identity: bytes,
        known: Attributes,
        overlay: Attributes | None,
        key: PublicKey | CardKey | None = None,
    ) -> P11Object:
        """An object of a key slot: what every one of its class has, what follows from itself, and what was written."""
        distinction = keys.identity(key.public if isinstance(key, CardKey) else key) if key else known[CKA.CHECK_VALUE]
        attributes: Attributes = {
            **_DEFAULTS[part],
            CKA.LABEL: label.encode(),
            CKA.ID: identity,
            CKA.UNIQUE_ID: f"{slot:02X}:{part.value}:{distinction.hex()}".encode(),
            **known,
            **(overlay or {}),
        }
        if not self.traits.public_objects:
            attributes[CKA.PRIVATE] = TRUE
        return P11Object(attributes, key, InSlot(slot, part))

    def _overlay(self, slot: int) -> Overlay:
        if slot not in self._read_index(private=False).overlays:
            return Overlay()
        return Overlay.decode(self._card.read_object(_OVERLAYS[slot]))

    def _read_index(self, private: bool) -> Index:
        index = self._index.get(private)
        if index is None:
            index = self._index[private] = Index.decode(self._card.read_object(_INDEX[private]))
        return index

    # The objects that are known

    def _keep(self, fresh: Iterable[P11Object], concerned: object) -> None:
        """Take over what has been read; an object that was known before stays the same one, with its handles."""
        before = {unique: item for unique, item in self._known.items() if concerned(item)}  # type: ignore[operator]
        for item in fresh:
            unique = item.attributes[CKA.UNIQUE_ID]
            old = before.pop(unique, None)
            if old is None:
                self._known[unique] = item
            else:
                old.become(item.attributes)
                old.key, old.place = item.key, item.place
        for item in before.values():
            self._forget(item)

    def _forget(self, item: P11Object) -> None:
        item.gone = True
        self._known.pop(item.attributes[CKA.UNIQUE_ID], None)

    def _find(self, place: InSlot) -> P11Object | None:
        return next((item for item in self._known.values() if item.place == place), None)

    def _slot_of(self, public: PublicKey) -> int | None:
        """The slot that holds the private half of this key."""
        wanted = keys.identity(public)
        for item in self._known.values():
            if isinstance(item.key, CardKey) and keys.identity(item.key.public) == wanted:
                return item.key.slot
        return None

    def _reread(self, slot: int) -> list[P11Object]:
        """A slot has changed by this module's hand: its objects anew, the rest is still true."""
        fresh = list(self._read_slot(slot))
        self._keep(fresh, lambda item: isinstance(item.place, InSlot) and item.place.slot == slot)
        self._written()
        return [self._known[item.attributes[CKA.UNIQUE_ID]] for item in fresh]

    def _written(self) -> None:
        self._revision = self._card.revision

    # Writing

    def _create_record(self, item: P11Object) -> P11Object:
        private = item.is_private
        index = self._read_index(private)
        number = next(number for number in range(len(_RECORDS[private])) if number not in index.records)
        attributes = {**item.attributes, CKA.UNIQUE_ID: os.urandom(16).hex().encode()}
        tag = _RECORDS[private][number]
        self._card.write_object(tag, encode_attributes(attributes))
        try:
            self._write_index(private, index.with_record(number))
        except P11Error:
            self._card.write_object(tag, b"")
            raise
        made = P11Object(attributes, item.key, InRecord(private, number))
        self._known[attributes[CKA.UNIQUE_ID]] = made
        self._written()
        return made

    def _create_private_key(self, item: P11Object) -> P11Object:
        key = item.key
        if not isinstance(key, keys.SessionKey):
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        algorithm = keys.algorithm_of(key.public)
        if self._slot_of(key.public) is not None:
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)  # the card has this key
        slot = self._free_slot(item.attributes)
        certificate = self._record_of_certificate(key.public)
        if certificate is not None:
            self._create_certificate(slot, certificate.attributes)
        overlay = replace(self._overlay(slot), private=_kept(item.attributes), public=None, no_public=True)
        with self._overlaid(slot, overlay):
            self._card.import_key(slot, algorithm, keys.card_numbers(key.private), _pin_rule(item.attributes))
        if certificate is not None:
            self.destroy(certificate)
        return next(made for made in self._reread(slot) if made.place.part is Part.PRIVATE)

    def _record_of_certificate(self, public: PublicKey) -> P11Object | None:
        """The certificate of a key that comes after it."""
        info = keys.public_attributes(public)[CKA.PUBLIC_KEY_INFO]
        for item in self._known.values():
            in_record = isinstance(item.place, InRecord) and not item.place.private
            if in_record and item.object_class == CKO.CERTIFICATE and item.attributes.get(CKA.PUBLIC_KEY_INFO) == info:
                return item
        return None

    def _create_certificate(self, slot: int, attributes: Attributes) -> P11Object:
        """Beside its key (SP 800-73-4 part 1, table 10: certificate, CertInfo, error detection code)."""
        overlay = replace(self._pinned(slot), certificate=_kept(attributes))
        value = tlv.encode(0x70, attributes[CKA.VALUE]) + tlv.encode(0x71, b"\0") + tlv.encode(0xFE)
        with self._overlaid(slot, overlay):
            self._card.write_object(SLOTS[slot].certificate, value)
        return next(made for made in self._reread(slot) if made.place.part is Part.CERTIFICATE)

    def _pinned(self, slot: int) -> Overlay:
        """The overlay with all that the keys say now: what follows from there being a certificate shall not change."""
        overlay = self._overlay(slot)
        public, private = (self._find(InSlot(slot, part)) for part in (Part.PUBLIC, Part.PRIVATE))
        return replace(
            overlay,
            public=_kept(public.attributes) if public is not None else overlay.public,
            private=_kept(private.attributes) if private is not None else overlay.private,
        )

    def _show_public_key(self, slot: int, item: P11Object) -> P11Object:
        self._write_overlay(slot, replace(self._overlay(slot), public=_kept(item.attributes), no_public=False))
        return next(made for made in self._reread(slot) if made.place.part is Part.PUBLIC)

    def _destroy_in_slot(self, place: InSlot, item: P11Object) -> None:
        slot, overlay = place.slot, self._overlay(place.slot)
        if place.part is Part.CERTIFICATE:
            self._write_overlay(slot, self._pinned(slot))
            self._card.write_object(SLOTS[slot].certificate, b"")
            self._write_overlay(slot, replace(self._pinned(slot), certificate=None))
        elif place.part is Part.PUBLIC:
            private = self._find(InSlot(slot, Part.PRIVATE))
            hidden = private is not None
            self._write_overlay(slot, replace(overlay, public=None, public_info=b"", no_public=hidden))
        else:
            public = self._find(InSlot(slot, Part.PUBLIC))
            if public is not None:
                info, kept = public.attributes[CKA.PUBLIC_KEY_INFO], _kept(public.attributes)
                self._write_overlay(slot, replace(overlay, public=kept, public_info=info))
            self._card.delete_key(slot)
            survivor = Overlay() if public is None else self._overlay(slot)
            self._write_overlay(slot, replace(survivor, certificate=overlay.certificate, private=None))

    def _free_slot(self, attributes: Attributes) -> int:
        """The slot that the CKA_ID asks for, if it is free: 01 to 04 are 9A, 9C, 9D, 9E, then come the retired ones.

        Otherwise the first free one. Raises P11Error(DEVICE_MEMORY) when all are taken.
        """
        wanted = [slot for slot, position in _POSITION.items() if position == attributes.get(CKA.ID)]
        taken = {item.place.slot for item in self._known.values() if isinstance(item.place, InSlot)}
        for slot in (*wanted, *_FREE_ORDER):
            if slot not in taken and slot in _OVERLAYS:
                return slot
        raise P11Error(CKR.DEVICE_MEMORY)

    @contextlib.contextmanager
    def _overlaid(self, slot: int, overlay: Overlay) -> Iterator[None]:
        """Around the command that makes an object exist: its attributes are there before, and go if it is refused."""
        before = self._overlay(slot)
        self._write_overlay(slot, overlay)
        try:
            yield
        except P11Error:
            with contextlib.suppress(P11Error, CardRemoved):
                self._write_overlay(slot, before)
            raise

    def _write_overlay(self, slot: int, overlay: Overlay) -> None:
        self._card.write_object(_OVERLAYS[slot], overlay.encode())
        index = self._read_index(private=False)
        if slot not in index.overlays:
            self._write_index(False, index.with_overlay(slot))

    def _write_index(self, private: bool, index: Index) -> None:
        self._card.write_object(_INDEX[private], index.encode())
        self._index[private] = index


_PUBLIC_USAGES = (CKA.ENCRYPT, CKA.VERIFY, CKA.WRAP)
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
    },
    Part.PRIVATE: {
        **built_in(CKO.PRIVATE_KEY, ""),
        **_CHANGEABLE,
        **_KEY,
        CKA.COPYABLE: FALSE,
        CKA.SIGN_RECOVER: FALSE,
        CKA.SENSITIVE: TRUE,
        CKA.EXTRACTABLE: FALSE,
        CKA.ALWAYS_SENSITIVE: TRUE,
        CKA.NEVER_EXTRACTABLE: TRUE,
        CKA.WRAP_WITH_TRUSTED: FALSE,
    },
}


def metadata_key(metadata: dict[int, bytes]) -> PublicKey | None:
    """The public key of a slot, as the card tells it."""
    try:
        algorithm = Algorithm(metadata[0x01][0])
        fields = dict(tlv.decode(metadata[0x04]))
        if 0x81 in fields:
            exponent, modulus = (int.from_bytes(fields[tag], "big") for tag in (0x82, 0x81))
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return curves.of_algorithm(algorithm).public(fields[0x86])
    except (ValueError, KeyError, IndexError):
        return None


def _metadata_rule(metadata: dict[int, bytes] | None) -> PinRule | None:
    """The PIN policy in Yubico's metadata."""
    policy = (metadata or {}).get(0x02, b"\0")[:1]
    return {b"\1": PinRule.NEVER, b"\2": PinRule.ONCE, b"\3": PinRule.ALWAYS}.get(policy)


def _pin_rule(private: Attributes) -> PinRule:
    if private.get(CKA.ALWAYS_AUTHENTICATE) == TRUE:
        return PinRule.ALWAYS
    return PinRule.ONCE if private.get(CKA.PRIVATE) == TRUE else PinRule.NEVER


def _ec_usage(public: PublicKey, names: SlotNames) -> frozenset[CKA]:
    """Of the slot's usages those that the kind of curve can serve."""
    algorithm = keys.algorithm_of(public)
    if algorithm is Algorithm.X25519:
        return frozenset({_DERIVE})
    return names.ec_usage - {_DERIVE} if algorithm is Algorithm.ED25519 else names.ec_usage


def _certificate_der(value: bytes | None) -> bytes:
    """SP 800-73-4 part 1, table 10: certificate (70), CertInfo (71; bit 1: compressed)."""
    try:
        fields = dict(tlv.decode(value or b""))
        der = fields.get(0x70, b"")
        return gzip.decompress(der) if fields.get(0x71, b"\0")[:1] == b"\1" else der
    except (tlv.TlvError, OSError, EOFError, ValueError):
        return b""


def _with_part(overlay: Overlay, part: Part, attributes: Attributes) -> Overlay:
    match part:
        case Part.CERTIFICATE:
            return replace(overlay, certificate=attributes)
        case Part.PUBLIC:
            return replace(overlay, public=attributes)
        case Part.PRIVATE:
            return replace(overlay, private=attributes)


def _kept(attributes: Attributes) -> Attributes:
    return {kind: value for kind, value in attributes.items() if kind not in _DERIVED}


def _is_private_record(item: P11Object) -> bool:
    return isinstance(item.place, InRecord) and item.place.private
