# SPDX-License-Identifier: MIT
"""Attestations: what the certificate says, the chain up to the test CA, and what is not attested."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import certificates, tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing.ca import TestCA
from cardtear.card.tables import SLOTS, Algorithm
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ...shared.broken_certificates import KINDS, mutated

VERSION, SERIAL, POLICIES, FORM_FACTOR = (
    x509.ObjectIdentifier(f"1.3.6.1.4.1.41482.3.{number}") for number in (3, 7, 8, 9)
)
ATTESTATION_CERTIFICATE = 0x5FFF01


@pytest.fixture
def manager(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> Any:
    terminal = power(new_card("yubikey", serial="C0FFEE"))
    terminal.manage()
    return terminal


def generate(terminal: Any, slot: int, algorithm: int, policies: bytes = b"") -> dict[int, bytes]:
    """The public key's fields."""
    answer, status = terminal.command(0x47, 0, slot, tlv.encode(0xAC, bytes((0x80, 1, algorithm)), policies))
    assert status == 0x9000
    return dict(tlv.decode(tlv.read(answer)[1]))


def attest(terminal: Any, slot: int) -> x509.Certificate:
    answer, status = terminal.command(0xF9, slot, 0)
    assert status == 0x9000
    return x509.load_der_x509_certificate(answer)


def test_what_it_says(manager: Any) -> None:
    public = generate(manager, 0x9A, Algorithm.P256, bytes.fromhex("AA0103AB0102"))
    found = attest(manager, 0x9A)
    said = {each.oid: each.value.value for each in found.extensions}
    assert said == {VERSION: b"\5\7\1", SERIAL: b"\2\4\0\xc0\xff\xee", POLICIES: b"\3\2", FORM_FACTOR: b"\1"}
    assert found.subject.rfc4514_string() == "CN=YubiKey PIV Attestation 9a"
    point = found.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    assert point == public[0x86]


@pytest.mark.parametrize("algorithm", [Algorithm.RSA2048, Algorithm.P384, Algorithm.ED25519, Algorithm.X25519])
def test_keys_of_every_kind(manager: Any, algorithm: Algorithm) -> None:
    generate(manager, 0x82, algorithm)
    manager_certificate = x509.load_der_x509_certificate(manager.certificate(ATTESTATION_CERTIFICATE))
    attest(manager, 0x82).verify_directly_issued_by(manager_certificate)


def test_the_chain(manager: Any, ca: TestCA, tmp_path: Path) -> None:
    generate(manager, 0x9C, Algorithm.P256)
    intermediate = x509.load_der_x509_certificate(manager.certificate(ATTESTATION_CERTIFICATE))
    for name, certificate in (("ca", ca.certificate), ("f9", intermediate), ("9c", attest(manager, 0x9C))):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "verify", "-CAfile", "ca.pem", "-untrusted", "f9.pem", "9c.pem"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert result.stdout == "9c.pem: OK\n", result.stderr


def test_a_key_of_another_origin_is_not_attested(manager: Any) -> None:
    assert manager.command(0xFE, Algorithm.P256, 0x9A, tlv.encode(6, b"\1" * 32))[1] == 0x9000
    assert manager.command(0xF9, 0x9A, 0) == (b"", 0x6A80)


def test_a_key_that_has_moved_is(manager: Any) -> None:
    generate(manager, 0x9A, Algorithm.P256)
    assert manager.command(0xF6, 0x83, 0x9A)[1] == 0x9000
    assert attest(manager, 0x83).subject.rfc4514_string() == "CN=YubiKey PIV Attestation 83"


def test_another_key_can_attest(manager: Any) -> None:
    """It is made or imported like any other; without its certificate nothing is attested."""
    generate(manager, 0x9A, Algorithm.P256)
    generate(manager, 0xF9, Algorithm.RSA2048)
    attest(manager, 0x9A)
    assert manager.command(0xDB, 0x3F, 0xFF, bytes.fromhex("5C035FFF015300"))[1] == 0x9000
    assert manager.command(0xF9, 0x9A, 0) == (b"", 0x6985)
    assert manager.command(0xF6, 0xFF, 0xF9)[1] == 0x9000
    assert manager.command(0xF9, 0x9A, 0) == (b"", 0x6985)
    assert manager.command(0xF7, 0, 0xF9)[1] == 0x6A88


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_broken_certificate_attests_or_does_not(manager: Any) -> None:
    """Whatever lies beside the attesting key: an attestation or 6985, and the card works on."""
    generate(manager, 0x9A, Algorithm.P256)
    for kind, der in {**KINDS, **{f"mutation {n}": each for n, each in enumerate(mutated(300))}}.items():
        value = tlv.encode(0x53, certificates.encode(der))
        assert manager.command(0xDB, 0x3F, 0xFF, bytes.fromhex("5C035FFF01") + value)[1] == 0x9000
        answer, status = manager.command(0xF9, 0x9A, 0)
        assert status in (0x9000, 0x6985), kind
        assert bool(answer) is (status == 0x9000)
        assert kind not in ("good", "version 1 without saying so") or status == 0x9000


def test_an_earlier_ca_is_renewed(ca: TestCA, tmp_path: Path) -> None:
    """One that allows no CA below it: the key stays, and so does what it has issued."""
    folder = tmp_path / "ca"
    before = TestCA.load_or_create(folder)
    limits = x509.BasicConstraints(ca=True, path_length=0)
    old = x509.CertificateBuilder(
        before.certificate.issuer,
        before.certificate.subject,
        before.certificate.public_key(),
        1,
        before.certificate.not_valid_before_utc,
        before.certificate.not_valid_after_utc,
    ).add_extension(limits, critical=True)
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    signed = old.sign(key, before.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    (folder / "ca.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    again = TestCA.load_or_create(folder)
    assert again.certificate.public_key() == before.certificate.public_key()
    assert again.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    assert TestCA.load_or_create(folder).certificate == again.certificate
    assert sorted(each.name for each in folder.iterdir()) == ["ca.key", "ca.pem"]


def test_slots_that_are_none(manager: Any) -> None:
    for slot in set(range(256)) - SLOTS.keys():
        assert manager.command(0xF9, slot, 0) == (b"", 0x6A86)


def test_files_of_a_test_ca_that_are_none(ca: TestCA, tmp_path: Path) -> None:
    """Told in one line, with the folder and what to do."""
    folder = tmp_path / "ca"
    TestCA.load_or_create(folder)
    broken = (ssl.DER_cert_to_PEM_cert(KINDS[kind]).encode() for kind in ("version 7", "month 13", "good"))
    for content in (*broken, ca.certificate_pem(), b"", b"noise"):
        (folder / "ca.pem").write_bytes(content)
        with pytest.raises(ValueError, match=f"the files in {folder} are not those of a test CA; delete it"):
            TestCA.load_or_create(folder)
