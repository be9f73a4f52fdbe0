# SPDX-License-Identifier: MIT
"""The objects on a card: read, created, changed and deleted by PIV commands.

Private keys are in PIV's key slots, their certificates beside them; PIV tools see both. All other objects, and what PIV
does not know of those, are in data objects for host software (records.py). The order of the writes is such that a card
removed between any two of them holds the state before or the state after.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from ..card import certificate_reader, certificates
from ..card.tables import SLOTS
from ..card.token_traits import Traits
from ..reader.errors import CardRemoved
from . import keys
from .attributes import TRUE, Attributes, ulong
from .constants import CKA, CKO, CKP, CKR
from .errors import P11Error
from .key_kinds import CardKind
from .keys import CardKey, PublicKey
from .objects import P11Object, certified_key, profile_object
from .piv_client import PivClient
from .records import (
    INDEX_TAGS,
    OVERLAY_TAGS,
    RECORD_TAGS,
    Index,
    Overlay,
    RecordError,
    decode_object,
    encode_attributes,
)
from .slot_objects import POSITION, InSlot, Part, kept, pin_rule, read_slot

_FREE_ORDER = (0x9A, 0x9D, 0x9C, 0x9E, *(slot for slot in SLOTS if slot not in (0x9A, 0x9C, 0x9D, 0x9E)))

_CERTIFICATE = ulong(CKO.CERTIFICATE)
_PROFILES = (CKP.BASELINE_PROVIDER, CKP.EXTENDED_PROVIDER, CKP.AUTHENTICATION_TOKEN)


@dataclass(frozen=True, slots=True)
class InRecord:
    """A record, by number; private ones are read with the PIN only."""

    private: bool
    number: int


class CardObjects:
    """The objects of one card, as far as they have been read. Every method holds the card's lock.

    The callers of the writing methods have authenticated to the card, by the PIN or the management key.
    """

    def __init__(self, card: PivClient, traits: Traits) -> None:
        self._card = card
        self.traits = traits
        self._known: dict[bytes, P11Object] = {}
        self._revision: object = None
        self._private_read = False
        self._index: dict[bool, Index] = {}

    @property
    def is_fresh(self) -> bool:
        """Return whether the card has not changed since it was read."""
        return self._revision == self._card.revision

    def visible(self, logged_in: bool) -> list[P11Object]:
        """Return the objects that the login allows to see; read them if the card has changed. Raises CardRemoved."""
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
        """Create an object like `item` on the card, or raise P11Error(DEVICE_MEMORY), CardRemoved and create none."""
        with self._card.lock:
            self.visible(logged_in=False)
            if item.object_class == CKO.PRIVATE_KEY:
                return self._create_private_key(item)
            public = item.key if isinstance(item.key, PublicKey) else None
            if public is not None and not item.is_private:
                slot = self._slot_of(public, item.attributes)
                if slot is not None and self._find(InSlot(slot, Part.PUBLIC)) is None:
                    return self._show_public_key(slot, item)
            if item.object_class == CKO.CERTIFICATE and not item.is_private:
                public = certified_key(certificate_reader.read(item.attributes[CKA.VALUE]))
                slot = None if public is None else self._slot_of(public, item.attributes)
                if slot is not None and self._find(InSlot(slot, Part.CERTIFICATE)) is None:
                    return self._create_certificate(slot, item.attributes)
            return self._create_record(item)

    def generate(self, kind: CardKind, public: Attributes, private: Attributes) -> tuple[P11Object, P11Object]:
        """Generate a key pair on the card; return its public and private key object. Raises P11Error, CardRemoved."""
        with self._card.lock:
            self.visible(logged_in=False)
            slot = self._free_slot(private)
            with self._overlaid(slot, Overlay(public=kept(public), private=kept(private))):
                self._card.generate(slot, kind.algorithm, pin_rule(private), kind.domain)
            made = {item.location.part: item for item in self._reread(slot)}
            return made[Part.PUBLIC], made[Part.PRIVATE]

    def change(self, item: P11Object, change: Callable[[Attributes], Attributes]) -> None:
        """Give an object new attributes made from its present ones, or raise P11Error, CardRemoved and change none."""
        with self._card.lock:
            self._require(item)
            location, attributes = item.location, change(item.attributes)
            if isinstance(location, InRecord):
                self._card.write_object(RECORD_TAGS[location.private][location.number], encode_attributes(attributes))
            elif isinstance(location, InSlot):
                self._write_overlay(
                    location.slot, _with_part(self._overlay(location.slot), location.part, kept(attributes))
                )
            else:
                raise P11Error(CKR.ACTION_PROHIBITED)
            item.become(attributes)
            self._written()

    def destroy(self, item: P11Object) -> None:
        """Delete an object from the card, or raise P11Error, CardRemoved and leave it."""
        with self._card.lock:
            self._require(item)
            if isinstance(item.location, InRecord):
                self._destroy_record(item.location, item)
            elif isinstance(item.location, InSlot):
                self._destroy_in_slot(item.location, item)
            else:
                raise P11Error(CKR.ACTION_PROHIBITED)

    def erase(self) -> None:
        """Delete all objects. The indexes go first, so that an interruption leaves no part of an object."""
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
                    self._card.write_object(RECORD_TAGS[private][number], b"")
                for slot in index.overlays:
                    self._card.write_object(OVERLAY_TAGS[slot], b"")
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
        shown = {item.attributes[CKA.VALUE] for item in in_slots if item.attributes[CKA.CLASS] == _CERTIFICATE}
        for item in self._read_records(private=False):
            # A certificate that was on its way into the slot of its key is there twice.
            if item.attributes[CKA.CLASS] != _CERTIFICATE or item.attributes[CKA.VALUE] not in shown:
                yield item
        # The profiles apply once the user has a PIN. (NSS's PK11_ResetToken locks itself out for ever
        # on a token that shows one right after C_InitToken.)
        if self.traits.pin_initialised:
            for profile in (*_PROFILES, *([CKP.PUBLIC_CERTIFICATES_TOKEN] if self.traits.friendly else [])):
                yield profile_object(profile)

    def _read_records(self, private: bool) -> Iterator[P11Object]:
        read, tags = self._card.read_object, RECORD_TAGS[private]
        for number in sorted(self._read_index(private).records):
            try:
                attributes = decode_object(read(tags[number], as_user=private))
            except RecordError:
                continue
            yield P11Object(attributes, location=InRecord(private, number))

    def _read_slot(self, slot: int) -> Iterator[P11Object]:
        for item in read_slot(self._card, slot, self._overlay(slot)):
            if not self.traits.public_objects:
                item.become({**item.attributes, CKA.PRIVATE: TRUE})
            yield item

    def _overlay(self, slot: int) -> Overlay:
        if slot not in self._read_index(private=False).overlays:
            return Overlay()
        return Overlay.decode(self._card.read_object(OVERLAY_TAGS[slot]))

    def _read_index(self, private: bool) -> Index:
        index = self._index.get(private)
        if index is None:
            index = self._index[private] = Index.decode(self._card.read_object(INDEX_TAGS[private], as_user=private))
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
                old.key, old.location = item.key, item.location
        for item in before.values():
            self._forget(item)

    def _forget(self, item: P11Object) -> None:
        item.gone = True
        self._known.pop(item.attributes[CKA.UNIQUE_ID], None)

    def _require(self, item: P11Object) -> None:
        """Raise P11Error(OBJECT_HANDLE_INVALID) if another program has deleted the object."""
        self.visible(logged_in=_is_private_record(item))
        if item.gone:
            raise P11Error(CKR.OBJECT_HANDLE_INVALID)

    def _find(self, location: InSlot) -> P11Object | None:
        return next((item for item in self._known.values() if item.location == location), None)

    def _slots_of(self, public: PublicKey) -> dict[int, bytes | None]:
        """Return the slots with the private half of a key, and the CKA_ID in each; a key may be in several."""
        wanted = keys.identity(public)
        owners = [(item.key, item.attributes.get(CKA.ID)) for item in self._known.values()]
        return {
            key.slot: name for key, name in owners if isinstance(key, CardKey) and keys.identity(key.public) == wanted
        }

    def _slot_of(self, public: PublicKey, attributes: Attributes) -> int | None:
        """Return the slot with the private half of a key; of several, the one with the CKA_ID of `attributes`."""
        slots = self._slots_of(public)
        named = [slot for slot, name in slots.items() if name == attributes.get(CKA.ID)]
        return next(iter((*named, *slots)), None)

    def _reread(self, slot: int) -> list[P11Object]:
        """Read the objects of a slot that this module has changed; the others are still valid."""
        fresh = list(self._read_slot(slot))
        self._keep(fresh, lambda item: isinstance(item.location, InSlot) and item.location.slot == slot)
        self._written()
        return [self._known[item.attributes[CKA.UNIQUE_ID]] for item in fresh]

    def _written(self) -> None:
        self._revision = self._card.revision

    # Writing

    def _create_record(self, item: P11Object) -> P11Object:
        private = item.is_private
        index = self._read_index(private)
        number = next(number for number in range(len(RECORD_TAGS[private])) if number not in index.records)
        attributes = {**item.attributes, CKA.UNIQUE_ID: os.urandom(16).hex().encode()}
        tag = RECORD_TAGS[private][number]
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
        name, twins = item.attributes.get(CKA.ID), self._slots_of(key.public)
        if twins and (not name or name in twins.values()):
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)  # the card has this key with this CKA_ID already
        slot = self._free_slot(item.attributes)
        certificate = self._record_of_certificate(key.public)
        if twins and certificate is not None and certificate.attributes.get(CKA.ID) != name:
            certificate = None  # it belongs to one of the others
        if certificate is not None:
            self._create_certificate(slot, certificate.attributes)
        overlay = replace(self._overlay(slot), private=kept(item.attributes), public=None, no_public=True)
        with self._overlaid(slot, overlay):
            self._card.import_key(slot, algorithm, keys.card_numbers(key.private), pin_rule(item.attributes))
        if certificate is not None:
            self._destroy_record(certificate.location, certificate)
        return next(made for made in self._reread(slot) if made.location.part is Part.PRIVATE)

    def _record_of_certificate(self, public: PublicKey) -> P11Object | None:
        """Return the record with the certificate of a key, which was created before the key."""
        for item in self._known.values():
            in_record = isinstance(item.location, InRecord) and not item.location.private
            if in_record and item.object_class == CKO.CERTIFICATE:
                certificate = certificate_reader.read(item.attributes.get(CKA.VALUE, b""))
                if certified_key(certificate) == public:
                    return item
        return None

    def _create_certificate(self, slot: int, attributes: Attributes) -> P11Object:
        """Write a certificate into the slot of its key."""
        overlay = replace(self._pinned(slot), certificate=kept(attributes))
        value = certificates.encode(attributes[CKA.VALUE])
        with self._overlaid(slot, overlay):
            self._card.write_object(SLOTS[slot].certificate, value)
        return next(made for made in self._reread(slot) if made.location.part is Part.CERTIFICATE)

    def _pinned(self, slot: int) -> Overlay:
        """Return the overlay with all present attributes of the keys, which a new certificate then does not change."""
        overlay = self._overlay(slot)
        public, private = (self._find(InSlot(slot, part)) for part in (Part.PUBLIC, Part.PRIVATE))
        return replace(
            overlay,
            public=kept(public.attributes) if public is not None else overlay.public,
            private=kept(private.attributes) if private is not None else overlay.private,
        )

    def _show_public_key(self, slot: int, item: P11Object) -> P11Object:
        self._write_overlay(slot, replace(self._overlay(slot), public=kept(item.attributes), no_public=False))
        return next(made for made in self._reread(slot) if made.location.part is Part.PUBLIC)

    def _destroy_record(self, location: InRecord, item: P11Object) -> None:
        self._write_index(location.private, self._read_index(location.private).without_record(location.number))
        self._card.write_object(RECORD_TAGS[location.private][location.number], b"")
        self._forget(item)
        self._written()

    def _destroy_in_slot(self, location: InSlot, item: P11Object) -> None:
        slot, overlay = location.slot, self._overlay(location.slot)
        if location.part is Part.CERTIFICATE:
            self._write_overlay(slot, self._pinned(slot))
            self._card.write_object(SLOTS[slot].certificate, b"")
            self._write_overlay(slot, replace(self._pinned(slot), certificate=None))
        elif location.part is Part.PUBLIC:
            private = self._find(InSlot(slot, Part.PRIVATE))
            hidden = private is not None
            self._write_overlay(slot, replace(overlay, public=None, public_info=b"", no_public=hidden))
        else:
            public = self._find(InSlot(slot, Part.PUBLIC))
            if public is not None:
                told, info = kept(public.attributes), public.attributes[CKA.PUBLIC_KEY_INFO]
                self._write_overlay(slot, replace(overlay, public=told, public_info=info))
            self._card.delete_key(slot)
            survivor = Overlay() if public is None else self._overlay(slot)
            self._write_overlay(slot, replace(survivor, certificate=overlay.certificate, private=None))
        self._forget(item)
        self._written()

    def _free_slot(self, attributes: Attributes) -> int:
        """Return the free slot that the CKA_ID asks for: 01 to 04 are 9A, 9C, 9D, 9E, then come the retired ones.

        Otherwise the first free one. Raises P11Error: DEVICE_MEMORY when all are used, FUNCTION_FAILED if the card does
        not tell of keys without a certificate: one may be in any slot, and a new one would not be found.
        """
        wanted = [slot for slot, position in POSITION.items() if position == attributes.get(CKA.ID)]
        taken = {item.location.slot for item in self._known.values() if isinstance(item.location, InSlot)}
        for slot in (*wanted, *_FREE_ORDER):
            if slot not in taken and slot in OVERLAY_TAGS:
                if self._card.metadata(slot) is None:
                    raise P11Error(CKR.FUNCTION_FAILED)
                return slot
        raise P11Error(CKR.DEVICE_MEMORY)

    @contextlib.contextmanager
    def _overlaid(self, slot: int, overlay: Overlay) -> Iterator[None]:
        """Write the attributes before the command that creates an object, and delete them if the card refuses it."""
        before = self._overlay(slot)
        self._write_overlay(slot, overlay)
        try:
            yield
        except P11Error:
            with contextlib.suppress(P11Error, CardRemoved):
                self._write_overlay(slot, before)
            raise

    def _write_overlay(self, slot: int, overlay: Overlay) -> None:
        self._card.write_object(OVERLAY_TAGS[slot], overlay.encode())
        index = self._read_index(private=False)
        if slot not in index.overlays:
            self._write_index(False, index.with_overlay(slot))

    def _write_index(self, private: bool, index: Index) -> None:
        self._card.write_object(INDEX_TAGS[private], index.encode())
        self._index[private] = index


def _with_part(overlay: Overlay, part: Part, attributes: Attributes) -> Overlay:
    match part:
        case Part.CERTIFICATE:
            return replace(overlay, certificate=attributes)
        case Part.PUBLIC:
            return replace(overlay, public=attributes)
        case Part.PRIVATE:
            return replace(overlay, private=attributes)


def _is_private_record(item: P11Object) -> bool:
    return isinstance(item.location, InRecord) and item.location.private
