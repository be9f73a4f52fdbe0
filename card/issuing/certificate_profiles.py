# SPDX-License-Identifier: MIT
"""Profiles of the certificates on a PIV card, by key (FIPS 201-3, 4.2.2; profiles of the Common Policy).

Only the one for PIV authentication is for TLS clients, so that a browser has no choice to make.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from ..tables import CARD_AUTHENTICATION, EC_ALGORITHMS
from .ca import TestCA, key_usage
from .cardholder import Cardholder
from .certificate_options import CertificateOptions
from .cms import octets

_PIV = "2.16.840.1.101.3.6"
_FASC_N, _INTERIM = x509.ObjectIdentifier(f"{_PIV}.6"), x509.ObjectIdentifier(f"{_PIV}.9.1")
_CONTENT_SIGNING, _CARD_AUTHENTICATION = x509.ObjectIdentifier(f"{_PIV}.7"), x509.ObjectIdentifier(f"{_PIV}.8")
_KERBEROS_CLIENT = x509.ObjectIdentifier("1.3.6.1.5.2.3.4")
_COMMON_POLICY = "2.16.840.1.101.3.2.1.3"
_INVESTIGATED = b"\x01\x01\x00"
"""BOOLEAN: the holder's background investigation is not pending."""


class CertificateProfile(NamedTuple):
    """A certificate profile: `usages` are names of key usage bits; `policy` is the last arc of a Common Policy OID.

    One that `names_card` has its FASC-N and UUID for alternative names; one that `names_holder` has name and e-mail
    address. A key `only` for its extended usages is refused for any other.
    """

    usages: tuple[str, ...]
    extended: tuple[x509.ObjectIdentifier, ...]
    policy: int
    names_card: bool = False
    names_holder: bool = True
    only: bool = False


_MAIL = (ExtendedKeyUsageOID.EMAIL_PROTECTION,)
_LOGON = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SMARTCARD_LOGON, _KERBEROS_CLIENT)
_SIGNATURE = ("digital_signature",)
_PROFILES = {
    0x9A: CertificateProfile(_SIGNATURE, _LOGON, 13, names_card=True),
    0x9C: CertificateProfile((*_SIGNATURE, "content_commitment"), _MAIL, 7),
    CARD_AUTHENTICATION: CertificateProfile(
        _SIGNATURE, (_CARD_AUTHENTICATION,), 17, names_card=True, names_holder=False, only=True
    ),
}
_RSA_KEY_MANAGEMENT, _EC_KEY_MANAGEMENT = (
    CertificateProfile((usage,), _MAIL, 7) for usage in ("key_encipherment", "key_agreement")
)
_CONTENT_SIGNER = CertificateProfile(_SIGNATURE, (_CONTENT_SIGNING,), 39, only=True)
_AS_THE_PROFILE = CertificateOptions()


def certify(
    ca: TestCA,
    person: Cardholder,
    slot: int,
    algorithm: int,
    key: CertificatePublicKeyTypes,
    options: CertificateOptions = _AS_THE_PROFILE,
) -> x509.Certificate:
    """Issue the certificate of a key in a slot; slots without a profile of their own get key management's.

    Raises ValueError, OSError for options that cannot be met.
    """
    key_management = _EC_KEY_MANAGEMENT if algorithm in EC_ALGORITHMS else _RSA_KEY_MANAGEMENT
    return _issue(options.issuer() or ca, person, _PROFILES.get(slot, key_management), key, options)


def certify_issuer(
    ca: TestCA, person: Cardholder, key: CertificatePublicKeyTypes, options: CertificateOptions = _AS_THE_PROFILE
) -> x509.Certificate:
    """Issue the certificate of the signer of a card's data objects; valid as long as the card."""
    issuer = replace(person, name="PIV content signing", address="issuer@example.com")
    status = CertificateOptions(ocsp=options.ocsp, crl=options.crl, ca_issuers=options.ca_issuers)
    return _issue(ca, issuer, _CONTENT_SIGNER, key, status)


def _issue(
    ca: TestCA,
    person: Cardholder,
    profile: CertificateProfile,
    key: CertificatePublicKeyTypes,
    options: CertificateOptions,
) -> x509.Certificate:
    kind, name = NameOID.COMMON_NAME, person.name
    if not profile.names_holder:
        kind, name = NameOID.SERIAL_NUMBER, person.uri[9:]
    usual = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cardtear"), x509.NameAttribute(kind, name)])
    end = datetime.datetime.combine(person.expires, datetime.time(), datetime.UTC)
    subject = usual if options.name is None else options.name
    start = options.start
    if start is None and options.end is not None:  # also one that was over long ago
        start = min(options.end, datetime.datetime.now(datetime.UTC)) - datetime.timedelta(days=1)
    return ca.issue(key, subject, _extensions(person, profile, options), options.end or end, start)


def _extensions(
    person: Cardholder, profile: CertificateProfile, options: CertificateOptions
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """Return the extensions, each with whether it is critical."""
    policy = x509.ObjectIdentifier(f"{_COMMON_POLICY}.{profile.policy}")
    extended = profile.extended if options.usages is None else options.usages
    yield key_usage(*profile.usages), True
    if extended:
        yield x509.ExtendedKeyUsage(extended), profile.only and options.usages is None
    yield x509.CertificatePolicies([x509.PolicyInformation(policy, None)]), False
    names = [*_alternative_names(person, profile), *options.alternative_names()]
    yield x509.SubjectAlternativeName(names), options.name is not None and not list(options.name)
    if options.crl:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(options.crl)], None, None, None)
        yield x509.CRLDistributionPoints([point]), False
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(address))
        for method, address in (
            (AuthorityInformationAccessOID.OCSP, options.ocsp),
            (AuthorityInformationAccessOID.CA_ISSUERS, options.ca_issuers),
        )
        if address
    ]
    if access:
        yield x509.AuthorityInformationAccess(access), False
    if profile.names_card:
        yield x509.UnrecognizedExtension(_INTERIM, _INVESTIGATED), False


def _alternative_names(person: Cardholder, profile: CertificateProfile) -> Iterator[x509.GeneralName]:
    if profile.names_card:
        yield x509.OtherName(_FASC_N, octets(person.fasc_n))
        yield x509.UniformResourceIdentifier(person.uri)
    if profile.names_holder:
        yield x509.RFC822Name(person.address)
