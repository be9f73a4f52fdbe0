# SPDX-License-Identifier: MIT
"""Parser of X.509 certificates that reads what it can of broken ones, too (RFC 5280, 4.1).

Certificates on cards are other people's: with negative serial numbers, absurd versions, dates that are none. Fields
are found by their place and given as the bytes that stand there; one that cannot be read is empty, and the others are
not affected. Nothing is verified.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from asn1crypto import core, parser
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

_UNIVERSAL, _CONTEXT = 0, 2
_INTEGER, _SEQUENCE = 2, 16
_VERSION, _EXTENSIONS = 0, 3  # of class context
_BASIC_CONSTRAINTS = "2.5.29.19"
_BOOLEAN = 1
_MOST_ELEMENTS = 1000
"""More are in no certificate; each costs a copy of what follows it."""

_TIMES: dict[int, Any] = {23: core.UTCTime, 24: core.GeneralizedTime}


NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)
"""What cryptography raises for a key that it cannot read; the last one for an Edwards key of another length."""


class Element(NamedTuple):
    """One BER element: class and tag number, all its bytes, and its content."""

    class_: int
    tag: int
    whole: bytes
    content: bytes

    def is_universal(self, tag: int) -> bool:
        """Return whether it has this universal type."""
        return self.class_ == _UNIVERSAL and self.tag == tag


@dataclass(frozen=True, slots=True)
class Certificate:
    """The fields of a certificate, each as DER. A field that cannot be read is empty, None for a date."""

    der: bytes
    serial: bytes = b""
    issuer: bytes = b""
    subject: bytes = b""
    not_before: datetime.datetime | None = None
    not_after: datetime.datetime | None = None
    public_key_info: bytes = b""
    extensions: tuple[tuple[str, bytes], ...] = ()

    @property
    def public_key(self) -> Any:
        """Return the public key (of cryptography); None for a key that cryptography does not support."""
        return _public_key(self.public_key_info)

    @property
    def serial_number(self) -> int | None:
        """Return the serial number, which may be negative."""
        return number(self.serial)

    @property
    def is_authority(self) -> bool:
        """Return whether the certificate is marked as a CA's (RFC 5280, 4.2.1.9)."""
        value = dict(self.extensions).get(_BASIC_CONSTRAINTS, b"")
        constraints = elements(elements(value)[0].content) if elements(value) else []
        return any(each.is_universal(_BOOLEAN) and any(each.content) for each in constraints)


@lru_cache(64)  # read at least twice: when it is looked for, and when it is shown
def read(der: bytes) -> Certificate | None:
    """Parse the certificate in some bytes; None unless they begin with a complete SEQUENCE."""
    outer = elements(der)
    if not outer or not outer[0].is_universal(_SEQUENCE):
        return None
    inner = elements(outer[0].content)
    fields = elements(inner[0].content) if inner else []
    at = _place_of_serial(fields)
    serial, _, issuer, validity, subject, key = (*fields[at : at + 6], *[_MISSING] * 6)[:6]
    dates = [_date(each) for each in elements(validity.content)[:2]] + [None, None]
    lists = [each.content for each in fields[at + 6 :] if (each.class_, each.tag) == (_CONTEXT, _EXTENSIONS)]
    return Certificate(
        der,
        serial.whole if serial.is_universal(_INTEGER) else b"",
        issuer.whole if issuer.is_universal(_SEQUENCE) else b"",
        subject.whole if subject.is_universal(_SEQUENCE) else b"",
        dates[0],
        dates[1],
        key.whole if key.is_universal(_SEQUENCE) else b"",
        tuple(extension for each in lists for extension in _extensions(each)),
    )


def elements(data: bytes) -> list[Element]:
    """Split a string into its BER elements, as far as they are complete; at most a thousand."""
    found: list[Element] = []
    while data and len(found) < _MOST_ELEMENTS:
        try:
            class_, _, tag, header, content, trailer = parser.parse(data)
        except ValueError:
            break
        whole = header + content + trailer
        found.append(Element(class_, tag, whole, content))
        data = data[len(whole) :]
    return found


_MISSING = Element(_CONTEXT, 0, b"", b"")


def _place_of_serial(fields: list[Element]) -> int:
    """Return the index of the serial number, after the version if there is one; a malformed field counts as either."""
    numbers = [at for at, each in enumerate(fields[:2]) if each.is_universal(_INTEGER)]
    if numbers:
        return numbers[-1]
    return 1 if (fields and (fields[0].class_, fields[0].tag) == (_CONTEXT, _VERSION)) or len(fields) > 6 else 0


def _date(element: Element) -> datetime.datetime | None:
    """Return the moment in a UTCTime or GeneralizedTime; None for anything else."""
    kind = _TIMES.get(element.tag) if element.class_ == _UNIVERSAL else None
    try:
        value = kind.load(element.whole).native if kind is not None else None
        if not isinstance(value, datetime.datetime):  # the year 0 is of a class of its own
            return None
        return value.replace(tzinfo=value.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return None


def _extensions(content: bytes) -> list[tuple[str, bytes]]:
    """Return the values of extensions by dotted identifier, critical or not."""
    found = []
    for sequence in elements(content)[:1]:
        for each in elements(sequence.content):
            parts = elements(each.content)
            if len(parts) >= 2 and (name := dotted(parts[0])):
                found.append((name, parts[-1].content))
    return found


def number(der: bytes) -> int | None:
    """Return the value of an INTEGER; None for anything else."""
    found = elements(der)
    return int.from_bytes(found[0].content, "big", signed=True) if found and found[0].is_universal(_INTEGER) else None


def dotted(element: Element) -> str:
    """Return an OBJECT IDENTIFIER in dotted notation; empty for anything else."""
    try:
        value: str = core.ObjectIdentifier.load(element.whole).dotted
    except ValueError:
        return ""
    return value


@lru_cache(64)
def _public_key(info: bytes) -> Any:
    """Load a SubjectPublicKeyInfo (DER); None for a key that cryptography does not support."""
    try:
        return load_der_public_key(info)
    except NO_KEY:
        return None
