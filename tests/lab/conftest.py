# SPDX-License-Identifier: MIT
"""What the tests of card images and their commands share."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

DEADLINE = 60
PASSPHRASE = "correct horse"

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs the command line in a folder of its own."""
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_RUNTIME_DIR": str(tmp_path)}
    environment.pop("CARDTEAR_PASSPHRASE_FILE", None)

    def run(*words: object, said: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cardtear.lab.cli.main", *map(str, words)]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **more},
            input=said,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    return ready_image(CardRequest("piv-ec", management="default"), folder, TestCA.load_or_create(folder / "ca"))


@pytest.fixture
def image(tmp_path: Path, ready: Path) -> Path:
    return Path(shutil.copy(ready, tmp_path / "a.card"))


def certified(key: Any, is_authority: bool = False, named: str = "me", serial: int = 1) -> x509.Certificate:
    """A certificate by the key itself; without a name if that is empty."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, named)] if named else [])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(now).not_valid_after(now + datetime.timedelta(1))
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def pem(key: Any, certificate: x509.Certificate | None = None, password: bytes | None = None) -> bytes:
    encryption: Any = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return text + (certificate.public_bytes(serialization.Encoding.PEM) if certificate else b"")
