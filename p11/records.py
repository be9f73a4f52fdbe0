# SPDX-License-Identifier: MIT
"""What PKCS #11 knows beyond PIV, encoded for data objects of the card for host software. No I/O.

A *record* holds one object with all its attributes. An *overlay* holds the attributes of a key slot beyond PIV: names,
CKA_IDs, usages. An *index* lists the records and overlays that are valid; all others are ignored, so that writing the
index creates or deletes an object at one instant.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ..card import tlv
from ..card.tables import PRIVATE_OBJECTS, PRIVATE_RECORDS, PUBLIC_OBJECTS, PUBLIC_RECORDS, SLOTS
from .attributes import Attributes
from .constants import CKA, CKF
from .wire import ULONG_SIZE

INDEX_TAGS = {False: PUBLIC_OBJECTS[3], True: PRIVATE_OBJECTS[0]}
RECORD_TAGS = {False: PUBLIC_RECORDS, True: PRIVATE_RECORDS}
"""The data objects of the index and of the records, public (False) and private ones."""

OVERLAY_TAGS = dict(zip(SLOTS, PUBLIC_OBJECTS[16:], strict=False))
"""The data object of each key slot's overlay."""

_HEAD = struct.Struct(">II")
_HEAD_SIZE = _HEAD.size
_CLASS, _UNIQUE_ID = CKA.CLASS, CKA.UNIQUE_ID
_DEPTH = 4
_ARRAY, _MECHANISMS = int(CKF.ARRAY_ATTRIBUTE), int(CKA.ALLOWED_MECHANISMS)

_PUBLIC_INFO, _CERTIFICATE, _PUBLIC, _PRIVATE, _NO_PUBLIC = 0x80, 0x81, 0x82, 0x83, 0x84
_RECORDS, _OVERLAYS = 0x80, 0x81


class RecordError(ValueError):
    """The bytes are not what this module writes: another program has used the data object."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Attributes of the objects of one key slot; an empty one changes nothing.

    `public_info` is the SubjectPublicKeyInfo of a key whose private half has been deleted and whose public half has
    not; `no_public` is true when the slot's public key is not to appear as an object.
    """

    certificate: Attributes | None = None
    public: Attributes | None = None
    private: Attributes | None = None
    public_info: bytes = b""
    no_public: bool = False

    def encode(self) -> bytes:
        """Return the value of a data object, b"" for an empty overlay."""
        parts = [
            tlv.encode(tag, encode_attributes(attributes))
            for tag, attributes in ((_CERTIFICATE, self.certificate), (_PUBLIC, self.public), (_PRIVATE, self.private))
            if attributes is not None
        ]
        if self.public_info:
            parts.append(tlv.encode(_PUBLIC_INFO, self.public_info))
        if self.no_public:
            parts.append(tlv.encode(_NO_PUBLIC))
        return b"".join(parts)

    @classmethod
    def decode(cls, value: bytes | None) -> Overlay:
        """Decode an overlay; anything else counts as an empty one."""
        try:
            fields = dict(tlv.decode(value or b""))
            sections = {
                tag: decode_attributes(fields[tag]) for tag in (_CERTIFICATE, _PUBLIC, _PRIVATE) if tag in fields
            }
        except (tlv.TlvError, RecordError):
            return cls()
        return cls(
            sections.get(_CERTIFICATE),
            sections.get(_PUBLIC),
            sections.get(_PRIVATE),
            fields.get(_PUBLIC_INFO, b""),
            _NO_PUBLIC in fields,
        )


@dataclass(frozen=True, slots=True)
class Index:
    """The numbers of the valid records, and the key slots with a valid overlay."""

    records: frozenset[int] = frozenset()
    overlays: frozenset[int] = frozenset()

    def with_record(self, number: int) -> Index:
        """Return an index with one more record."""
        return replace(self, records=self.records | {number})

    def without_record(self, number: int) -> Index:
        """Return an index with one record less."""
        return replace(self, records=self.records - {number})

    def with_overlay(self, slot: int) -> Index:
        """Return an index with one more overlay."""
        return replace(self, overlays=self.overlays | {slot})

    def encode(self) -> bytes:
        """Return the value of a data object, b"" for an empty index."""
        parts = []
        if self.records:
            parts.append(tlv.encode(_RECORDS, struct.pack(f">{len(self.records)}H", *sorted(self.records))))
        if self.overlays:
            parts.append(tlv.encode(_OVERLAYS, bytes(sorted(self.overlays))))
        return b"".join(parts)

    @classmethod
    def decode(cls, value: bytes | None) -> Index:
        """Decode an index; anything else counts as an empty one."""
        try:
            fields = dict(tlv.decode(value or b""))
            records = fields.get(_RECORDS, b"")
            numbers = struct.unpack(f">{len(records) // 2}H", records)
        except (tlv.TlvError, struct.error):
            return cls()
        return cls(frozenset(numbers), frozenset(fields.get(_OVERLAYS, b"")))


def encode_attributes(attributes: Attributes) -> bytes:
    """Encode type, length and value of each attribute, recursively for a template."""
    parts = []
    for kind, value in sorted(attributes.items()):
        encoded = value if isinstance(value, bytes) else encode_attributes(dict(value))
        parts.append(_HEAD.pack(kind, len(encoded)) + encoded)
    return b"".join(parts)


def decode_object(value: bytes | None) -> Attributes:
    """Decode a record. Raises RecordError, also if an attribute is missing that every object has."""
    attributes = decode_attributes(value or b"")
    if len(attributes.get(_CLASS, b"")) != ULONG_SIZE or _UNIQUE_ID not in attributes:
        raise RecordError("no object")
    return attributes


def decode_attributes(data: bytes, depth: int = 0) -> Attributes:
    """Decode attributes. Raises RecordError."""
    if depth > _DEPTH:
        raise RecordError(f"templates {depth} deep")
    attributes: Attributes = {}
    at, end = 0, len(data)
    try:
        while at < end:
            kind, length = _HEAD.unpack_from(data, at)
            start = at + _HEAD_SIZE
            at = start + length
            attributes[kind] = value = data[start:at]
            if kind & _ARRAY and kind != _MECHANISMS:
                attributes[kind] = list(decode_attributes(value, depth + 1).items())
    except struct.error:
        raise RecordError(f"cut off at {at}") from None
    if at > end:
        raise RecordError(f"{at - end} bytes missing")
    return attributes
