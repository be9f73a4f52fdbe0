# SPDX-License-Identifier: MIT
"""Yubico's yubico-piv-tool, with a card behind pcscd."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key

from ...shared.programs import Run, Succeed
from .yubico import PIN, PUK, YubiKey, older_key, pcscd

__all__ = ["older_key", "pcscd"]

pytestmark = pytest.mark.needs("yubico-piv-tool", "openssl")

TOOL = "yubico-piv-tool"
VERIFY = ("-a", "verify-pin", "-P", PIN)
CERTIFY = ("openssl", "req", "-new", "-x509", "-key", "key.pem", "-subj", "/CN=Alice", "-out", "certificate.pem")


def write_key(folder: Path, generate: Callable[[], Any]) -> None:
    """A new key in `key.pem`, none of whose numbers is shorter by a byte than its place.

    Of such a number libykpiv 2.7 tells a wrong length, so that the card refuses about one RSA key in eighty.
    """
    while True:
        key = generate()
        numbers = key.private_numbers()
        names = ("p", "q", "dmp1", "dmq1", "iqmp") if isinstance(key, rsa.RSAPrivateKey) else ("private_value",)
        full = key.key_size // 2 if isinstance(key, rsa.RSAPrivateKey) else key.key_size
        if all(getattr(numbers, name).bit_length() > full - 8 for name in names):
            break
    kind = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*kind))


@pytest.fixture
def generated(older_key: YubiKey, succeed: Succeed) -> YubiKey:
    """With an RSA key in 9A; `public.pem` and an imported `certificate.pem` by another key are in the folder."""
    assert "Successfully generated" in succeed(TOOL, "-a", "generate", "-s", "9a", "-A", "RSA2048", "-o", "public.pem")
    return older_key


@pytest.fixture
def imported(older_key: YubiKey, succeed: Succeed, tmp_path: Path) -> YubiKey:
    """With an RSA key from outside in 9D, and its certificate, `certificate.pem`."""
    write_key(tmp_path, lambda: rsa.generate_private_key(65537, 2048))
    succeed(*CERTIFY)
    assert "Successfully imported" in succeed(TOOL, "-a", "import-key", "-s", "9d", "-i", "key.pem")
    assert "Successfully imported" in succeed(TOOL, "-a", "import-certificate", "-s", "9d", "-i", "certificate.pem")
    return older_key


def test_status_and_identifiers(older_key: YubiKey, succeed: Succeed) -> None:
    said = succeed(TOOL, "-a", "status")
    assert "Version:\t5.4.3" in said
    assert "PIN tries left:\t3" in said
    succeed(TOOL, "-a", "set-chuid")
    succeed(TOOL, "-a", "set-ccc")
    said = succeed(TOOL, "-a", "status")
    assert "No data available" not in said
    assert succeed(TOOL, "-a", "read-object", "--id", "0x5fc102", "-f", "hex").strip() in said


def test_generate_and_attest(generated: YubiKey, succeed: Succeed, tmp_path: Path) -> None:
    key = load_pem_public_key((tmp_path / "public.pem").read_bytes())
    succeed(TOOL, "-a", "attest", "-s", "9a", "-o", "attestation.pem")
    assert x509.load_pem_x509_certificate((tmp_path / "attestation.pem").read_bytes()).public_key() == key


def signs_requests() -> bool:
    """yubico-piv-tool 2.2 and 2.3.0 cannot sign where OpenSSL is 3.0: they fail before they send anything."""
    version = subprocess.run((TOOL, "--version"), capture_output=True, text=True, timeout=10).stdout.split()[-1]
    return tuple(map(int, version.split(".")[:3])) > (2, 3, 0)


@pytest.mark.parametrize(
    ("action", "made"),
    [("selfsign-certificate", x509.Certificate), ("request-certificate", x509.CertificateSigningRequest)],
)
def test_signing_what_it_has_made_up(generated: YubiKey, run: Run, tmp_path: Path, action: str, made: type) -> None:
    sign = ("-a", action, "-s", "9a", "-S", "/CN=Alice/", "-i", "public.pem", "-o", "made.pem")
    ended = run(TOOL, *VERIFY, *sign)
    if not signs_requests():
        assert ended.code == 1
        assert "Failed signing" in ended.output
        assert (0x87, 0x9A) not in generated.commands()
        return
    assert ended.code == 0, ended.output
    key = load_pem_public_key((tmp_path / "public.pem").read_bytes())
    pem = (tmp_path / "made.pem").read_bytes()
    result = x509.load_pem_x509_certificate(pem) if made is x509.Certificate else x509.load_pem_x509_csr(pem)
    assert result.public_key() == key


def test_keys_and_certificates_from_outside(imported: YubiKey, succeed: Succeed, tmp_path: Path) -> None:
    said = succeed(TOOL, *VERIFY, "-a", "test-decipher", "-s", "9d", "-i", "certificate.pem")
    assert "Successfully performed RSA decryption" in said
    said = succeed(TOOL, *VERIFY, "-a", "test-signature", "-s", "9d", "-i", "certificate.pem")
    assert "Successful RSA verification" in said
    read = succeed(TOOL, "-a", "read-certificate", "-s", "9d")
    assert read == (tmp_path / "certificate.pem").read_text()
    bundle = ("-inkey", "key.pem", "-in", "certificate.pem", "-passout", "pass:secret", "-out", "bundle.p12")
    succeed("openssl", "pkcs12", "-export", *bundle)
    both = ("-a", "import-key", "-a", "import-certificate", "-s", "9e", "-K", "PKCS12", "-p", "secret")
    succeed(TOOL, *both, "-i", "bundle.p12")
    assert "Successful RSA" in succeed(TOOL, "-a", "test-signature", "-s", "9e", "-i", "certificate.pem")
    succeed(TOOL, "-a", "delete-certificate", "-s", "9d")
    status = succeed(TOOL, "-a", "status")
    assert "Slot 9d" not in status or "Subject DN" not in re.split(r"Slot 9d:|Slot 9e:", status)[1]  # 2.7 shows keys


def test_ec_keys(older_key: YubiKey, succeed: Succeed, tmp_path: Path) -> None:
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        write_key(tmp_path, functools.partial(ec.generate_private_key, curve))
        succeed(*CERTIFY)
        succeed(TOOL, "-a", "import-key", "-s", "9d", "-i", "key.pem")
        said = succeed(TOOL, *VERIFY, "-a", "test-decipher", "-s", "9d", "-i", "certificate.pem")
        assert "Successfully performed ECDH exchange" in said
        said = succeed(TOOL, *VERIFY, "-a", "test-signature", "-s", "9d", "-i", "certificate.pem")
        assert "Successful ECDSA verification" in said


def test_objects(older_key: YubiKey, run: Run, succeed: Succeed) -> None:
    assert run(TOOL, "-a", "read-object", "--id", "0x5fff10").code == 1
    value = "0123456789abcdef" * 200
    succeed(TOOL, "-a", "write-object", "--id", "0x5fff10", "-f", "hex", stdin=value)
    assert succeed(TOOL, "-a", "read-object", "--id", "0x5fff10", "-f", "hex").strip() == value


def test_pin_puk_and_management_key(older_key: YubiKey, run: Run, succeed: Succeed) -> None:
    succeed(TOOL, "-a", "change-pin", "-P", PIN, "-N", "654321")
    succeed(TOOL, "-a", "change-puk", "-P", PUK, "-N", "87654321")
    ended = run(TOOL, *VERIFY)
    assert ended.code == 1
    assert "2 tries left" in ended.output
    succeed(TOOL, "-a", "unblock-pin", "-P", "87654321", "-N", "111111")
    succeed(TOOL, "-a", "verify-pin", "-P", "111111")
    other = "0f0e0d0c0b0a09080706050403020100fffefdfcfbfaf9f8"
    succeed(TOOL, "-a", "set-mgm-key", "-n", other)
    assert "Failed authentication" in run(TOOL, "-a", "generate", "-s", "9c", "-A", "ECCP256").output
    succeed(TOOL, "-a", "generate", "-s", "9c", "-A", "ECCP256", f"-k{other}")
    retries = ("-a", "pin-retries", "--pin-retries", "5", "--puk-retries", "6")
    succeed(TOOL, "-a", "verify-pin", "-P", "111111", *retries, f"-k{other}")
    assert "PIN tries left:\t5" in succeed(TOOL, "-a", "status")


def test_reset(generated: YubiKey, run: Run, succeed: Succeed) -> None:
    """Only when PIN and PUK are blocked."""
    assert run(TOOL, "-a", "reset").code == 1
    for _ in range(3):
        assert run(TOOL, "-a", "verify-pin", "-P", "000000").code == 1
        assert run(TOOL, "-a", "unblock-pin", "-P", "00000000", "-N", "111111").code == 1
    assert "Successfully reset" in succeed(TOOL, "-a", "reset")
    succeed(TOOL, *VERIFY)
    assert run(TOOL, "-a", "attest", "-s", "9a").code == 1


@pytest.mark.parametrize(
    ("action", "ins", "when", "nth"),
    [
        ("generate", 0x47, "before", 1),
        ("generate", 0x47, "after", 1),
        ("import-key", 0xFE, "before", 2),
        ("import-certificate", 0xDB, "before", 2),
        ("test-decipher", 0x87, "before", 2),
        ("test-decipher", 0x87, "after", 2),
    ],
)
def test_the_card_is_pulled(
    imported: YubiKey, run: Run, succeed: Succeed, action: str, ins: int, when: str, nth: int
) -> None:
    """In the middle of a chained command, or of the card's longest work: the program says that it failed, and ends."""
    actions = {
        "generate": ("-s", "9a", "-A", "RSA2048"),
        "import-key": ("-s", "82", "-i", "key.pem"),
        "import-certificate": ("-s", "82", "-i", "certificate.pem"),
        "test-decipher": ("-s", "9d", "-i", "certificate.pem"),
    }
    before = VERIFY if action.startswith("test") else ()
    imported.pull_at(ins, when, nth)
    ended = run(TOOL, *before, "-a", action, *actions[action])
    assert ended.code == 1
    assert re.search("Failed|failed|Unable", ended.output)
    imported.put_back()
    succeed(TOOL, *before, "-a", action, *actions[action])


ACTIONS = {
    "status": (0xCB, 0, "PIN tries left:\t-1"),
    "change-pin -P 123456 -N 654321": (0x24, 1, "Error in PCSC call"),
    "unblock-pin -P 12345678 -N 111111": (0x2C, 1, "Error in PCSC call"),
    "set-mgm-key -n 0f0e0d0c0b0a09080706050403020100fffefdfcfbfaf9f8": (0xFF, 1, "Failed setting the new key"),
    "attest -s 9d": (0xF9, 1, "Failed to attest"),
    "test-signature -s 9d -i certificate.pem": (0x87, 1, "Failed signing"),
    "delete-certificate -s 9d": (0xDB, 1, ""),
    "reset": (0xFB, 1, "Reset failed"),
}
"""Actions, the command before which the card goes, exit code and words. The status goes on with what it can get."""


def test_the_card_is_pulled_under_each_action(imported: YubiKey, run: Run, succeed: Succeed) -> None:
    """None hangs or crashes, and what was to be changed is as it was."""
    for action, (ins, code, says) in ACTIONS.items():
        imported.pull_at(ins)
        ended = run(TOOL, "-a", *action.split())
        assert (action, ended.code) == (action, code)
        assert says in ended.output
        imported.put_back()
    succeed(TOOL, *VERIFY, "-a", "test-signature", "-s", "9d", "-i", "certificate.pem")
    assert "No data available" in succeed(TOOL, "-a", "status")
