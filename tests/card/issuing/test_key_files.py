# SPDX-License-Identifier: MIT
"""Keys and certificates in the files that people have: each form is read, or refused with the reason in one line."""

from __future__ import annotations

import base64
import datetime
import shutil
import ssl
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pkcs12 as asn1_pkcs12
from cardtear.card import tlv
from cardtear.card.certificate_reader import elements
from cardtear.card.issuing import key_files
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from ...shared.broken_certificates import KINDS, mutated

DER, PEM = Encoding.DER, Encoding.PEM
PKCS8, TRADITIONAL, OPENSSH = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH
SECRET = b"secret"
EC, RSA, ED = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey
BOTH = {"DER": DER, "PEM": PEM}
CA_KEY = ec.generate_private_key(ec.SECP384R1())


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def issued(subject: str, key: Any, is_authority: bool = False) -> x509.Certificate:
    """By the CA of these tests."""
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("CA"))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(3650))
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    return builder.sign(CA_KEY, hashes.SHA256())


CA, LEAF, RSA_LEAF = issued("CA", CA_KEY, True), issued("leaf", EC), issued("leaf", RSA)
LEAF_PEM, CA_PEM, LEAF_DER, CA_DER = (each.public_bytes(kind) for kind in (PEM, DER) for each in (LEAF, CA))


def key_bytes(key: Any, encoding: Encoding, form: PrivateFormat, password: bytes = b"") -> bytes:
    encryption: Any = BestAvailableEncryption(password) if password else NoEncryption()
    written: bytes = key.private_bytes(encoding, form, encryption)
    return written


def openssl(*words: str, said: bytes = b"") -> bytes:
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    return subprocess.run(["openssl", *words], input=said, capture_output=True, check=True, timeout=60).stdout


def relabelled(pem: bytes, label: str) -> bytes:
    return pem.replace(b" CERTIFICATE-", f" {label}-".encode())


def reading(content: bytes, password: bytes | None = None) -> key_files.Contents | str:
    """What is in a file, or why it cannot be taken."""
    try:
        return key_files.read(content, password, "file")
    except ValueError as error:
        return str(error)


CERTIFICATES: dict[str, bytes] = {
    "DER": LEAF_DER,
    "PEM": LEAF_PEM,
    "PEM of Windows": LEAF_PEM.replace(b"\n", b"\r\n"),
    "PEM with text around": b"Bag Attributes\n    friendlyName: me\nsubject=/CN=leaf\n" + LEAF_PEM + b"\nthe end\n",
    "PEM behind a mark of UTF-8": b"\xef\xbb\xbf" + LEAF_PEM,
    "PEM in UTF-16": LEAF_PEM.decode().encode("utf-16"),
    "indented PEM": b"".join(b"    " + line + b"\n" for line in LEAF_PEM.splitlines()),
    "PEM in one line": b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(LEAF_DER) + b"\n-----END CERTIFICATE-----",
    "PEM in a single line": LEAF_PEM.replace(b"\n", b""),
    "PEM of a shell's variable": LEAF_PEM.replace(b"\n", b" "),
    "PEM in a string of JSON": b'"' + LEAF_PEM.replace(b"\n", rb"\n") + b'"',
    "with parameters of Diffie-Hellman before it": b"-----BEGIN X9.42 DH PARAMETERS-----\nMAA=\n"
    b"-----END X9.42 DH PARAMETERS-----\n" + LEAF_PEM,
    "X509 CERTIFICATE": relabelled(LEAF_PEM, "X509 CERTIFICATE"),
    "base64 alone": base64.encodebytes(LEAF_DER),
    "chain": LEAF_PEM + CA_PEM,
    "chain, the CA first": CA_PEM + LEAF_PEM,
    "chain with one twice": LEAF_PEM + CA_PEM + LEAF_PEM,
    "chain in DER": CA_DER + LEAF_DER,
    "PKCS #7": pkcs7.serialize_certificates([LEAF, CA], DER),
    "PKCS #7 in PEM": pkcs7.serialize_certificates([LEAF, CA], PEM),
    "PKCS #7 called CERTIFICATE": pkcs7.serialize_certificates([LEAF, CA], PEM).replace(b" PKCS7-", b" CERTIFICATE-"),
    "PKCS #12 without key": pkcs12.serialize_key_and_certificates(None, None, None, [LEAF, CA], NoEncryption()),
    "with a request beside it": LEAF_PEM
    + x509.CertificateSigningRequestBuilder().subject_name(named("x")).sign(EC, hashes.SHA256()).public_bytes(PEM),
}


@pytest.mark.parametrize("form", CERTIFICATES)
def test_certificates(form: str) -> None:
    found = key_files.read(CERTIFICATES[form], None, "file")
    assert found.keys == []
    both = "chain" in form or "#" in form
    assert sorted(found.certificates) == sorted([LEAF_DER, CA_DER] if both else [LEAF_DER])


def test_openssls_trusted_certificate() -> None:
    found = key_files.read(openssl("x509", "-trustout", "-addtrust", "clientAuth", said=LEAF_PEM), None, "file")
    assert found.certificates == [LEAF_DER]


KEYS: dict[str, tuple[Any, bytes]] = {
    **{f"PKCS #8 {name}": (key, key_bytes(key, kind, PKCS8)) for key in (EC, RSA) for name, kind in BOTH.items()},
    **{f"PKCS #1 {name}": (RSA, key_bytes(RSA, kind, TRADITIONAL)) for name, kind in BOTH.items()},
    **{f"SEC1 {name}": (EC, key_bytes(EC, kind, TRADITIONAL)) for name, kind in BOTH.items()},
    **{f"encrypted PKCS #8 {name}": (EC, key_bytes(EC, kind, PKCS8, SECRET)) for name, kind in BOTH.items()},
    "encrypted PKCS #1": (RSA, key_bytes(RSA, PEM, TRADITIONAL, SECRET)),
    "encrypted SEC1": (EC, key_bytes(EC, PEM, TRADITIONAL, SECRET)),
    "OpenSSH ECDSA": (EC, key_bytes(EC, PEM, OPENSSH)),
    "OpenSSH RSA": (RSA, key_bytes(RSA, PEM, OPENSSH)),
    "EC PARAMETERS before it": (
        EC,
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + key_bytes(EC, PEM, TRADITIONAL),
    ),
    "key and chain, the key last": (EC, CA_PEM + LEAF_PEM + key_bytes(EC, PEM, PKCS8)),
    "PKCS #12": (EC, pkcs12.serialize_key_and_certificates(b"me", EC, LEAF, [CA], NoEncryption())),
    "encrypted PKCS #12": (
        EC,
        pkcs12.serialize_key_and_certificates(b"me", EC, LEAF, [CA], BestAvailableEncryption(SECRET)),
    ),
}


@pytest.mark.parametrize("form", KEYS)
def test_private_keys(form: str) -> None:
    """A password that is not needed does no harm; one that is missing or wrong is asked for."""
    key, content = KEYS[form]
    found = key_files.read(content, SECRET, "file")
    assert [each.public_key() for each in found.keys] == [key.public_key()]
    assert len(found.certificates) == 2 * ("chain" in form or "#12" in form)
    if "encrypted" in form:
        for password in (None, b"wrong"):
            with pytest.raises(ValueError, match=r"^file cannot be taken: .*--password-file"):
                key_files.read(content, password, "file")
    elif form != "PKCS #12":
        assert len(key_files.read(content, None, "file").keys) == 1


def test_a_pkcs12_in_ber() -> None:
    """As NSS writes it, with lengths that are not given. What the library says of it does not reach the user."""
    der = KEYS["PKCS #12"][1]
    ber = b"\x30\x80" + elements(der)[0].content + b"\0\0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = key_files.read(ber, None, "file")
    assert [len(found.keys), len(found.certificates)] == [1, 2]


def test_a_pkcs12_with_two_keys() -> None:
    """As keytool writes it for two aliases: none of them is dropped in silence, or chosen."""
    authenticated = asn1_pkcs12.Pfx.load(KEYS["PKCS #12"][1]).authenticated_safe
    safes = [asn1_pkcs12.SafeContents.load(each["content"].native) for each in authenticated]
    twice = [bag for safe in safes for bag in safe for _ in range(1 + (bag["bag_id"].native == "key_bag"))]
    data = asn1_pkcs12.ContentInfo({"content_type": "data", "content": asn1_pkcs12.SafeContents(twice).dump()})
    whole = asn1_pkcs12.AuthenticatedSafe([data]).dump()
    store = asn1_pkcs12.Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": whole}}).dump()
    said = reading(store)
    assert said == "file cannot be taken: there are 2 private keys in it, and one slot; take them apart with: " + (
        "openssl pkcs12 -in FILE -nodes -out NEW.pem"
    )


@pytest.mark.parametrize("options", [("-aes128",), ("-des3",)])
def test_keys_with_proc_type(options: tuple[str, ...]) -> None:
    """As OpenSSL wrote them once."""
    said = key_bytes(RSA, PEM, PKCS8)
    content = openssl("rsa", "-traditional", *options, "-passout", "pass:secret", said=said)
    assert b"Proc-Type: 4,ENCRYPTED" in content
    assert key_files.read(content, SECRET, "file").keys[0].public_key() == RSA.public_key()
    with pytest.raises(ValueError, match="--password-file"):
        key_files.read(content, None, "file")


@pytest.mark.needs("ssh-keygen")
def test_openssh_keys_under_a_passphrase(tmp_path: Path) -> None:
    """They are read where the library can; otherwise the message says how to take the passphrase away."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "key")]
    subprocess.run(words, check=True, timeout=60)
    content = (tmp_path / "key").read_bytes()
    found = reading(content, SECRET)
    assert "ssh-keygen -p" in found if isinstance(found, str) else isinstance(found.keys[0], ED)
    with pytest.raises(ValueError, match=r"passphrase|encrypted"):
        key_files.read(content, None, "key")
    other = [*words[:-1], str(tmp_path / "other"), "-Z", "chacha20-poly1305@openssh.com"]
    subprocess.run(other, check=True, timeout=60)
    said = reading((tmp_path / "other").read_bytes(), SECRET)
    assert not isinstance(said, str) or ("chacha20" in said and "b'" not in said)
    with pytest.raises(ValueError, match="public key of OpenSSH"):
        key_files.read((tmp_path / "key.pub").read_bytes(), None, "key")


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "noise": (bytes(range(100)), "neither PEM nor DER"),
    "text": (b"hello, world!\n", "neither PEM nor DER"),
    "cut PEM": (LEAF_PEM[:200], "cut off"),
    "cut DER": (LEAF_DER[:200], "cut off"),
    "request": (
        x509.CertificateSigningRequestBuilder().subject_name(named("x")).sign(EC, hashes.SHA256()).public_bytes(DER),
        "certificate request",
    ),
    "public key": (EC.public_key().public_bytes(PEM, PublicFormat.SubjectPublicKeyInfo), "it is a public key"),
    "public key in DER": (EC.public_key().public_bytes(DER, PublicFormat.SubjectPublicKeyInfo), "it is a public key"),
    "OpenSSH public key": (
        EC.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "public key of OpenSSH",
    ),
    "PuTTY": (b"PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen"),
    "Java": (b"\xfe\xed\xfe\xed\0\0\0\2", "keytool"),
    "an export of a card": (b'{"cardtear": 1}', "without --slot"),
    "an Edwards key of three bytes": (bytes.fromhex("3013020100300506032B6570040704050102030405"), "is damaged"),
    "an image": (b"SQLite format 3\0", "card image"),
    "PGP": (
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n",
        "PGP PUBLIC KEY BLOCK",
    ),
    "no certificate in it": (relabelled(LEAF_PEM, "CERTIFICATE").replace(b"MII", b"AAA", 1), "should be a certificate"),
    "quoted in a mail": (b"> " + LEAF_PEM.replace(b"\n", b"\n> "), "is not PEM between"),
    "PKCS #7 of data": (tlv.encode(0x30, bytes.fromhex("06092A864886F70D010701"), b"\xa0\0"), "another kind"),
    "another SEQUENCE": (tlv.encode(0x30, b"\2\1\1\4\0")[:-2], "cut off"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_is_told(kind: str) -> None:
    content, reason = REFUSED[kind]
    said = reading(content)
    assert isinstance(said, str)
    assert said.startswith("file cannot be taken: ")
    assert reason in said
    assert "\n" not in said


def test_keys_that_no_card_has_are_read() -> None:
    """Whoever puts them onto a card says that it has none of that kind."""
    key = dsa.generate_private_key(1024)
    assert len(key_files.read(key_bytes(key, DER, PKCS8), None, "file").keys) == 1
    assert len(key_files.read(key_bytes(key, PEM, TRADITIONAL), None, "file").keys) == 1


def test_a_broken_certificate_in_pkcs12() -> None:
    """There the library parses it, strictly: the message says how to get it out."""
    for kind in ("version 7", "month 13"):
        pem = ssl.DER_cert_to_PEM_cert(KINDS[kind]).encode()
        said = reading(openssl("pkcs12", "-export", "-nokeys", "-passout", "pass:secret", said=pem), SECRET)
        assert said == "file cannot be taken: a certificate in it is broken; " + (
            "PEM is read more leniently: openssl pkcs12 -in FILE -nodes -out NEW.pem"
        )


def test_broken_certificates_are_taken_as_they_are() -> None:
    for der in [*KINDS.values(), *mutated(100)]:
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
        assert key_files.read(pem, None, "file").certificates == [der]
    bundle = pkcs7.serialize_certificates([LEAF], DER)
    assert key_files.read(bundle, None, "file").certificates == [LEAF_DER]


@given(st.data())
def test_any_damage_is_one_line(data: st.DataObject) -> None:
    """Nothing but a ValueError comes out."""
    whole = data.draw(st.sampled_from([*CERTIFICATES.values(), *(content for _, content in KEYS.values())]))
    if whole == KEYS["encrypted PKCS #12"][1] or b"ENCRYPTED" in whole or whole == KEYS["encrypted PKCS #8 DER"][1]:
        return  # each takes a tenth of a second, for it is the password that has to be slow
    damaged = bytearray(whole)
    places = st.tuples(st.integers(0, min(len(whole), 120) - 1), st.integers(0, 255))
    for at, byte in data.draw(st.lists(places, max_size=4)):
        damaged[at] = byte
    cut = data.draw(st.integers(0, len(damaged)))
    for content in (bytes(damaged), bytes(damaged[:cut])):
        found = reading(content)
        if isinstance(found, str):
            assert found.startswith("file cannot be taken: ")
            assert "\n" not in found
        else:
            assert found.keys or found.certificates
