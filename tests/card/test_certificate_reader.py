# SPDX-License-Identifier: MIT
"""The lenient reader of certificates: what can be read is read, whatever the rest is."""

from __future__ import annotations

import datetime
import warnings

import pytest
from cardtear.card import certificate_reader, tlv
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ..shared.broken_certificates import KINDS, P256_KEY, certificate, key_info, mutated, name

UNREADABLE = {
    "dates that are none": ("not_before", "not_after"),
    "month 13": ("not_before",),
    "year 0": ("not_before",),
    "unknown key algorithm": ("public_key",),
    "unknown curve": ("public_key",),
    "key that is none": ("public_key",),
    "point off the curve": ("public_key",),
}
"""The fields that are lost; all others are as they stand there."""


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"nothing in it", "another SEQUENCE"}))
def test_what_is_broken_costs_no_other_field(kind: str) -> None:
    read = certificate_reader.read(KINDS[kind])
    assert read is not None
    assert read.der == KINDS[kind]
    assert tlv.read(read.serial)[0] == 2
    assert tlv.read(read.issuer)[0] == tlv.read(read.subject)[0] == tlv.read(read.public_key_info)[0] == 0x30
    lost = {field for field in ("not_before", "not_after", "public_key") if getattr(read, field) is None}
    assert lost == set(UNREADABLE.get(kind, ()))
    if kind == "good":
        assert (read.serial_number, read.issuer, read.subject) == (5, name(b"issuer"), name(b"subject"))
        assert read.public_key_info == key_info()
        assert read.public_key == P256_KEY.public_key()
        assert read.not_before == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_dates_of_other_zones_and_ages() -> None:
    """In UTC, as a certificate should have them; past the first or last year there is none."""
    dates = {b"260101020000+0530": (23, 2025), b"09000101000000Z": (24, 900), b"20260101000000": (24, 2026)}
    dates |= {b"00010101000000+0100": (24, None), b"99991231235959-0100": (24, None)}
    for text, (kind, year) in dates.items():
        read = certificate_reader.read(certificate(not_before=tlv.encode(kind, text)))
        assert read is not None
        assert (read.not_before.year if read.not_before else None) == year


def test_a_flood_of_elements_takes_no_time() -> None:
    assert len(certificate_reader.elements(bytes(2_000_000))) == 1000


def test_serial_numbers_are_what_stands_there() -> None:
    read = {kind: certificate_reader.read(der) for kind, der in KINDS.items()}
    numbers = {kind: each.serial_number for kind, each in read.items() if each is not None}
    assert numbers["negative serial"] == -5
    assert numbers["zero serial"] == 0
    assert numbers["serial with zeros before it"] == 5
    assert numbers["serial of 30 bytes"] == int.from_bytes(b"\x7f" * 30, "big")
    negative = read["negative serial"]
    assert negative is not None
    assert negative.serial == b"\2\1\xfb"


@pytest.mark.parametrize("bits", [b"", b"\x30", b"\x30\5\1", b"\x31\0", b"\5\0", b"noise", KINDS["good"][:-1]])
def test_what_is_no_whole_sequence_is_no_certificate(bits: bytes) -> None:
    assert certificate_reader.read(bits) is None


def test_any_change_leaves_a_certificate() -> None:
    """Inside of the outer SEQUENCE."""
    read = [certificate_reader.read(der) for der in mutated(1500)]
    assert all(each is not None for each in read)
    assert sum(bool(each and each.subject and each.issuer and each.serial) for each in read) > 1000
    for each in read:
        assert each is not None
        assert isinstance(each.is_authority, bool)
        assert each.serial_number is None or each.serial


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    inner = tlv.encode(0x30, content)
    for der in (content, inner, tlv.encode(0x30, inner), certificate(extensions=content), certificate(version=content)):
        read = certificate_reader.read(der)
        assert read is None or isinstance(read.is_authority, bool)


def test_it_agrees_with_cryptography() -> None:
    """On what that can read."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in ("Zoë", "CA"))
    for is_authority in (True, False):
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(1999, 2, 3, 4, 5, 6))
            .not_valid_after(datetime.datetime(2066, 2, 3, 4, 5, 6))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(key, hashes.SHA256())
        )
        read = certificate_reader.read(made.public_bytes(Encoding.DER))
        assert read is not None
        assert (read.subject, read.issuer) == (made.subject.public_bytes(), made.issuer.public_bytes())
        assert read.serial_number == made.serial_number
        assert (read.not_before, read.not_after) == (made.not_valid_before_utc, made.not_valid_after_utc)
        assert read.public_key_info == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert read.is_authority == is_authority
        assert [name for name, _ in read.extensions] == ["2.5.29.19"]


def test_nothing_is_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for der in KINDS.values():
            read = certificate_reader.read(der)
            assert read is not None
            assert read.public_key is None or read.public_key_info
