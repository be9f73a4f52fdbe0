# SPDX-License-Identifier: MIT
"""The module's certificate objects on a card image: read from and added to its data objects. No I/O.

A certificate whose key is in no slot is in a record (records.py), as C_CreateObject writes it. Functions return what is
to be written, for one commit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..card.certificate_reader import Certificate, read
from .attribute_rules import On
from .attributes import FALSE, TRUE, ulong
from .constants import CKA, CKC, CKO
from .objects import finished
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
from .templates import compose
from .wire import Template

_UNSPECIFIED, _AUTHORITY = 0, 2  # CK_CERTIFICATE_CATEGORY (PKCS #11 3.1, 4.6.2)
_CERTIFICATE = ulong(CKO.CERTIFICATE)


def certificates(objects: Mapping[int, bytes]) -> list[tuple[str, Certificate]]:
    """Return the public certificates beside the key slots, each with its CKA_LABEL."""
    found = []
    for number in sorted(Index.decode(objects.get(INDEX_TAGS[False])).records):
        try:
            attributes = decode_object(objects.get(RECORD_TAGS[False][number]))
        except (RecordError, IndexError):
            continue
        certificate = read(attributes.get(CKA.VALUE, b"")) if attributes[CKA.CLASS] == _CERTIFICATE else None
        if certificate is not None:
            label = attributes.get(CKA.LABEL, b"").decode(errors="replace")
            found.append((label, certificate))
    return found


def with_certificate(objects: Mapping[int, bytes], certificate: Certificate, label: str) -> dict[int, bytes]:
    """Return the data objects that add a certificate to the card. Raises P11Error."""
    index = Index.decode(objects.get(INDEX_TAGS[False]))
    tags = RECORD_TAGS[False]
    number = next(number for number in range(len(tags)) if number not in index.records)
    template: Template = [
        (CKA.CLASS, _CERTIFICATE),
        (CKA.CERTIFICATE_TYPE, ulong(CKC.X_509)),
        (CKA.TOKEN, TRUE),
        (CKA.PRIVATE, FALSE),
        (CKA.LABEL, label.encode()),
        (CKA.CERTIFICATE_CATEGORY, ulong(_AUTHORITY if certificate.is_authority else _UNSPECIFIED)),
        (CKA.SUBJECT, certificate.subject),
        (CKA.VALUE, certificate.der),
    ]
    attributes = finished(compose(On.CREATE, template, logged_in=False)).attributes
    record = encode_attributes({**attributes, CKA.UNIQUE_ID: os.urandom(16).hex().encode()})
    return {tags[number]: record, INDEX_TAGS[False]: index.with_record(number).encode()}


def without_overlay(objects: Mapping[int, bytes], slot: int) -> dict[int, bytes]:
    """Return the data objects that delete what is recorded of a key slot's objects."""
    tag = OVERLAY_TAGS[slot]
    return {tag: Overlay().encode()} if tag in objects else {}
