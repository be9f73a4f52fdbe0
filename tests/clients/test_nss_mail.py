# SPDX-License-Identifier: MIT
"""S/MIME by cmsutil with keys on the token, and a detached signature by signver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.processes import paths

pytestmark = pytest.mark.needs("certutil", "modutil", "cmsutil", "signver", "openssl")

TEXT = "a mail\n"
SIGNER, RECIPIENT = "Alice:Certificate for Digital Signature", "Alice:Certificate for Key Management"


@pytest.fixture
def mail(new_nss: Callable[..., Any]) -> Callable[..., Any]:
    """A database that trusts the CA of Alice's card, and the file `mail`."""

    def make(**parameters: Any) -> Any:
        nss = new_nss(**parameters)
        nss.trust(paths.test_ca().certificate_pem())
        (nss.folder / "mail").write_text(TEXT)
        return nss

    return make


@pytest.mark.parametrize("profile", ["piv", "piv-ec"])
@pytest.mark.parametrize("digest", ["SHA256", "SHA384", "SHA512"])
def test_signing(mail: Callable[..., Any], profile: str, digest: str) -> None:
    """With the key that asks for the PIN each time; NSS and OpenSSL both find the signature good."""
    nss = mail(profile=profile)
    nss(
        "cmsutil",
        "-S",
        "-d",
        nss.database,
        "-f",
        "pin",
        "-N",
        SIGNER,
        "-H",
        digest,
        "-P",
        "-G",
        "-i",
        "mail",
        "-o",
        "signed",
    )
    told = nss("cmsutil", "-D", "-d", nss.database, "-i", "signed", "-h", "1")
    assert 'signer0.id="Alice"; signer0.status=GoodSignature' in told
    assert TEXT in told
    assert TEXT in nss("openssl", "cms", "-verify", "-inform", "DER", "-in", "signed", "-CAfile", "authority.pem")


def test_a_mail_that_was_changed(mail: Callable[..., Any]) -> None:
    """The signature is not good for another text."""
    nss = mail()
    nss("cmsutil", "-S", "-T", "-d", nss.database, "-f", "pin", "-N", SIGNER, "-i", "mail", "-o", "signed")
    verify = ("cmsutil", "-D", "-d", nss.database, "-c", "mail", "-i", "signed", "-h", "1")
    assert "GoodSignature" in nss(*verify)
    (nss.folder / "mail").write_text("another mail\n")
    assert "GoodSignature" not in nss.run(*verify).output


def test_encryption(mail: Callable[..., Any]) -> None:
    """To the key on the card; nobody reads it without the card or without the PIN."""
    nss = mail()
    nss("cmsutil", "-E", "-d", nss.database, "-f", "pin", "-r", RECIPIENT, "-i", "mail", "-o", "sealed")
    assert TEXT.encode() not in (nss.folder / "sealed").read_bytes()
    read = ("cmsutil", "-D", "-d", nss.database, "-i", "sealed", "-f")
    assert TEXT in nss(*read, "pin")
    (nss.folder / "wrong").write_text("000000\n")
    assert TEXT not in nss.run(*read, "wrong").output
    card = nss.simulator.remove("front")
    assert TEXT not in nss.run(*read, "pin").output
    nss.simulator.insert("front", card)
    assert TEXT in nss(*read, "pin")


@pytest.mark.parametrize("cipher", ["-aes128", "-aes256", "-des3"])
def test_mail_from_openssl(mail: Callable[..., Any], cipher: str) -> None:
    """What others send, the card opens."""
    nss = mail()
    (nss.folder / "recipient.pem").write_text(nss.certutil("-L", "-n", RECIPIENT, "-a"))
    sealed = ("-in", "mail", "-outform", "DER", "-out", "sealed", "recipient.pem")
    nss("openssl", "cms", "-encrypt", "-binary", cipher, *sealed)
    assert TEXT in nss("cmsutil", "-D", "-d", nss.database, "-i", "sealed", "-f", "pin")


def test_signver(mail: Callable[..., Any]) -> None:
    """A detached signature with an RSA key of the card; old PKCS #7 knows no other."""
    nss = mail(profile="blank")
    nss.certify("signer")
    nss("cmsutil", "-S", "-T", "-d", nss.database, "-f", "pin", "-N", "Alice:signer", "-i", "mail", "-o", "signed")
    verify = ("signver", "-V", "-d", nss.database, "-i", "mail", "-s", "signed")
    assert "signatureValid=yes" in nss(*verify)
    (nss.folder / "mail").write_text("another mail\n")
    assert "signatureValid=no" in nss.run(*verify).output
