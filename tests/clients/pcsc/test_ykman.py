# SPDX-License-Identifier: MIT
"""Yubico's ykman (PyPI: yubikey-manager), with a card behind pcscd."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ...shared.programs import Run, Succeed
from .yubico import MANAGEMENT_KEY, PIN, PUK, READER, YubiKey, key, pcscd

__all__ = ["key", "pcscd"]

pytestmark = pytest.mark.needs("ykman", "openssl")

TOOL = (str(Path(sys.executable).with_name("ykman")), "--reader", READER, "piv")
MANAGE = ("-m", MANAGEMENT_KEY)
VERIFY = ("-P", PIN)


@pytest.fixture
def generated(key: YubiKey, succeed: Succeed) -> YubiKey:
    """With a key in 9A; `public.pem` is in the folder."""
    succeed(*TOOL, "keys", "generate", *MANAGE, "-a", "ECCP256", "9a", "public.pem")
    return key


def test_keys(generated: YubiKey, succeed: Succeed, tmp_path: Path) -> None:
    public = load_pem_public_key((tmp_path / "public.pem").read_bytes())
    info = succeed(*TOOL, "keys", "info", "9a")
    assert re.search(r"Algorithm:\s+ECCP256", info)
    assert re.search(r"Origin:\s+GENERATED", info)
    succeed(*TOOL, "keys", "export", "9a", "exported.pem")
    assert load_pem_public_key((tmp_path / "exported.pem").read_bytes()) == public
    succeed(*TOOL, "keys", "attest", "9a", "attestation.pem")
    assert x509.load_pem_x509_certificate((tmp_path / "attestation.pem").read_bytes()).public_key() == public
    succeed(*TOOL, "keys", "move", *MANAGE, "9a", "82")
    succeed("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem")
    succeed(*TOOL, "keys", "import", *MANAGE, "9d", "key.pem")
    info = succeed(*TOOL, "info")
    assert re.search(r"Slot 82 .*\n.*ECCP256", info)
    assert re.search(r"Slot 9D .*\n.*RSA2048", info)
    succeed(*TOOL, "keys", "delete", *MANAGE, "82")
    assert "Slot 82" not in succeed(*TOOL, "info")


def test_certificates(generated: YubiKey, succeed: Succeed, tmp_path: Path) -> None:
    public = load_pem_public_key((tmp_path / "public.pem").read_bytes())
    both = (*VERIFY, "-s", "CN=Alice", "9a", "public.pem")
    succeed(*TOOL, "certificates", "request", *both, "request.pem")
    request = x509.load_pem_x509_csr((tmp_path / "request.pem").read_bytes())
    assert request.is_signature_valid
    assert request.public_key() == public
    succeed(*TOOL, "certificates", "generate", *MANAGE, *both)
    succeed(*TOOL, "certificates", "export", "9a", "certificate.pem")
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == public
    succeed(*TOOL, "certificates", "import", *MANAGE, *VERIFY, "--verify", "--compress", "9a", "certificate.pem")
    assert "CN=Alice" in succeed(*TOOL, "info")
    succeed(*TOOL, "certificates", "delete", *MANAGE, "9a")
    assert "CN=Alice" not in succeed(*TOOL, "info")


def test_objects(key: YubiKey, run: Run, succeed: Succeed, tmp_path: Path) -> None:
    assert "No data available" in succeed(*TOOL, "info")
    succeed(*TOOL, "objects", "generate", *MANAGE, "CHUID")
    succeed(*TOOL, "objects", "generate", *MANAGE, "CCC")
    assert "No data available" not in succeed(*TOOL, "info")
    (tmp_path / "object").write_bytes(bytes(range(256)) * 8)
    succeed(*TOOL, "objects", "import", *MANAGE, "0x5fff11", "object")
    succeed(*TOOL, "objects", "export", "0x5fff11", "exported")
    assert (tmp_path / "exported").read_bytes() == (tmp_path / "object").read_bytes()


def test_access(key: YubiKey, run: Run, succeed: Succeed) -> None:
    access = (*TOOL, "access")
    succeed(*access, "change-pin", "-P", PIN, "-n", "654321")
    succeed(*access, "change-puk", "-p", PUK, "-n", "87654321")
    refused = run(*access, "change-pin", "-P", PIN, "-n", "111111")
    assert refused.code == 1
    assert "2 tries left" in refused.output
    succeed(*access, "unblock-pin", "-p", "87654321", "-n", "111111")
    succeed(*access, "set-retries", *MANAGE, "-P", "111111", "5", "6", "--force")
    assert re.search(r"PIN tries remaining:\s+5/5", succeed(*TOOL, "info"))
    other = ("change-management-key", *MANAGE, *VERIFY, "--algorithm", "AES256", "--generate", "--protect", "--force")
    succeed(*access, *other)
    assert "AES256" in succeed(*TOOL, "info")
    succeed(*TOOL, "keys", "generate", *VERIFY, "9a", "public.pem")
    assert run(*TOOL, "keys", "generate", *MANAGE, "9a", "public.pem").code == 1
    succeed(*TOOL, "reset", "--force")
    succeed(*TOOL, "keys", "generate", *MANAGE, "9a", "public.pem")


@pytest.mark.parametrize(
    ("ins", "when", "command"),
    [
        (0x47, "before", ("keys", "generate", *MANAGE, "-a", "RSA2048", "9a", "public.pem")),
        (0x47, "after", ("keys", "generate", *MANAGE, "-a", "RSA2048", "9a", "public.pem")),
        (0xDB, "after", ("objects", "import", *MANAGE, "0x5fff11", "object")),
        (0x87, "before", ("certificates", "request", *VERIFY, "-s", "CN=Alice", "9a", "public.pem", "request.pem")),
        (0xFE, "before", ("keys", "import", *MANAGE, "9d", "key.pem")),
        (0xF9, "before", ("keys", "attest", "9a", "attestation.pem")),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else None,
)
def test_the_card_is_pulled(
    generated: YubiKey, run: Run, succeed: Succeed, tmp_path: Path, ins: int, when: str, command: Any
) -> None:
    """An error, no hang, and it works again with the card back."""
    (tmp_path / "object").write_bytes(bytes(2000))
    succeed("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem")
    generated.pull_at(ins, when)
    ended = run(*TOOL, *command)
    assert ended.code == 1
    assert "ERROR" in ended.output
    generated.put_back()
    succeed(*TOOL, *command)
