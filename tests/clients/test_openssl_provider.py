# SPDX-License-Identifier: MIT
"""OpenSSL through pkcs11-provider, which Debian 13 has: signatures, and TLS servers whose key is on the card."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.trace import CallEntry

from .conftest import PROVIDER

pytestmark = pytest.mark.needs("openssl", "pkcs11-tool")

Run = Callable[..., Any]
Succeed = Callable[..., str]
Configured = Callable[[str], dict[str, str]]
Serve = Callable[..., contextlib.AbstractContextManager[Path]]
KEY = "pkcs11:id=%01;type=private"
CONFIGURATION = """
openssl_conf = init
[init]
providers = providers
[providers]
default = built_in
pkcs11 = card
[built_in]
activate = 1
[card]
module = {provider}
pkcs11-module-path = {module}
pkcs11-module-token-pin = 123456
{more}
activate = 1
"""
WITHOUT_DIGESTS = "pkcs11-module-block-operations = digest"
"""pkcs11-provider 1.0 gives sessions back whose digest has not ended, and the next one in them is refused."""


@pytest.fixture
def certificate(simulator: Simulator, tool: Succeed, succeed: Succeed, tmp_path: Path) -> None:
    """That of 9A, in certificate.pem, and a file to sign."""
    tool("--read-object", "--type", "cert", "--id", "01", "--output-file", "certificate.der")
    succeed("openssl", "x509", "-inform", "der", "-in", "certificate.der", "-out", "certificate.pem")
    (tmp_path / "key.pub").write_text(succeed("openssl", "x509", "-in", "certificate.pem", "-noout", "-pubkey"))
    (tmp_path / "data").write_bytes(b"a card that can be pulled out")


@pytest.fixture
def configured(tmp_path: Path, module: str) -> Configured:
    """The variables by which openssl finds provider, module and PIN."""

    def configure(more: str) -> dict[str, str]:
        path = tmp_path / "provider.cnf"
        path.write_text(CONFIGURATION.format(provider=PROVIDER, module=module, more=more))
        return {"OPENSSL_CONF": str(path)}

    return configure


def fetch(run: Run, port: int, version: str) -> str:
    """What a client says of one connection: the page's first line, the protocol, or an error."""
    client = ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-ign_eof")
    return str(run(*client, stdin="GET / HTTP/1.0\r\n\r\n").output)


def serving(port: int) -> tuple[str, ...]:
    """A TLS server with the card's key; whatever the token can do is done by it."""
    key = ("-key", KEY, "-cert", "certificate.pem")
    return ("openssl", "s_server", "-propquery", "?provider=pkcs11", *key, "-accept", f"127.0.0.1:{port}", "-www")


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_signature(certificate: None, configured: Configured, succeed: Succeed, digest: str) -> None:
    signing = (
        "openssl",
        "pkeyutl",
        "-sign",
        "-rawin",
        "-digest",
        digest,
        "-in",
        "data",
        "-inkey",
        KEY,
        "-out",
        "signature",
    )
    succeed(*signing, **configured(""))
    verifying = ("openssl", "dgst", f"-{digest}", "-verify", "key.pub", "-signature", "signature", "data")
    assert "Verified OK" in succeed(*verifying)


def test_servers(certificate: None, configured: Configured, serve: Serve, run: Run, port: int) -> None:
    """One client after the other."""
    with serve(port, *serving(port), **configured(WITHOUT_DIGESTS)):
        for version in ("tls1_3", "tls1_2", "tls1_3", "tls1_2"):
            assert "200 ok" in fetch(run, port, version)


def test_all_by_the_token(
    certificate: None, configured: Configured, serve: Serve, run: Run, port: int, simulator: Simulator
) -> None:
    """Digests and the derivation of TLS 1.3's keys as well."""
    with serve(port, *serving(port), **configured("")):
        assert "200 ok" in fetch(run, port, "tls1_3")
    called = {entry.name for entry in simulator.testbed.trace.entries() if isinstance(entry, CallEntry)}
    assert called >= {"C_DigestInit", "C_DeriveKey"}


def test_the_card_goes_in_a_handshake(
    certificate: None, configured: Configured, serve: Serve, run: Run, port: int, simulator: Simulator
) -> None:
    """That one fails in time, and the server goes on; putting the card back does not help it."""
    with serve(port, *serving(port), **configured(WITHOUT_DIGESTS)):
        assert "200 ok" in fetch(run, port, "tls1_3")
        simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
        assert "200 ok" not in fetch(run, port, "tls1_3")
        simulator.insert("front")
        fetch(run, port, "tls1_3")
