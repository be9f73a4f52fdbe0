# SPDX-License-Identifier: MIT
"""A real Thunderbird signs a mail and sends it, and decrypts one, with a card that comes and goes."""

from __future__ import annotations

import email
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.mozilla import NOT_PRESENT
from cardtear.lab.clients.thunderbird import Thunderbird
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.lab.simulator.trigger import Trigger
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

pytestmark = pytest.mark.needs("thunderbird", "marionette_driver", "aiosmtpd", "openssl", "certutil", "modutil")

BOB = "bob@example.com"
SECRET = "for your eyes only"

Signer = Callable[[bytes], tuple[str, x509.Certificate]]

with_each_kind_of_key = pytest.mark.parametrize("card", ["piv", "piv-ec"], indirect=True)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """OpenSSL's opinion of a signed mail: the text that is signed, and by whom. Fails for a bad signature."""

    def check(mail: bytes) -> tuple[str, x509.Certificate]:
        (tmp_path / "mail").write_bytes(mail)
        (tmp_path / "ca.pem").write_bytes(paths.test_ca().certificate_pem())
        signed = openssl(tmp_path, "cms", "-verify", "-in", "mail", "-CAfile", "ca.pem", "-signer", "signer.pem")
        text = email.message_from_string(signed).get_payload(decode=True).decode().strip()
        return text, x509.load_pem_x509_certificate((tmp_path / "signer.pem").read_bytes())

    return check


@pytest.fixture
def sealed(tmp_path: Path, thunderbird: Thunderbird, card: CardRequest) -> str:
    """A mail that OpenSSL has encrypted to the card."""
    certificate = thunderbird.choose_certificates(card.name)["encryption"]
    (tmp_path / "recipient.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "text").write_text(f"Content-Type: text/plain\r\n\r\n{SECRET}\r\n")
    headers = ("-from", BOB, "-to", card.address, "-subject", "sealed")
    mail = openssl(tmp_path, "cms", "-encrypt", "-aes256", *headers, "-in", "text", "recipient.pem")
    assert SECRET not in mail
    return mail


def openssl(folder: Path, *arguments: str) -> str:
    """OpenSSL, which has to succeed."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@with_each_kind_of_key
def test_signing(thunderbird: Thunderbird, card: CardRequest, post_office: Any, signer: Signer) -> None:
    """The PIN is asked for the login, and for the key that wants it each time; OpenSSL finds the signature good."""
    before = thunderbird.prompts()
    thunderbird.write(BOB, "signed", "Hello from a card.")
    assert thunderbird.send() is None
    text, certificate = signer(post_office.mail())
    assert text == "Hello from a card."
    assert certificate == thunderbird.choose_certificates(card.name)["signing"]
    assert thunderbird.prompts() == before + 2


@pytest.mark.parametrize("on", [{"call": "C_SignInit"}, {"ins": 0x87}], ids=str)
def test_card_goes_in_the_signature(
    bench: Simulator,
    thunderbird: Thunderbird,
    card: CardRequest,
    post_office: Any,
    signer: Signer,
    on: dict[str, object],
) -> None:
    """Thunderbird says that it cannot sign, and sends nothing; with the card back the same letter goes out."""
    thunderbird.write(BOB, "torn", "Hello again.")
    bench.arm(Trigger("remove", {"reader": "front"}, **on))  # type: ignore[arg-type]
    assert "Unable to sign message" in (thunderbird.send() or "")
    assert bench.testbed.reader("front").insertion is None
    assert post_office.is_empty
    thunderbird.wait_for_status(NOT_PRESENT)
    bench.insert("front", card)
    thunderbird.wait_for_card(card.name)
    assert thunderbird.send() is None
    assert signer(post_office.mail())[0] == "Hello again."


def test_signing_without_the_card(
    bench: Simulator, thunderbird: Thunderbird, card: CardRequest, post_office: Any, signer: Signer
) -> None:
    """Pulled before: Thunderbird says that the certificate cannot be used, and asks for no PIN."""
    thunderbird.write(BOB, "late", "Hello at last.")
    bench.remove("front")
    thunderbird.wait_for_status(NOT_PRESENT)
    before = thunderbird.prompts()
    said = thunderbird.send() or ""  # Thunderbird 140, and newer ones
    assert "failed to find the signing certificate" in said or "cannot be digitally signed" in said, said
    assert thunderbird.prompts() == before
    assert post_office.is_empty
    bench.insert("front", card)
    thunderbird.wait_for_card(card.name)
    assert thunderbird.send() is None
    assert signer(post_office.mail())[0] == "Hello at last."


@with_each_kind_of_key
def test_decrypting(bench: Simulator, thunderbird: Thunderbird, card: CardRequest, sealed: str) -> None:
    """With the card and the PIN; torn out while it decrypts, Thunderbird says that it cannot; back again it can."""
    before = thunderbird.prompts()
    shown = thunderbird.receive(sealed)
    assert shown.decrypted
    assert SECRET in shown.text
    assert thunderbird.prompts() == before + 1
    bench.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
    shown = thunderbird.receive(sealed)
    assert "cannot decrypt this message" in shown.text
    assert SECRET not in shown.text
    thunderbird.wait_for_status(NOT_PRESENT)
    bench.insert("front", card)
    thunderbird.wait_for_card(card.name)
    # Thunderbird may know the card a moment before it knows what is on it; a person would open the mail once more.
    shown = thunderbird.wait(lambda: thunderbird.receive(sealed), lambda found: found.decrypted, "the mail, decrypted")
    assert SECRET in shown.text
