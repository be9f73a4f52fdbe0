# SPDX-License-Identifier: MIT
"""Options for the certificates on a ready-made card beyond their profile, for all or by key slot."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..tlv import encode
from .ca import TestCA

_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "client-auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code-signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email-protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ocsp-signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "pkinit-client": x509.ObjectIdentifier("1.3.6.1.5.2.3.4"),
    "server-auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "smartcard-logon": ExtendedKeyUsageOID.SMARTCARD_LOGON,
    "time-stamping": ExtendedKeyUsageOID.TIME_STAMPING,
}
"""Names of extended key usages; others are given by their OIDs."""

_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_KRB5_PRINCIPAL = x509.ObjectIdentifier("1.3.6.1.5.2.2")
_UTF8_STRING, _GENERAL_STRING, _INTEGER, _SEQUENCE = 0x0C, 0x1B, 0x02, 0x30
_NT_PRINCIPAL = b"\x01"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_FIRST_YEAR = 1950
"""Of the dates that every reader of certificates takes (UTCTime, RFC 5280, 4.1.2.5.1)."""
_SLOT = re.compile("([0-9A-Fa-f]{2})[.]")


@dataclass(frozen=True)
class CertificateOptions:
    """The options of one certificate; None keeps the profile's value, an empty string omits it.

    `subject` is a distinguished name (RFC 4514), `valid_from` and `valid_until` are dates or times (ISO 8601, UTC).
    `extended_key_usage` has names or OIDs. `ca_certificate` and `ca_key` are paths of PEM or DER files.
    """

    subject: str | None = None
    upn: str | None = None
    kerberos_principal: str | None = None
    extended_key_usage: tuple[str, ...] | None = None
    ocsp: str | None = None
    crl: str | None = None
    ca_issuers: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    ca_certificate: str | None = None
    ca_key: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], slot: int | None = None) -> CertificateOptions:
        """Return the options of a key slot; `9A.upn` comes before `upn`. Raises ValueError."""
        chosen = {name: value for name, value in given.items() if _SLOT.match(name) is None}
        for name, value in given.items():
            match = _SLOT.match(name)
            if match is not None and int(match[1], 16) == slot:
                chosen[name[match.end() :]] = value
        options = cls(**chosen)
        options.check()
        return options

    def check(self) -> None:
        """Check all that can be checked before anything is made. Raises ValueError."""
        start, end = self.start, self.end
        if start is not None and end is not None and start >= end:
            raise ValueError("a certificate cannot end before it begins: see valid_from and valid_until")
        if (self.ca_certificate is None) != (self.ca_key is None):
            raise ValueError("a CA of your own has a certificate and a key: give ca_certificate and ca_key")
        for name in ("ocsp", "crl", "ca_issuers"):
            _check_address(name, getattr(self, name))
        for name in ("upn", "kerberos_principal"):
            _check_text(name, getattr(self, name))
        for name in ("ca_certificate", "ca_key"):
            if "\0" in (path := getattr(self, name) or ""):
                raise ValueError(f"{name!r} is a path; no file can have the name {path!r}")
        for attribute in self.name or ():  # RFC 4514 has escapes for any character
            _check_text("subject", attribute.value)
        _ = self.usages, list(self.alternative_names())

    @property
    def name(self) -> x509.Name | None:
        """Return the subject."""
        if self.subject is None:
            return None
        try:
            return x509.Name.from_rfc4514_string(self.subject)
        except ValueError as error:
            why = f" ({str(error).rstrip('.')})" if str(error) else ""
            raise ValueError(f"no distinguished name (RFC 4514), as CN=Alice,O=Test: {self.subject!r}{why}") from None

    @property
    def start(self) -> datetime.datetime | None:
        """Return the first moment of validity."""
        return _time(self.valid_from)

    @property
    def end(self) -> datetime.datetime | None:
        """Return the last moment of validity."""
        return _time(self.valid_until)

    @property
    def usages(self) -> list[x509.ObjectIdentifier] | None:
        """Return the extended key usages; an empty list for no such extension."""
        if self.extended_key_usage is None:
            return None
        return [_extended(each) for each in self.extended_key_usage]

    def alternative_names(self) -> Iterator[x509.GeneralName]:
        """Yield the names by which logins know the holder: UPN and Kerberos principal (RFC 4556, 3.2.2)."""
        if self.upn:
            yield x509.OtherName(_UPN, encode(_UTF8_STRING, self.upn.encode()))
        if self.kerberos_principal:
            yield x509.OtherName(_KRB5_PRINCIPAL, _principal(self.kerberos_principal))

    def issuer(self) -> TestCA | None:
        """Return the CA of one's own. Raises ValueError, OSError."""
        if self.ca_certificate is None or self.ca_key is None:
            return None
        ca = TestCA.from_files(Path(self.ca_certificate), Path(self.ca_key))
        self._check_time(ca.certificate)
        return ca

    def _check_time(self, certificate: x509.Certificate) -> None:
        """Refuse a CA that is not good now, unless what it signs is to be of its time. Raises ValueError."""
        now = datetime.datetime.now(datetime.UTC)
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now > until and (self.end is None or self.end > until):
            raise ValueError(f"the CA in {self.ca_certificate} has expired ({until:%Y-%m-%d}): see valid_until")
        if now < since and (self.start is None or self.start < since):
            raise ValueError(f"the CA in {self.ca_certificate} is not yet good ({since:%Y-%m-%d}): see valid_from")


NAMES = tuple(each.name for each in fields(CertificateOptions))


def _check_address(name: str, address: str | None) -> None:
    """Refuse what is no URI (RFC 3986, appendix A). Raises ValueError."""
    if address and _URI.fullmatch(address) is None:
        raise ValueError(f"{name!r} is an address (URI), as http://example.com/ca.crl, not {address!r}")


def _check_text(name: str, text: str | bytes | None) -> None:
    """Refuse characters that nobody sees, such as line feeds or those that turn the writing. Raises ValueError."""
    if isinstance(text, str) and not (text.isprintable() and text == text.strip()):
        raise ValueError(f"{name!r} is text that can be printed, without blanks at its ends, not {text!r}")


def _time(text: str | None) -> datetime.datetime | None:
    """Parse a date or a moment, in UTC unless it has a time zone; None for an empty text. Raises ValueError."""
    if not text:
        return None
    try:
        given = datetime.datetime.fromisoformat(text)
        found = given.replace(tzinfo=datetime.UTC) if given.tzinfo is None else given.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"no date, as 2030-01-31 or 2030-01-31T12:00:00Z: {text!r}") from None
    if found.year < _FIRST_YEAR:
        raise ValueError(f"no certificate has a date before {_FIRST_YEAR}: {text!r}")
    return found


def _extended(word: str) -> x509.ObjectIdentifier:
    """Return an extended key usage by its name or OID. Raises ValueError."""
    try:
        return _EXTENDED.get(word) or x509.ObjectIdentifier(word)
    except ValueError:
        raise ValueError(f"no extended key usage: {word!r}; it is an OID or one of {', '.join(_EXTENDED)}") from None


def _principal(text: str) -> bytes:
    """Return a KRB5PrincipalName (DER)."""
    name, at, realm = text.rpartition("@")
    if not (name and at and realm and text.isascii()):
        raise ValueError(f"no Kerberos principal, as alice@EXAMPLE.COM: {text!r}")
    parts = b"".join(encode(_GENERAL_STRING, part.encode()) for part in name.split("/"))
    principal = encode(0xA0, encode(_INTEGER, _NT_PRINCIPAL)) + encode(0xA1, encode(_SEQUENCE, parts))
    return encode(
        _SEQUENCE, encode(0xA0, encode(_GENERAL_STRING, realm.encode())) + encode(0xA1, encode(_SEQUENCE, principal))
    )
