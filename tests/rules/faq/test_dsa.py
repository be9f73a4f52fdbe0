# SPDX-License-Identifier: MIT
"""DSA keys on a token for old suites, as the FAQ of NSS has them: made, brought, certified, used, never given out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.csrc import module_path
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ...shared.dsa_domains import DOMAINS, domain_file

pytestmark = pytest.mark.needs("certutil", "modutil", "pk12util", "openssl", "pkcs11-tool")

DSA = ("-k", "dsa")
GENERATES = pytest.mark.parametrize("generates", [True, False])


@pytest.fixture
def new_token(new_nss: Callable[..., Any]) -> Callable[..., Any]:
    """A database, and Alice's card, which has DSA and nothing on it."""
    return lambda **parameters: new_nss(profile="blank", legacy=True, **parameters)


@GENERATES
def test_made(new_token: Callable[..., Any], generates: bool) -> None:
    """By the token if it can, otherwise by NSS, which stores it; its own certificate verifies."""
    nss = new_token(key_generation=generates)
    nss.certify("mine", *DSA)
    assert ("C_GenerateKeyPair" in nss.names("certutil")) is generates
    ((_, (found, name)),) = nss.private_keys().items()
    assert (found, name) == ("dsa", "Alice:mine")
    pem = nss("certutil", "-L", "-d", nss.database, "-h", "Alice", "-n", "Alice:mine", "-a", "-f", "pin")
    (nss.folder / "mine.pem").write_text(pem)
    assert "OK" in nss("openssl", "verify", "-CAfile", "mine.pem", "mine.pem")


@pytest.mark.parametrize("bits", DOMAINS)
def test_brought(new_token: Callable[..., Any], bits: int) -> None:
    """By pk12util, which gets it back from nobody; it makes a request that verifies."""
    nss = new_token()
    (nss.folder / "domain.pem").write_bytes(domain_file(bits))
    nss("openssl", "req", "-x509", "-newkey", "dsa:domain.pem", "-nodes", "-subj", "/CN=brought",
        "-keyout", "key.pem", "-out", "new.pem")  # fmt: skip
    both = ("-inkey", "key.pem", "-in", "new.pem", "-name", "brought", "-out", "brought.p12")
    nss("openssl", "pkcs12", "-export", *both, "-passout", "pass:password")
    nss("pk12util", "-i", "brought.p12", "-d", nss.database, "-h", "Alice", "-k", "pin", "-W", "password")
    ((_, (found, name)),) = nss.private_keys().items()
    assert (found, name) == ("dsa", "brought")
    ended = nss.run(
        "pk12util", "-o", "out.p12", "-d", nss.database, "-n", "Alice:brought", "-k", "pin", "-W", "password"
    )
    assert ended.code != 0
    assert "UNABLE_TO_EXPORT_KEY" in ended.output
    ((identity, _),) = nss.private_keys().items()
    nss.certutil("-R", "-h", "Alice", "-k", identity, "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")


def test_used_by_others(new_token: Callable[..., Any]) -> None:
    """OpenSC's pkcs11-tool signs with a key that NSS has made; OpenSSL verifies it by the certificate."""
    nss = new_token()
    nss.certify("mine", *DSA)
    pem = nss("certutil", "-L", "-d", nss.database, "-h", "Alice", "-n", "Alice:mine", "-a", "-f", "pin")
    (nss.folder / "mine.pem").write_text(pem)
    (nss.folder / "mine.pub").write_text(nss("openssl", "x509", "-in", "mine.pem", "-noout", "-pubkey"))
    (nss.folder / "data").write_bytes(b"data")
    ((identity, _),) = nss.private_keys().items()
    login = ("--module", str(module_path()), "--login", "--pin", "123456")
    for digest in ("SHA1", "SHA256"):
        nss("pkcs11-tool", *login, "--sign", "-m", f"DSA-{digest}", "--id", identity, "-i", "data", "-o", "signature")
        both = (nss.folder / "signature").read_bytes()
        half = len(both) // 2
        der = encode_dss_signature(*(int.from_bytes(each, "big") for each in (both[:half], both[half:])))
        (nss.folder / "signature").write_bytes(der)
        verify = ("-verify", "mine.pub", "-signature", "signature", "data")
        assert "Verified OK" in nss("openssl", "dgst", f"-{digest.lower()}", *verify)
