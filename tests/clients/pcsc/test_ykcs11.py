# SPDX-License-Identifier: MIT
"""Yubico's PKCS #11 module, ykcs11, with a card behind pcscd."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ...shared.programs import Run, Succeed
from .yubico import MANAGEMENT_KEY, PIN, READER, YubiKey, older_key, pcscd

__all__ = ["older_key", "pcscd"]

pytestmark = pytest.mark.needs("pkcs11-tool")

LOGIN = ("--login", "--pin", PIN)
AS_MANAGER = ("--login", "--login-type", "so", "--so-pin", MANAGEMENT_KEY)
SIGN = ("--sign", "--id", "01", "--mechanism", "SHA256-RSA-PKCS", "-i", "data", "-o", "signature")


@pytest.fixture(scope="module")
def tool() -> tuple[str, ...]:
    """pkcs11-tool with the module, wherever the distribution has put it."""
    found = next((str(path) for path in Path("/usr/lib").glob("**/libykcs11.so")), None)
    if found is None:
        pytest.skip("ykcs11 is not installed (Debian: ykcs11)")
    return ("pkcs11-tool", "--module", found)


@pytest.fixture
def key(older_key: YubiKey, tool: tuple[str, ...], succeed: Succeed, tmp_path: Path) -> YubiKey:
    """With an RSA key in 9A, which the module has let it make."""
    made = succeed(*tool, *AS_MANAGER, "--keypairgen", "--key-type", "rsa:2048", "--id", "01")
    assert "Key pair generated" in made
    (tmp_path / "data").write_bytes(b"something")
    return older_key


def check_signature(folder: Path, tool: tuple[str, ...], succeed: Succeed) -> None:
    succeed(*tool, "--read-object", "--type", "pubkey", "--id", "01", "-o", "public.der")
    public = load_der_public_key((folder / "public.der").read_bytes())
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify((folder / "signature").read_bytes(), b"something", padding.PKCS1v15(), hashes.SHA256())


def test_slots_and_objects(key: YubiKey, tool: tuple[str, ...], succeed: Succeed) -> None:
    slots = succeed(*tool, "--list-slots")
    assert READER in slots
    assert re.search(r"token label\s+: YubiKey PIV #\d+", slots)
    objects = succeed(*tool, "--list-objects")
    assert "Public key for PIV Authentication" in objects
    assert "X.509 Certificate for PIV Attestation" in objects
    assert "Private key for PIV Authentication" in succeed(*tool, "--list-objects", *LOGIN)


def test_its_own_test(key: YubiKey, tool: tuple[str, ...], succeed: Succeed) -> None:
    said = succeed(*tool, "--test", *LOGIN, deadline=60.0)
    assert "No errors" in said
    assert "SHA256-RSA-PKCS: OK" in said


def test_signature(key: YubiKey, tool: tuple[str, ...], succeed: Succeed, tmp_path: Path) -> None:
    succeed(*tool, *LOGIN, *SIGN)
    check_signature(tmp_path, tool, succeed)


@pytest.mark.needs("openssl")
def test_openssl_signs_certificates_with_it(
    key: YubiKey, tool: tuple[str, ...], succeed: Succeed, tmp_path: Path
) -> None:
    """Which yubico-piv-tool cannot where OpenSSL is 3."""
    (tmp_path / "engine.cnf").write_text(
        "openssl_conf = init\n[init]\nengines = engines\n[engines]\npkcs11 = card\n"
        f"[card]\nengine_id = pkcs11\nMODULE_PATH = {tool[-1]}\nPIN = {PIN}\ninit = 0\n"
    )
    new = ("openssl", "req", "-new", "-x509", "-engine", "pkcs11", "-keyform", "engine")
    made = (*new, "-key", "pkcs11:id=%01;type=private", "-subj", "/CN=Alice", "-out", "made.pem")
    succeed(*made, OPENSSL_CONF=str(tmp_path / "engine.cnf"))
    certificate = x509.load_pem_x509_certificate((tmp_path / "made.pem").read_bytes())
    certificate.verify_directly_issued_by(certificate)
    succeed(*tool, "--read-object", "--type", "pubkey", "--id", "01", "-o", "public.der")
    assert certificate.public_key() == load_der_public_key((tmp_path / "public.der").read_bytes())


def test_wrong_pin(key: YubiKey, tool: tuple[str, ...], run: Run) -> None:
    ended = run(*tool, "--login", "--pin", "000000", *SIGN)
    assert ended.code == 1
    assert "CKR_PIN_INCORRECT" in ended.output


@pytest.mark.parametrize("ins", [0x47, 0xDB], ids=["key", "certificate"])
def test_a_key_pair_loses_its_card(key: YubiKey, tool: tuple[str, ...], run: Run, succeed: Succeed, ins: int) -> None:
    """While it is made, or its certificate written: an error, and the next attempt makes one."""
    make = (*tool, *AS_MANAGER, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "02")
    key.pull_at(ins)
    ended = run(*make)
    assert ended.code == 1, ended.output
    assert "CKR_" in ended.output
    key.put_back()
    assert "Key pair generated" in succeed(*make)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ins", [0x20, 0x87])
def test_the_card_is_pulled(
    key: YubiKey, tool: tuple[str, ...], run: Run, succeed: Succeed, tmp_path: Path, ins: int, when: str
) -> None:
    """At the login or the signature: an error, no hang, and it works again with the card back.

    Newer versions ask for the PIN's tries before there is a login, and then the token is not there.
    """
    key.pull_at(ins, when)
    ended = run(*tool, *LOGIN, *SIGN)
    assert ended.code == 1
    assert "CKR_" in ended.output or (ins == 0x20 and "No slot with a token" in ended.output), ended.output
    key.put_back()
    succeed(*tool, *LOGIN, *SIGN)
    check_signature(tmp_path, tool, succeed)
