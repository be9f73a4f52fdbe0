# SPDX-License-Identifier: MIT
"""What a certificate tells, in words: names of all kinds, and never anything but printable text."""

from __future__ import annotations

import datetime
import ipaddress
import json

import pytest
from cardtear.card import certificate_reader, tlv
from cardtear.card.issuing import certificate_text
from cardtear.card.shown import shown
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ...shared.broken_certificates import KINDS, certificate, extension, mutated

SAN, EKU = bytes.fromhex("551D11"), bytes.fromhex("551D25")
PRINCIPAL = bytes.fromhex("3010A003020101A1093007 1B05") + b"alice"
KERBEROS = tlv.encode(0x30, tlv.encode(0xA0, tlv.encode(27, b"EXAMPLE.COM")), tlv.encode(0xA1, PRINCIPAL))


def told(der: bytes) -> dict[str, object]:
    read = certificate_reader.read(der)
    assert read is not None
    return certificate_text.describe(read)


def test_what_cryptography_writes() -> None:
    """Names as RFC 4514 has them, and every kind of alternative name."""
    key = ec.generate_private_key(ec.SECP256R1())
    oid = x509.NameOID
    parts = ((oid.COUNTRY_NAME, "DE"), (oid.ORGANIZATION_NAME, 'A, B + "C"; <D> \\ E'), (oid.COMMON_NAME, "#Zoë"))
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])
    kerberos = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.2.2"), KERBEROS)
    upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), tlv.encode(12, b"alice@example.com"))
    alternative = [
        x509.RFC822Name("alice@example.com"),
        x509.DNSName("example.com"),
        x509.UniformResourceIdentifier("urn:x"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.DirectoryName(x509.Name([x509.NameAttribute(oid.COMMON_NAME, "other")])),
        upn,
        kerberos,
    ]
    usages = [x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2"), x509.ObjectIdentifier("1.2.3.4")]
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0xABC)
        .not_valid_before(now)
        .not_valid_after(now)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    assert told(made.public_bytes(Encoding.DER)) == {
        "subject": made.subject.rfc4514_string(),
        "issuer": made.subject.rfc4514_string(),
        "serial": "0ABC",
        "not_before": "2026-01-02T03:04:05Z",
        "not_after": "2026-01-02T03:04:05Z",
        "alternative_names": [
            "email:alice@example.com",
            "DNS:example.com",
            "URI:urn:x",
            "IP:192.0.2.1",
            "directory:CN=other",
            "UPN:alice@example.com",
            "Kerberos:alice@EXAMPLE.COM",
        ],
        "extended_key_usage": ["smartcardLogon", "1.2.3.4"],
        "authority": True,
    }


@pytest.mark.parametrize("ders", [tuple(KINDS.values()), mutated(500)], ids=["kinds", "mutations"])
def test_everything_broken_is_told_in_print(ders: tuple[bytes, ...]) -> None:
    for der in ders:
        about = told(der)
        assert all(shown(text) == text for value in about.values() for text in _texts(value))
        assert json.loads(json.dumps(about)) == about


@given(st.binary(max_size=60), st.sampled_from([SAN, EKU]))
def test_any_extension(value: bytes, kind: bytes) -> None:
    for content in (value, tlv.encode(0x30, value), tlv.encode(0x30, tlv.encode(0xA0, value))):
        about = told(certificate(extensions=extension(kind, content), subject=tlv.encode(0x30, value)))
        assert all(shown(text) == text for each in about.values() for text in _texts(each))


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []
