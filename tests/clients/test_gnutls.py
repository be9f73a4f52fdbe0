# SPDX-License-Identifier: MIT
"""GnuTLS: p11tool, certtool, and TLS between gnutls-serv and gnutls-cli with the keys on a token."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKM
from cardtear.reader.trace import CallEntry

pytestmark = pytest.mark.needs("p11tool", "certtool", "gnutls-serv", "gnutls-cli", "openssl", "pkcs11-tool")

Run = Callable[..., Any]
Succeed = Callable[..., str]
ReadKey = Callable[..., None]
TOKEN = "pkcs11:token=Alice"
BLANK = CardRequest(profile="blank")
PINS = {"GNUTLS_PIN": "123456", "GNUTLS_SO_PIN": "12345678"}


@pytest.fixture
def p11tool(succeed: Succeed, module: str) -> Succeed:
    """p11tool with the PINs in its environment; its output."""
    return lambda *options, **others: succeed(
        "p11tool", "--provider", module, "--batch", *options, **{**PINS, **others}
    )


@pytest.fixture
def certtool(succeed: Succeed, module: str, tmp_path: Path) -> Callable[..., str]:
    """certtool with a template made of lines."""

    def work(*options: str, lines: str = "") -> str:
        (tmp_path / "template").write_text(lines)
        return succeed("certtool", "--provider", module, "--template", "template", *options, **PINS)

    return work


def key(identity: str) -> str:
    """The URI of a private key, by its CKA_ID."""
    return f"{TOKEN};id=%{identity};type=private"


KINDS = {
    "rsa-1024": ("--generate-privkey=rsa", "--bits", "1024"),
    "rsa-2048": ("--generate-privkey=rsa", "--bits", "2048"),
    "rsa-3072": ("--generate-privkey=rsa", "--bits", "3072"),
    "p256": ("--generate-privkey=ecdsa", "--curve", "secp256r1"),
    "p384": ("--generate-privkey=ecdsa", "--curve", "secp384r1"),
}


@pytest.fixture
def make_key(p11tool: Succeed, succeed: Succeed) -> Callable[[str, str, str], None]:
    """Puts a key pair on the token under a CKA_ID, and its public half into a file.

    The card makes it, but for Ed25519: GnuTLS before 3.8 asks for such a pair by the mechanism of the signature.
    """

    def make(kind: str, identity: str, public: str) -> None:
        named = ("--label", f"key {identity}", "--id", identity)
        if kind != "ed25519":
            p11tool("--login", *KINDS[kind], *named, "--outfile", public, TOKEN)
            return
        succeed("openssl", "genpkey", "-algorithm", "ed25519", "-out", f"{identity}.pem")
        succeed("openssl", "pkey", "-in", f"{identity}.pem", "-pubout", "-out", public)
        p11tool("--login", "--write", "--load-privkey", f"{identity}.pem", *named, TOKEN)
        p11tool("--login", "--write", "--load-pubkey", public, *named, TOKEN)

    return make


def test_list_all(simulator: Simulator, p11tool: Succeed) -> None:
    """Certificates and keys, with login."""
    listed = p11tool("--list-all", "--login", TOKEN)
    for kind in ("type=cert", "type=public", "type=private"):
        assert listed.count(kind) == 4
    assert p11tool("--list-all-certs", TOKEN).count("type=cert") == 4
    assert p11tool("--list-privkeys", "--login", TOKEN).count("type=private") == 4
    assert "CKM_ECDSA_SHA256" in p11tool("--list-mechanisms", TOKEN)
    assert "token=Alice" in p11tool("--list-tokens")


@pytest.mark.parametrize("kind", KINDS)
def test_generate(blank: Simulator, p11tool: Succeed, succeed: Succeed, tmp_path: Path, kind: str) -> None:
    """A key pair made by the card; p11tool signs with it and verifies; the key given out is the token's."""
    p11tool("--login", *KINDS[kind], "--label", "made", "--id", "41", "--outfile", "made.pem", TOKEN)
    listed = p11tool("--list-all", "--login", TOKEN)
    assert "CKA_NEVER_EXTRACTABLE" in listed
    assert listed.count("Label: made") == 2
    tested = p11tool("--login", "--test-sign", key("41"))
    assert "Verifying against public key in the token... ok" in tested
    p11tool("--export", f"{TOKEN};id=%41;type=public", "--outfile", "exported.pem")
    made, exported = (
        succeed("openssl", "pkey", "-pubin", "-in", name, "-text", "-noout") for name in ("made.pem", "exported.pem")
    )
    assert made == exported


def test_write_export_delete(blank: Simulator, p11tool: Succeed, succeed: Succeed, contents: Any) -> None:
    """A foreign key with its public key and certificate."""
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-subj", "/CN=foreign")
    succeed(*request, "-out", "certificate.pem")
    succeed("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    write = ("--login", "--write", "--label", "foreign", "--id", "51")
    p11tool(*write, "--load-certificate", "certificate.pem", TOKEN)
    p11tool(*write, "--load-privkey", "key.pem", TOKEN)
    p11tool(*write, "--load-pubkey", "public.pem", TOKEN)
    assert contents().objects.total() == 3
    assert "Verifying against public key in the token... ok" in p11tool("--login", "--test-sign", key("51"))
    p11tool("--export", f"{TOKEN};id=%51;type=cert", "--outfile", "exported.pem")
    was, now = (succeed("openssl", "x509", "-in", name) for name in ("certificate.pem", "exported.pem"))
    assert was == now
    p11tool("--login", "--delete", f"{TOKEN};id=%51;type=cert")
    assert contents().count("label: foreign") == 2
    p11tool("--login", "--delete", f"{TOKEN};object=foreign")
    assert contents().objects.total() == 0


def test_write_ed25519(blank: Simulator, p11tool: Succeed, succeed: Succeed) -> None:
    """An Ed25519 key that was made elsewhere signs on the card."""
    succeed("openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    p11tool("--login", "--write", "--load-privkey", "key.pem", "--label", "foreign", "--id", "51", TOKEN)
    succeed("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
    p11tool("--login", "--write", "--load-pubkey", "public.pem", "--label", "foreign", "--id", "51", TOKEN)
    tested = p11tool("--login", "--test-sign", "--hash", "SHA512", key("51"))
    assert "Verifying against public key in the token... ok" in tested


def test_generate_by_the_wrong_mechanism(blank: Simulator, run: Run, module: str, contents: Any) -> None:
    """GnuTLS before 3.8 generates Ed25519 keys by CKM_EDDSA, which is no mechanism for that: refused, nothing made."""
    ended = run("p11tool", "--provider", module, "--batch", "--login", "--generate-privkey=ed25519", TOKEN, **PINS)
    calls = [entry for entry in blank.testbed.trace.entries() if isinstance(entry, CallEntry)]
    (asked,) = (entry.arguments[1] for entry in calls if entry.name == "C_GenerateKeyPair")
    if asked == CKM.EDDSA:
        assert ended.code != 0
        assert contents().objects.total() == 0
    else:
        assert ended.code == 0, ended.output


def test_trusted_certificates(blank: Simulator, p11tool: Succeed, run: Run, succeed: Succeed, module: str) -> None:
    """Only the security officer says what is trusted; on a card that he may write, which is not the usual one."""
    blank.swap("front", CardRequest(profile="blank", management="so"))
    succeed("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-subj", "/CN=CA", "-out", "c")
    write = ("--write", "--mark-trusted", "--load-certificate", "c", "--label", "root", "--id", "55", TOKEN)
    refused = run("p11tool", "--provider", module, "--batch", "--login", *write, **PINS)
    assert refused.code != 0
    assert "No matching objects" in run("p11tool", "--provider", module, "--batch", "--list-all-certs", TOKEN).output
    p11tool("--so-login", *write)
    assert "CKA_TRUSTED" in p11tool("--list-all-trusted", TOKEN)


def test_marks_and_secret_keys(blank: Simulator, p11tool: Succeed, succeed: Succeed, contents: Any) -> None:
    """--mark-ca, --mark-private, --mark-always-authenticate, --secret-key: as they were asked for, and each deleted."""
    succeed("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-subj", "/CN=CA", "-out", "c")
    write = ("--login", "--write", "--label")
    p11tool(*write, "authority", "--mark-ca", "--load-certificate", "c", TOKEN)
    secret = ("--secret-key=00112233445566778899aabbccddeeff",)
    p11tool(*write, "closed", "--mark-private", *secret, TOKEN)
    p11tool(*write, "asks", "--mark-always-authenticate", "--load-privkey", "k", "--id", "51", TOKEN)
    found = contents()
    assert found.count("Certificate", "label: authority") == 1
    assert found.count("Secret Key", "label: closed") == 1
    assert found.count("Private Key", "label: asks", "always authenticate") == 1
    assert "CKA_CERTIFICATE_CATEGORY=CA" in p11tool("--list-all-certs", TOKEN)
    assert "Verifying" in p11tool("--login", "--test-sign", key("51"))
    for label in ("authority", "closed", "asks"):
        assert "1 objects deleted" in p11tool("--login", "--delete", f"{TOKEN};object={label}")
    assert contents().objects.total() == 0


def test_set_label_and_id(blank: Simulator, p11tool: Succeed, contents: Any) -> None:
    """Of one object, for good."""
    p11tool("--login", *KINDS["p256"], "--label", "made", "--id", "41", "--outfile", "made.pem", TOKEN)
    p11tool("--login", "--set-label=other", key("41"))
    p11tool("--login", "--set-id=77", key("41"))
    assert contents().count("Private Key", "label: other", "ID: 77") == 1
    assert contents().count("Public Key", "label: made", "ID: 41") == 1


def test_initialize(blank: Simulator, p11tool: Succeed, run: Run, module: str) -> None:
    """Token, user PIN and SO PIN; everything that was on the card is gone."""
    p11tool("--login", *KINDS["p256"], "--label", "made", "--outfile", "made.pem", TOKEN)
    p11tool("--initialize", "--label", "New", TOKEN)
    p11tool("--initialize-pin", "pkcs11:token=New", GNUTLS_PIN="654321", GNUTLS_NEW_PIN="654321")
    look = ("p11tool", "--provider", module, "--batch", "--list-all", "--login", "pkcs11:token=New")
    assert "No matching objects" in run(*look, GNUTLS_PIN="654321").output
    assert "PIN" in run(*look, GNUTLS_PIN="123456").output
    p11tool("--login", *KINDS["p256"], "--label", "x", "--outfile", "x.pem", "pkcs11:token=New", GNUTLS_PIN="654321")


CA = "cn = Token CA\nca\ncert_signing_key\nserial = 1\nexpiration_days = 30\n"
LEAF = "cn = localhost\ndns_name = localhost\ntls_www_server\ntls_www_client\nsigning_key\nexpiration_days = 30\n"


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384", "ed25519"])
def test_certtool(
    blank: Simulator,
    make_key: Callable[[str, str, str], None],
    certtool: Callable[..., str],
    succeed: Succeed,
    kind: str,
) -> None:
    """A CA on the token issues for a request that is made with another key on the token; openssl verifies both."""
    for label, identity in (("ca", "41"), ("leaf", "42")):
        make_key(kind, identity, f"{label}.spki")
    ca = ("--load-privkey", key("41"))
    certtool("--generate-self-signed", *ca, "--load-pubkey", "ca.spki", "--outfile", "ca.pem", lines=CA)
    leaf = ("--load-privkey", key("42"), "--load-pubkey", "leaf.spki", "--outfile", "request.pem")
    certtool("--generate-request", *leaf, lines=LEAF)
    assert "verify OK" in succeed("openssl", "req", "-in", "request.pem", "-verify", "-noout")
    issue = ("--generate-certificate", "--load-request", "request.pem", "--load-ca-certificate", "ca.pem")
    certtool(*issue, "--load-ca-privkey", key("41"), "--outfile", "leaf.pem", lines=LEAF)
    assert "leaf.pem: OK" in succeed("openssl", "verify", "-CAfile", "ca.pem", "leaf.pem")


@pytest.fixture
def identity(
    p11tool: Succeed, make_key: Callable[[str, str, str], None], certtool: Callable[..., str]
) -> Callable[[str], None]:
    """Puts a key pair and a certificate of itself, for localhost, on the token as 41; also in the file `self.pem`."""

    def make(kind: str) -> None:
        make_key(kind, "41", "self.spki")
        own = ("--load-privkey", key("41"), "--load-pubkey", "self.spki", "--outfile", "self.pem")
        certtool("--generate-self-signed", *own, lines=LEAF + "ca\nserial = 1\n")
        p11tool("--login", "--write", "--load-certificate", "self.pem", "--label", "tls", "--id", "41", TOKEN)

    return make


class TestTls:
    """gnutls-serv and gnutls-cli, both with the key and the certificate on the token."""

    CERTIFICATE = f"{TOKEN};id=%41;type=cert"

    def client(self, module: str, port: int, priority: str) -> tuple[str, ...]:
        """gnutls-cli: one handshake."""
        own = ("--x509certfile", self.CERTIFICATE, "--x509keyfile", key("41"), "--x509cafile", "self.pem")
        return ("gnutls-cli", "--provider", module, *own, "--priority", priority, "-p", str(port), "localhost")

    def server(self, module: str, port: int) -> tuple[str, ...]:
        """gnutls-serv, which asks for a certificate."""
        own = ("--x509certfile", self.CERTIFICATE, "--x509keyfile", key("41"), "--x509cafile", "self.pem")
        return ("gnutls-serv", "--provider", module, *own, "--require-client-cert", "--http", "-p", str(port))

    @pytest.mark.parametrize("kind", ["rsa-2048", "p256", "ed25519"])
    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    def test_handshake(
        self,
        blank: Simulator,
        identity: Any,
        serve: Any,
        succeed: Succeed,
        module: str,
        port: int,
        kind: str,
        version: str,
    ) -> None:
        """Client and server show that they have their keys."""
        identity(kind)
        priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}"
        with serve(port, *self.server(module, port), **PINS):
            done = succeed(*self.client(module, port, priority), **PINS)
        assert f"TLS{version}" in done
        assert "Handshake was completed" in done
        assert "Successfully sent 1 certificate" in done

    def test_card_goes(self, blank: Simulator, identity: Any, serve: Any, run: Run, module: str, port: int) -> None:
        """Out while the server or the client signs: a handshake that fails; in again: the same server goes on."""
        identity("p256")
        client = self.client(module, port, "NORMAL")
        with serve(port, *self.server(module, port), **PINS):
            assert run(*client, **PINS).code == 0
            blank.remove("front")
            failed = run(*client, **PINS)
            assert failed.code != 0
            assert "Handshake was completed" not in failed.output
            blank.insert("front", BLANK)
            failed_or_not = run(*client, **PINS)
            assert re.search("rror|Handshake was completed", failed_or_not.output)
        with serve(port, *self.server(module, port), **PINS):
            assert run(*client, **PINS).code == 0


@pytest.mark.parametrize("on", [{"call": "C_Login"}, {"ins": 0x20}, {"call": "C_FindObjects"}], ids=str)
def test_card_goes_in_a_list(simulator: Simulator, run: Run, p11tool: Succeed, module: str, on: dict[str, Any]) -> None:
    """An error or a shorter list, no hang; all is there again with the card."""
    simulator.arm(Trigger("remove", {"reader": "front"}, **on))
    ended = run("p11tool", "--provider", module, "--batch", "--list-all", "--login", TOKEN, **PINS)
    assert ended.code != 0 or ended.output.count("type=private") < 4, ended.output
    simulator.insert("front")
    assert p11tool("--list-all", "--login", TOKEN).count("type=private") == 4


GENERATE = (*KINDS["p256"], "--label", "made", "--id", "41", "--outfile", "made.pem")


@pytest.mark.parametrize(
    ("prepared", "torn"),
    [
        (None, GENERATE),
        (None, ("--write", "--load-privkey", "key.pem", "--label", "foreign", "--id", "51")),
        (None, ("--write", "--load-certificate", "certificate.pem", "--label", "foreign", "--id", "51")),
        (GENERATE, ("--set-label=other",)),
        (GENERATE, ("--delete",)),
    ],
    ids=["generate", "write a key", "write a certificate", "set a label", "delete"],
)
def test_card_goes_in_a_write(
    tearing: Any, succeed: Succeed, p11tool: Succeed, module: str, prepared: Any, torn: tuple[str, ...]
) -> None:
    """At every APDU that writes: an error, no half object on the card, and the same works with the card back."""
    request = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    succeed(*request, "-keyout", "key.pem", "-subj", "/CN=foreign", "-out", "certificate.pem")
    uri = key("41") if prepared else TOKEN
    tearing.everywhere(
        *("p11tool", "--provider", module, "--batch", "--login", *torn, uri),
        prepare=lambda: p11tool("--login", *prepared, TOKEN) if prepared else None,
        failed=lambda ended: ended.code != 0 or "0 objects deleted" in ended.output,
        **PINS,
    )


def test_card_goes_in_a_signature(tearing: Any, module: str) -> None:
    """At every APDU of the login and of the signature."""
    sign = ("p11tool", "--provider", module, "--batch", "--login", "--test-sign", key("01"))
    tearing.everywhere(*sign, card=CardRequest(), kinds=tearing.USES, **PINS)
