# SPDX-License-Identifier: MIT
"""What the certificates on a PIV card say, by the key that they are of (FIPS 201-3, 4.2.2; Common Policy's profiles).

Only the one for PIV authentication is for TLS clients, so that a browser has no choice to make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from .ca import TestCA, key_usage
from .cms import octets
from .person import Person
from .tables import CARD_AUTHENTICATION, EC_ALGORITHMS

_PIV = "2.16.840.1.101.3.6"
_FASC_N, _INTERIM = x509.ObjectIdentifier(f"{_PIV}.6"), x509.ObjectIdentifier(f"{_PIV}.9.1")
_CONTENT_SIGNING, _CARD_AUTHENTICATION = x509.ObjectIdentifier(f"{_PIV}.7"), x509.ObjectIdentifier(f"{_PIV}.8")
_KERBEROS_CLIENT = x509.ObjectIdentifier("1.3.6.1.5.2.3.4")
_COMMON_POLICY = "2.16.840.1.101.3.2.1.3"
_INVESTIGATED = b"\x01\x01\x00"
"""BOOLEAN: the holder's background investigation is not pending."""

_ONLINE_STATUS = "http://ocsp.cardtear.invalid/"
"""FIPS 201 wants an address to ask; a name that cannot exist keeps software from asking anybody."""


class Profile(NamedTuple):
    """`usages` are names of key usage bits; `policy` is the last number of one of the Common Policy's.

    One that `names_card` has its FASC-N and UUID for alternative names, and an address for its status; one that
    `names_holder` has name and e-mail address. A key `only` for its extended usages is refused for any other.
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
    0x9A: Profile(_SIGNATURE, _LOGON, 13, names_card=True),
    0x9C: Profile((*_SIGNATURE, "content_commitment"), _MAIL, 7),
    CARD_AUTHENTICATION: Profile(
        _SIGNATURE, (_CARD_AUTHENTICATION,), 17, names_card=True, names_holder=False, only=True
    ),
}
_RSA_KEY_MANAGEMENT, _EC_KEY_MANAGEMENT = (
    Profile((usage,), _MAIL, 7) for usage in ("key_encipherment", "key_agreement")
)
_CONTENT_SIGNER = Profile(_SIGNATURE, (_CONTENT_SIGNING,), 39, only=True)


def certify(ca: TestCA, person: Person, slot: int, algorithm: int, key: CertificatePublicKeyTypes) -> x509.Certificate:
    """The certificate of a key in a slot; any other than those of PIV authentication and the like manages keys."""
    key_management = _EC_KEY_MANAGEMENT if algorithm in EC_ALGORITHMS else _RSA_KEY_MANAGEMENT
    return _issue(ca, person, _PROFILES.get(slot, key_management), key)


def certify_issuer(ca: TestCA, person: Person, key: CertificatePublicKeyTypes) -> x509.Certificate:
    """That of somebody who signs what is on the person's card; it is good as long as the card."""
    issuer = replace(person, name="PIV content signing", address="issuer@example.com")
    return _issue(ca, issuer, _CONTENT_SIGNER, key)


def _issue(ca: TestCA, person: Person, profile: Profile, key: CertificatePublicKeyTypes) -> x509.Certificate:
    name = (NameOID.COMMON_NAME, person.name) if profile.names_holder else (NameOID.SERIAL_NUMBER, person.uri[9:])
    return ca.issue(key, *name, _extensions(person, profile), person.expires)


def _extensions(person: Person, profile: Profile) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """Each with whether it is critical."""
    policy = x509.ObjectIdentifier(f"{_COMMON_POLICY}.{profile.policy}")
    yield key_usage(*profile.usages), True
    yield x509.ExtendedKeyUsage(profile.extended), profile.only
    yield x509.CertificatePolicies([x509.PolicyInformation(policy, None)]), False
    yield x509.SubjectAlternativeName(_alternative_names(person, profile)), False
    if profile.names_card:
        address = x509.UniformResourceIdentifier(_ONLINE_STATUS)
        status = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, address)
        yield x509.AuthorityInformationAccess([status]), False
        yield x509.UnrecognizedExtension(_INTERIM, _INVESTIGATED), False


def _alternative_names(person: Person, profile: Profile) -> Iterator[x509.GeneralName]:
    if profile.names_card:
        yield x509.OtherName(_FASC_N, octets(person.fasc_n))
        yield x509.UniformResourceIdentifier(person.uri)
    if profile.names_holder:
        yield x509.RFC822Name(person.address)
