# SPDX-License-Identifier: MIT
"""What certificates on PIV cards have to say (FIPS 201-3, 4.2.2; the Common Policy's profiles), and the FASC-N."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing import cms
from cardtear.card.issuing.cardholder import Cardholder, fasc_n
from cardtear.card.tables import SLOTS
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

CHUID, SIGNER = 0x5FC102, 0x5FC122
PIV, COMMON = "2.16.840.1.101.3.6", "2.16.840.1.101.3.2.1.3"
MAIL = {ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string}
LOGON = {"1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.20.2.2", "1.3.6.1.5.2.3.4"}

# Key usages, extended ones, whether these are critical, and the policy.
WANTED: dict[int, tuple[set[str], set[str], bool, str]] = {
    0x9A: ({"digital_signature"}, LOGON, False, f"{COMMON}.13"),
    0x9C: ({"digital_signature", "content_commitment"}, MAIL, False, f"{COMMON}.7"),
    0x9D: ({"key_encipherment"}, MAIL, False, f"{COMMON}.7"),
    0x9E: ({"digital_signature"}, {f"{PIV}.8"}, True, f"{COMMON}.17"),
    0x82: ({"key_encipherment"}, MAIL, False, f"{COMMON}.7"),
    0x95: ({"key_agreement"}, MAIL, False, f"{COMMON}.7"),
}
NAME, ADDRESS = "Zoë", "zo@example.com"


@pytest.fixture
def terminal(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> Any:
    return power(new_card("piv-full", name=NAME, management="pin"))


def chuid(terminal: Any) -> dict[int, bytes]:
    answer, status = terminal.command(0xCB, 0x3F, 0xFF, tlv.encode(0x5C, CHUID.to_bytes(3, "big")))
    assert status == 0x9000
    return dict(tlv.decode(tlv.read(answer)[1]))


def certificate(terminal: Any, slot: int) -> x509.Certificate:
    return x509.load_der_x509_certificate(terminal.certificate(SLOTS[slot].certificate))


def extension(found: x509.Certificate, kind: type[Any]) -> Any:
    return found.extensions.get_extension_for_class(kind)


def usages(found: x509.Certificate) -> set[str]:
    usage = extension(found, x509.KeyUsage)
    assert usage.critical
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return {name for name in (*names, "key_cert_sign", "crl_sign") if getattr(usage.value, name)}


def policies(found: x509.Certificate) -> list[str]:
    return [each.policy_identifier.dotted_string for each in extension(found, x509.CertificatePolicies).value]


@pytest.mark.parametrize("slot", WANTED, ids=lambda slot: f"{slot:X}")
def test_usages_and_policies(terminal: Any, slot: int) -> None:
    found = certificate(terminal, slot)
    extended = extension(found, x509.ExtendedKeyUsage)
    purposes = {each.dotted_string for each in extended.value}
    assert (usages(found), purposes, extended.critical, *policies(found)) == WANTED[slot]


@pytest.mark.parametrize("slot", [0x9A, 0x9E], ids=lambda slot: f"{slot:X}")
def test_who_authenticates_is_the_card(terminal: Any, slot: int) -> None:
    """FASC-N and UUID as in the CHUID, where to ask for the status, and no investigation pending."""
    found, identifiers = certificate(terminal, slot), chuid(terminal)
    names = extension(found, x509.SubjectAlternativeName).value
    [other] = names.get_values_for_type(x509.OtherName)
    assert (other.type_id.dotted_string, other.value) == (f"{PIV}.6", tlv.encode(4, identifiers[0x30]))
    [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri == uuid.UUID(bytes=identifiers[0x34]).urn
    statuses = [
        each.access_location.value
        for each in extension(found, x509.AuthorityInformationAccess).value
        if each.access_method == AuthorityInformationAccessOID.OCSP
    ]
    assert [status.startswith("http://") for status in statuses] == [True]
    interim = found.extensions.get_extension_for_oid(x509.ObjectIdentifier(f"{PIV}.9.1"))
    assert (interim.critical, interim.value.public_bytes()) == (False, b"\x01\x01\x00")


def test_the_certificate_that_anybody_can_read_names_nobody(terminal: Any) -> None:
    """Over the contactless interface, without a PIN."""
    found = certificate(terminal, 0x9E)
    names = extension(found, x509.SubjectAlternativeName).value
    assert {type(each) for each in names} == {x509.OtherName, x509.UniformResourceIdentifier}
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME) == []
    [number] = found.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    assert number.value == str(uuid.UUID(bytes=chuid(terminal)[0x34]))


@pytest.mark.parametrize("slot", [0x9A, 0x9C, 0x9D, 0x82], ids=lambda slot: f"{slot:X}")
def test_the_others_name_the_holder(terminal: Any, slot: int) -> None:
    found = certificate(terminal, slot)
    [name] = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == NAME
    names = extension(found, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == [ADDRESS]


def test_who_signs_the_contents(terminal: Any) -> None:
    """For nothing else, with the policy for it, and as long as the card is good (SP 800-73-5 part 1, 3.1.2.1)."""
    found = x509.load_der_x509_certificate(terminal.certificate(SIGNER))
    extended = extension(found, x509.ExtendedKeyUsage)
    assert ([each.dotted_string for each in extended.value], extended.critical) == ([f"{PIV}.7"], True)
    assert (usages(found), policies(found)) == ({"digital_signature"}, [f"{COMMON}.39"])
    assert found.not_valid_after_utc >= certificate(terminal, 0x9E).not_valid_after_utc
    assert found.subject.public_bytes() in chuid(terminal)[0x3E]
    assert cms.oid(f"{PIV}.5") in chuid(terminal)[0x3E]


def end_of(terminal: Any) -> datetime.datetime:
    day = chuid(terminal)[0x35].decode()
    return datetime.datetime.fromisoformat(f"{day}T000000+00:00")


def test_none_is_good_longer_than_the_card(terminal: Any) -> None:
    """And the card for six years at most (FIPS 201-3, 2.8)."""
    now, end = datetime.datetime.now(datetime.UTC), end_of(terminal)
    assert now + datetime.timedelta(days=365) < end < now + datetime.timedelta(days=6 * 365)
    for slot in SLOTS:
        assert certificate(terminal, slot).not_valid_after_utc <= end


def test_a_card_that_has_expired(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("piv-ec", years=0))
    now = datetime.datetime.now(datetime.UTC)
    assert end_of(terminal) <= now
    found = certificate(terminal, 0x9A)
    assert found.not_valid_before_utc < found.not_valid_after_utc <= now


def test_fasc_n_of_nists_first_test_card() -> None:
    """NISTIR 8347, appendix C.1."""
    expected = bytes.fromhex("D6501858289D6C2C92ADCDA16459A46927C9D45C86501843ED")
    assert fasc_n("3201", "0295", "834563", "1", "2", "6464979587132011") == expected


@given(st.binary(min_size=16, max_size=16))
def test_fasc_n_can_be_read_by_its_rules(guid: bytes) -> None:
    """Forty characters of five bits, each of odd parity, separators in their places, and a check over all of them."""
    bits = f"{int.from_bytes(Cardholder('Alice', 'alice@example.com', guid).fasc_n, 'big'):0200b}"
    characters = [bits[at : at + 5] for at in range(0, 200, 5)]
    assert all(each.count("1") % 2 for each in characters)
    codes = [int(each[3::-1], 2) for each in characters]
    assert [at for at, code in enumerate(codes[:39]) if code == 0xD] == [5, 10, 17, 19, 21]
    assert (codes[0], codes[38]) == (0xB, 0xF)
    check = 0
    for code in codes[:39]:
        check ^= code
    assert codes[39] == check


def test_no_two_cards_have_the_same(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    assert len({chuid(power(new_card("blank", name=name)))[0x30] for name in ("Alice", "Bob", "Carol")}) == 3
