# SPDX-License-Identifier: MIT
"""Say in words what a certificate tells: names, alternative names, extended key usages, dates, serial number.

All of it comes from outside: nothing that a terminal would carry out is left in it; what is no text is hexadecimal.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from typing import Any

from ..certificate_reader import Certificate, Element, dotted, elements
from ..shown import shown

_ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_USAGES = {
    "2.5.29.37.0": "any",
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "1.3.6.1.5.2.3.4": "pkInitClientAuth",
    "1.3.6.1.5.2.3.5": "pkInitKDC",
    "1.3.6.1.4.1.311.20.2.2": "smartcardLogon",
    "2.16.840.1.101.3.6.7": "PIV content signing",
    "2.16.840.1.101.3.6.8": "PIV card authentication",
}
_KERBEROS, _COMMON_NAME = "1.3.6.1.5.2.2", "2.5.4.3"
_OTHER_NAMES = {
    "1.3.6.1.4.1.311.20.2.3": "UPN",
    _KERBEROS: "Kerberos",
    "2.16.840.1.101.3.6.6": "FASC-N",
}
_STRINGS = {
    12: "utf-8",
    18: "ascii",
    19: "latin-1",
    20: "latin-1",
    22: "latin-1",
    26: "latin-1",
    27: "latin-1",
    28: "utf-32-be",
    30: "utf-16-be",
}
"""The coding of each universal type of string."""

_ALTERNATIVE_NAMES, _EXTENDED_KEY_USAGE = "2.5.29.17", "2.5.29.37"
_SPECIAL = frozenset('\\,+"<>;')


def describe(certificate: Certificate) -> dict[str, Any]:
    """Describe a certificate for JSON and tables; unreadable fields are None or empty."""
    extensions = dict(certificate.extensions)
    return {
        "subject": name(certificate.subject),
        "issuer": name(certificate.issuer),
        "serial": _serial(certificate),
        "not_before": _moment(certificate.not_before),
        "not_after": _moment(certificate.not_after),
        "alternative_names": [_alternative(each) for each in _sequence(extensions.get(_ALTERNATIVE_NAMES, b""))],
        "extended_key_usage": [
            _USAGES.get(identifier := dotted(each), identifier) or _hex(each.whole)
            for each in _sequence(extensions.get(_EXTENDED_KEY_USAGE, b""))
        ],
        "authority": certificate.is_authority,
    }


def name(der: bytes) -> str:
    """Return a Name as a string (RFC 4514)."""
    parts = [
        "+".join(_attribute(each) for each in elements(rdn.content))
        for outer in elements(der)[:1]
        for rdn in elements(outer.content)
    ]
    return ",".join(reversed(parts))


def common_name(certificate: Certificate) -> str:
    """Return the common name of a certificate, else the whole name, else the serial number."""
    attributes = [elements(each.content) for rdn in _sequence(certificate.subject) for each in elements(rdn.content)]
    names = [_text(each[1]) for each in attributes if len(each) > 1 and dotted(each[0]) == _COMMON_NAME]
    named = shown(names[-1] or "") if names else ""
    return named or name(certificate.subject) or f"serial {_serial(certificate)}"


def _serial(certificate: Certificate) -> str | None:
    return None if certificate.serial_number is None else _number(certificate.serial_number)


def _sequence(der: bytes) -> list[Element]:
    """Return the elements in a SEQUENCE."""
    return [each for outer in elements(der)[:1] for each in elements(outer.content)]


def _number(value: int) -> str:
    """Return a number in hexadecimal, an even number of digits."""
    digits = f"{abs(value):X}"
    return ("-" if value < 0 else "") + digits.rjust(len(digits) + len(digits) % 2, "0")


def _moment(value: datetime.datetime | None) -> str | None:
    return None if value is None else f"{value.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _attribute(attribute: Element) -> str:
    kind, value = (*elements(attribute.content), _EMPTY, _EMPTY)[:2]
    identifier = dotted(kind)
    text = _text(value)
    value_text = f"#{_hex(value.whole)}" if text is None else _escaped(text)
    return f"{_ATTRIBUTES.get(identifier, identifier)}={value_text}"


_EMPTY = Element(0, 0, b"", b"")


def _text(element: Element) -> str | None:
    """Return the text of any string type; None for other types."""
    if element.class_ != 0 or element.tag not in _STRINGS:
        return None
    try:
        return element.content.decode(_STRINGS[element.tag])
    except UnicodeDecodeError:
        return None


def _escaped(text: str) -> str:
    """Escape control characters as in a Name (RFC 4514, 2.4)."""
    start = "\\" if text.startswith(("#", " ")) else ""
    return start + "".join(
        f"\\{each}" if each in _SPECIAL else each if shown(each) == each else _pairs(each) for each in text
    )


def _pairs(character: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in character.encode(errors="replace"))


def _alternative(element: Element) -> str:
    """Return the kind of an alternative name (RFC 5280, 4.2.1.6) and its text."""
    match element.tag if element.class_ == 2 else -1:
        case 0:
            return _other_name(element)
        case 1 | 2 | 6 as tag:
            kind = {1: "email", 2: "DNS", 6: "URI"}[tag]
            return f"{kind}:{shown(element.content.decode('latin-1'))}"
        case 4:
            return f"directory:{name(element.content)}"
        case 7 if len(element.content) in (4, 16):
            return f"IP:{ipaddress.ip_address(element.content)}"
        case _:
            return f"#{_hex(element.whole)}"


def _other_name(element: Element) -> str:
    kind, value = (*elements(element.content), _EMPTY, _EMPTY)[:2]
    identifier = dotted(kind)
    leaves = list(_leaves(value.content))
    words = [text for each in leaves if (text := _text(each)) is not None]
    if identifier == _KERBEROS and len(words) > 1:  # the realm comes first (RFC 4556, 3.2.2)
        words = [f"{'/'.join(words[1:])}@{words[0]}"]
    text = shown(" ".join(words)) if words else _hex(b"".join(each.content for each in leaves))
    return f"{_OTHER_NAMES.get(identifier, identifier)}:{text}"


def _leaves(data: bytes, depth: int = 0) -> Iterator[Element]:
    """Yield the primitive elements of a value, in order."""
    for each in elements(data):
        if each.whole[0] & 0x20 and depth < 8:
            yield from _leaves(each.content, depth + 1)
        else:
            yield each


def _hex(data: bytes) -> str:
    """Return bytes as hexadecimal digits."""
    return data.hex().upper()
