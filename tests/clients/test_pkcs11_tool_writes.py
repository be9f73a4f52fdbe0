# SPDX-License-Identifier: MIT
"""OpenSC's pkcs11-tool with the options that write: keys, certificates, data, PINs; and with its card torn out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator

pytestmark = pytest.mark.needs("pkcs11-tool", "openssl")

Run = Callable[..., Any]
Succeed = Callable[..., str]
ReadKey = Callable[..., None]
USER = ("--login", "--pin", "123456")


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> bytes:
    """Some data, also in the file `data`."""
    content = b"a card that can be pulled out"
    (tmp_path / "data").write_bytes(content)
    return content


@pytest.fixture
def made(succeed: Succeed, tmp_path: Path) -> Callable[[str], str]:
    """Makes a key pair and a certificate with openssl: NAME.pem, .der (private), .spki (public), .cer; returns NAME."""
    kinds = {
        "rsa": ("rsa", "-pkeyopt", "rsa_keygen_bits:2048"),
        "rsa1024": ("rsa", "-pkeyopt", "rsa_keygen_bits:1024"),
        "rsa4096": ("rsa", "-pkeyopt", "rsa_keygen_bits:4096"),
        "p256": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "p384": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
    }

    def make(kind: str) -> str:
        key = f"{kind}.pem"
        succeed("openssl", "genpkey", "-algorithm", *kinds[kind], "-out", key)
        succeed("openssl", "pkey", "-in", key, "-traditional", "-outform", "DER", "-out", f"{kind}.der")
        succeed("openssl", "pkey", "-in", key, "-pubout", "-outform", "DER", "-out", f"{kind}.spki")
        request = ("openssl", "req", "-x509", "-new", "-key", key, "-subj", f"/CN={kind}", "-days", "30")
        succeed(*request, "-outform", "DER", "-out", f"{kind}.cer")
        return kind

    return make


@pytest.mark.parametrize(
    ("kind", "mechanism"),
    [
        ("rsa:1024", "SHA256-RSA-PKCS"),
        ("rsa:2048", "SHA384-RSA-PKCS"),
        ("rsa:3072", "SHA512-RSA-PKCS"),
        ("rsa:4096", "SHA256-RSA-PKCS"),
        ("EC:prime256v1", "ECDSA-SHA256"),
        ("EC:secp384r1", "ECDSA-SHA384"),
    ],
)
def test_key_pairs(
    blank: Simulator, tool: Succeed, succeed: Succeed, public_key: ReadKey, kind: str, mechanism: str
) -> None:
    """Made by the card, there for the next process, and of use: openssl verifies a signature."""
    assert "Key pair generated" in tool("--keypairgen", "--key-type", kind, "--id", "10", "--label", "made here")
    listed = tool("--list-objects")
    assert listed.count("label:      made here") == 2
    assert "never extractable, local" in listed
    public_key("10")
    form = ("--signature-format", "openssl") if kind.startswith("EC") else ()
    tool("--sign", "--id", "10", "-m", mechanism, *form, "-i", "data", "-o", "signature")
    name = next(part for part in mechanism.split("-") if part.startswith("SHA")).lower()
    verify = ("openssl", "dgst", f"-{name}", "-verify", "key.pem", "-signature", "signature", "data")
    assert "Verified OK" in succeed(*verify)
    tool("--verify", "--id", "10", "-m", mechanism, *form, "-i", "data", "--signature-file", "signature")


def test_curve25519(blank: Simulator, tool: Succeed, succeed: Succeed, public_key: ReadKey, contents: Any) -> None:
    """Ed25519, which signs, and X25519, which pkcs11-tool can make only."""
    tool("--keypairgen", "--key-type", "EC:edwards25519", "--id", "10", "--label", "edwards")
    public_key("10")
    tool("--sign", "--id", "10", "-m", "EDDSA", "-i", "data", "-o", "signature")
    succeed(
        "openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key.pem", "-in", "data", "-sigfile", "signature"
    )
    tool("--keypairgen", "--key-type", "EC:curve25519", "--id", "11", "--label", "montgomery")
    assert contents().count("Private Key", "EC_MONTGOMERY", "label: montgomery") == 1


IV = "000102030405060708090a0b0c0d0e0f"


def test_generated_secret_keys(blank: Simulator, tool: Succeed, succeed: Succeed, tmp_path: Path, data: bytes) -> None:
    """AES, 3DES and generic secrets on the token; what AES encrypts, openssl decrypts with the key that was read."""
    for number, kind in enumerate(("AES:16", "AES:24", "AES:32", "DES3:24", "GENERIC:32")):
        tool("--keygen", "--key-type", kind, "--id", f"2{number}", "--label", kind, "--extractable")
    assert tool("--list-objects").count("Secret Key Object") == 5
    tool("--read-object", "--type", "secrkey", "--id", "22", "-o", "key")
    key = (tmp_path / "key").read_bytes().hex()
    tool("--encrypt", "-m", "AES-CBC-PAD", "--iv", IV, "--id", "22", "-i", "data", "-o", "secret")
    succeed("openssl", "enc", "-d", "-aes-256-cbc", "-K", key, "-iv", IV, "-in", "secret", "-out", "plain")
    assert (tmp_path / "plain").read_bytes() == data
    tool("--decrypt", "-m", "AES-CBC-PAD", "--iv", IV, "--id", "22", "-i", "secret", "-o", "again")
    assert (tmp_path / "again").read_bytes() == data
    tool("--sign", "-m", "SHA256-HMAC", "--id", "24", "-i", "data", "-o", "mac")
    tool("--read-object", "--type", "secrkey", "--id", "24", "-o", "key")
    mac = ("openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{(tmp_path / 'key').read_bytes().hex()}")
    succeed(*mac, "-binary", "-out", "theirs", "data")
    assert (tmp_path / "mac").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_wrapped_keys(blank: Simulator, tool: Succeed, tmp_path: Path) -> None:
    """An AES key goes out under the public RSA key, or under another AES key, and comes back by the card's key."""
    tool("--keypairgen", "--key-type", "rsa:2048", "--id", "10")
    tool("--keygen", "--key-type", "AES:32", "--id", "20", "--extractable")
    tool("--keygen", "--key-type", "AES:16", "--id", "21")
    tool("--read-object", "--type", "secrkey", "--id", "20", "-o", "key")
    ways = {"RSA-PKCS": ("10",), "AES-CBC-PAD": ("21", "--iv", IV)}
    for number, (mechanism, (wrapping, *iv)) in enumerate(ways.items()):
        tool("--wrap", "-m", mechanism, *iv, "--id", wrapping, "--application-id", "20", "-o", "wrapped")
        new = ("--key-type", "AES:", "--application-id", f"3{number}", "--application-label", "back", "--extractable")
        tool("--unwrap", "-m", mechanism, *iv, "--id", wrapping, "-i", "wrapped", *new)
        tool("--read-object", "--type", "secrkey", "--id", f"3{number}", "-o", "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "key").read_bytes()


@pytest.mark.parametrize("kind", ["rsa", "rsa1024", "rsa4096", "p256", "p384"])
def test_write_keys(
    blank: Simulator, tool: Succeed, succeed: Succeed, made: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    """A private key, its public key and its certificate: each comes back as it was, and the private key signs."""
    made(kind)
    for what, file in (("privkey", "der"), ("pubkey", "spki"), ("cert", "cer")):
        tool("--write-object", f"{kind}.{file}", "--type", what, "--id", "20", "--label", f"my {what}")
    listed = tool("--list-objects")
    for what in ("privkey", "pubkey", "cert"):
        assert listed.count(f"label:      my {what}") == 1
    for what, file in (("pubkey", "spki"), ("cert", "cer")):
        if (kind, what) == ("p384", "pubkey"):
            continue  # OpenSC 0.23 cannot write such a key to a file, whatever the module
        tool("--read-object", "--type", what, "--id", "20", "-o", "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / f"{kind}.{file}").read_bytes()
    mechanism = ("SHA256-RSA-PKCS",) if kind.startswith("rsa") else ("ECDSA-SHA256", "--signature-format", "openssl")
    tool("--sign", "--id", "20", "-m", *mechanism, "-i", "data", "-o", "signature")
    succeed("openssl", "dgst", "-sha256", "-prverify", f"{kind}.pem", "-signature", "signature", "data")


def test_data_objects(blank: Simulator, tool: Succeed, run: Run, module: str, tmp_path: Path, data: bytes) -> None:
    """Public and private; found by label, application and object identifier."""
    write = ("--write-object", "data", "--type", "data")
    tool(*write, "--label", "open", "--application-label", "tests", "--application-id", "1.2.3.4")
    tool(*write, "--label", "closed", "--private")
    read = ("--read-object", "--type", "data", "-o", "back")
    for named in (("--label", "open"), ("--label", "closed"), ("--application-id", "1.2.3.4")):
        (tmp_path / "back").unlink(missing_ok=True)
        tool(*read, *named)
        assert (tmp_path / "back").read_bytes() == data
    public = ("pkcs11-tool", "--module", module, *read, "--label")
    assert run(*public, "open").code == 0
    assert "object not found" in run(*public, "closed").output


def test_full_card(blank: Simulator, tool: Succeed, run: Run, module: str, tmp_path: Path, contents: Any) -> None:
    """A card without room says so, and nothing is left of the object."""
    blank.swap("front", CardRequest(profile="blank", capacity=8192))
    (tmp_path / "large").write_bytes(b"x" * 4900)
    write = ("--write-object", "large", "--type", "data", "--label")
    tool(*write, "first")
    before = contents()
    ended = run("pkcs11-tool", "--module", module, *USER, *write, "second")
    assert ended.code != 0
    assert "CKR_DEVICE_MEMORY" in ended.output
    assert contents() == before
    tool("--delete-object", "--type", "data", "--label", "first")
    tool(*write, "second")
    tool("--read-object", "--type", "data", "--label", "second", "-o", "back")
    assert (tmp_path / "back").read_bytes() == b"x" * 4900


def test_secret_keys(blank: Simulator, tool: Succeed, run: Run, module: str, tmp_path: Path) -> None:
    """An AES key that may be read again, and one that may not."""
    (tmp_path / "secret").write_bytes(bytes(range(32)))
    write = ("--write-object", "secret", "--type", "secrkey", "--key-type", "AES:32")
    tool(*write, "--id", "31", "--label", "open", "--extractable")
    tool(*write, "--id", "32", "--label", "closed", "--sensitive")
    tool("--read-object", "--type", "secrkey", "--id", "31", "-o", "back")
    assert (tmp_path / "back").read_bytes() == bytes(range(32))
    ended = run("pkcs11-tool", "--module", module, *USER, "-r", "--type", "secrkey", "--id", "32", "-o", "none")
    assert ended.code != 0
    assert "AES length 32" in tool("--list-objects")


def test_set_id(blank: Simulator, tool: Succeed, contents: Any) -> None:
    """--set-id changes one object, for good."""
    tool("--keypairgen", "--key-type", "EC:prime256v1", "--id", "10", "--label", "pair")
    tool("--set-id", "77", "--type", "privkey", "--id", "10")
    listed = contents()
    assert listed.count("Private Key", "ID: 77") == listed.count("ID: 77") == 1
    assert listed.count("Public Key", "ID: 10") == listed.count("ID: 10") == 1
    tool("--sign", "--id", "77", "-m", "ECDSA-SHA256", "-i", "data", "-o", "signature")


def test_delete(blank: Simulator, tool: Succeed, made: Callable[[str], str], contents: Any) -> None:
    """--delete-object takes each kind of object, and only that."""
    made("p256")
    for what, file in (("privkey", "der"), ("pubkey", "spki"), ("cert", "cer")):
        tool("--write-object", f"p256.{file}", "--type", what, "--id", "20", "--label", what)
    tool("--write-object", "data", "--type", "data", "--label", "data")
    left = 4
    for what in ("cert", "privkey", "pubkey"):
        tool("--delete-object", "--type", what, "--id", "20")
        left -= 1
        assert contents().objects.total() == left
    tool("--delete-object", "--type", "data", "--label", "data")
    assert contents().objects.total() == 0


def test_allowed_mechanisms(blank: Simulator, tool: Succeed, run: Run, module: str) -> None:
    """A key made for some mechanisms is for no others."""
    make = ("--keypairgen", "--key-type", "rsa:2048", "--id", "10")
    assert "Allowed mechanisms: SHA256-RSA-PKCS" in tool(*make, "--allowed-mechanisms", "SHA256-RSA-PKCS")
    sign = ("--sign", "--id", "10", "-i", "data", "-o", "signature", "-m")
    tool(*sign, "SHA256-RSA-PKCS")
    ended = run("pkcs11-tool", "--module", module, *USER, *sign, "SHA512-RSA-PKCS")
    assert ended.code != 0
    assert "CKR_MECHANISM_INVALID" in ended.output


def test_what_cannot_be_destroyed(blank: Simulator, tool: Succeed, run: Run, module: str, made: Any) -> None:
    """--undestroyable, which pkcs11-tool says of certificates: it stays until the token is initialised."""
    write = ("--write-object", f"{made('p256')}.cer", "--type", "cert", "--id", "20", "--label", "stays")
    tool(*write, "--undestroyable")
    ended = run("pkcs11-tool", "--module", module, *USER, "--delete-object", "--type", "cert", "--id", "20")
    assert ended.code != 0
    assert "label:      stays" in tool("--list-objects")
    run("pkcs11-tool", "--module", module, "--init-token", "--label", "Fresh", "--so-pin", "12345678")
    assert "stays" not in run("pkcs11-tool", "--module", module, "--list-objects").output


def test_usage(blank: Simulator, tool: Succeed, made: Any) -> None:
    """What --usage-decrypt and its like ask for is on the key; --set-id of each kind of object."""
    tool("--keypairgen", "--key-type", "rsa:2048", "--id", "10", "--label", "pair", "--usage-decrypt", "--usage-wrap")
    usage = "Usage: +decrypt, sign, (signRecover, )?unwrap"  # OpenSC 0.26 names both that the key can
    assert re.search(usage, tool("--list-objects", "--type", "privkey"))
    tool("--write-object", f"{made('p256')}.cer", "--type", "cert", "--id", "11")
    tool("--keygen", "--key-type", "AES:16", "--id", "12")
    for kind, old, new in (("cert", "11", "21"), ("secrkey", "12", "22"), ("pubkey", "10", "23")):
        tool("--set-id", new, "--type", kind, "--id", old)
        assert re.search(rf"ID: +({new}|\d+ \(0x{new}\))\n", tool("--list-objects", "--type", kind))


def test_always_authenticate(blank: Simulator, tool: Succeed, succeed: Succeed, public_key: ReadKey) -> None:
    """A key made with --always-auth asks for the PIN for each signature; pkcs11-tool gives it."""
    made = tool("--keypairgen", "--key-type", "rsa:2048", "--id", "10", "--always-auth")
    assert "always authenticate" in made
    public_key("10")
    tool("--sign", "--id", "10", "-m", "SHA256-RSA-PKCS", "-i", "data", "-o", "signature")
    succeed("openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "data")


def test_attributes_from_certificate(blank: Simulator, tool: Succeed, made: Callable[[str], str]) -> None:
    """--attr-from takes the subject from a certificate."""
    made("rsa")
    tool("--write-object", "rsa.der", "--type", "privkey", "--id", "20", "--attr-from", "rsa.cer")
    tool("--write-object", "rsa.cer", "--type", "cert", "--id", "20", "--attr-from", "rsa.cer")
    assert "subject:    DN: CN=rsa" in tool("--list-objects")


def test_random_and_hash(blank: Simulator, succeed: Succeed, module: str, tmp_path: Path) -> None:
    """Neither needs a login; the digest is openssl's."""
    tool = ("pkcs11-tool", "--module", module)
    for name in ("first", "second"):
        succeed(*tool, "--generate-random", "32", "-o", name)
    first, second = ((tmp_path / name).read_bytes() for name in ("first", "second"))
    assert len(first) == len(second) == 32
    assert first != second
    for name in ("SHA-1", "SHA256", "SHA384", "SHA512"):
        succeed(*tool, "--hash", "-m", name, "-i", "data", "-o", "ours")
        succeed("openssl", "dgst", f"-{name.lower().replace('-', '')}", "-binary", "-out", "theirs", "data")
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_own_tests_on_a_written_token(blank: Simulator, tool: Succeed) -> None:
    """--test with keys of every kind, --test-ec, --test-fork."""
    tool("--keypairgen", "--key-type", "rsa:2048", "--id", "10", "--label", "rsa")
    tool("--keypairgen", "--key-type", "EC:prime256v1", "--id", "11", "--label", "ec")
    assert "No errors" in tool("--test")
    tested = tool("--session-rw", "--test-ec", "--id", "12", "--key-type", "EC:secp256r1", "--label", "tested")
    # After a buffer that was too small it asks for the last part, which an operation in one part has not.
    assert re.findall(r"\w+ failed: rv = CKR_\w+", tested) == ["C_SignFinal failed: rv = CKR_OPERATION_ACTIVE"]
    assert tested.count("CKR_") == 1
    assert "==> OK" in tested
    assert "error" not in tool("--test-fork").lower()


GENERATE = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "10", "--label", "pair")


@pytest.mark.parametrize(
    ("prepared", "torn"),
    {
        "key pair": ((), GENERATE),
        "private key": ((), ("--write-object", "p256.der", "--type", "privkey", "--id", "20", "--label", "key")),
        "public key": ((), ("--write-object", "p256.spki", "--type", "pubkey", "--id", "20", "--label", "public")),
        "certificate": ((), ("--write-object", "p256.cer", "--type", "cert", "--id", "20", "--label", "certificate")),
        "certificate of a key": (
            (("--write-object", "p256.der", "--type", "privkey", "--id", "20", "--label", "key"),),
            ("--write-object", "p256.cer", "--type", "cert", "--id", "20", "--label", "certificate"),
        ),
        "key of a certificate": (
            (("--write-object", "p256.cer", "--type", "cert", "--id", "20", "--label", "certificate"),),
            ("--write-object", "p256.der", "--type", "privkey", "--id", "20", "--label", "key"),
        ),
        "data": ((), ("--write-object", "data", "--type", "data", "--label", "data")),
        "private data": ((), ("--write-object", "data", "--type", "data", "--label", "data", "--private")),
        "secret key": ((), ("--keygen", "--key-type", "AES:32", "--id", "20", "--label", "secret")),
        "changed CKA_ID": ((GENERATE,), ("--set-id", "77", "--type", "privkey", "--id", "10")),
        "deleted private key": ((GENERATE,), ("--delete-object", "--type", "privkey", "--id", "10")),
        "deleted public key": ((GENERATE,), ("--delete-object", "--type", "pubkey", "--id", "10")),
        "deleted certificate of a key": (
            (
                ("--write-object", "p256.der", "--type", "privkey", "--id", "20", "--label", "key"),
                ("--write-object", "p256.cer", "--type", "cert", "--id", "20", "--label", "certificate"),
            ),
            ("--delete-object", "--type", "cert", "--id", "20"),
        ),
        "deleted data": (
            (("--write-object", "data", "--type", "data", "--label", "data"),),
            ("--delete-object", "--type", "data", "--label", "data"),
        ),
    }.values(),
    ids=lambda value: None if value and isinstance(value[0], tuple) else " ".join(value[:4]),
)
def test_card_goes_in_a_write(
    tearing: Any, tool: Succeed, module: str, made: Callable[[str], str], prepared: Any, torn: tuple[str, ...]
) -> None:
    """At every APDU that writes: an error, all or nothing on the card, and the same works with the card back."""
    made("p256")

    def prepare() -> None:
        for options in prepared:
            tool(*options)

    tearing.everywhere("pkcs11-tool", "--module", module, *USER, *torn, prepare=prepare)


def test_card_goes_in_a_signature(tearing: Any, module: str) -> None:
    """At every APDU of the login and of the signature."""
    sign = ("--sign", "--id", "01", "-m", "SHA256-RSA-PKCS", "-i", "data", "-o", "signature")
    command = ("pkcs11-tool", "--module", module, *USER, *sign)
    tearing.everywhere(*command, card=CardRequest(), kinds=tearing.USES)
