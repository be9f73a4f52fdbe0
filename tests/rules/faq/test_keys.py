# SPDX-License-Identifier: MIT
"""What the PKCS #11 FAQ of NSS asks of a token, row by row: mail, TLS, keys made, brought and used (F20 to F31)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKA, CKF, CKM, CKR

pytestmark = pytest.mark.needs("certutil", "modutil", "cmsutil", "pk12util", "selfserv", "tstclnt", "openssl")

RSA, EC = ("-k", "rsa", "-g", "2048"), ("-k", "ec", "-q", "nistp256")
KEYS = {"rsa": RSA, "ec": EC}
TEXT = "the text of a mail"


def self_signed(nss: Any, kind: str, subject: str) -> None:
    """A key and its own certificate by OpenSSL, as the PKCS #12 file `brought.p12`."""
    algorithm = ("rsa:2048",) if kind == "rsa" else ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    itself = ("-x509", "-newkey", *algorithm, "-nodes", "-subj", subject, "-keyout", "key.pem", "-out", "new.pem")
    nss("openssl", "req", *itself)
    both = ("-inkey", "key.pem", "-in", "new.pem", "-name", "brought", "-out", "brought.p12")
    nss("openssl", "pkcs12", "-export", *both, "-passout", "pass:password")


def bring(nss: Any) -> None:
    """pk12util -i, onto the token."""
    nss("pk12util", "-i", "brought.p12", "-d", nss.database, "-h", "Alice", "-k", "pin", "-W", "password")


def test_F20_certificates_with_an_e_mail_address(nss: Any) -> None:
    """In the subject or beside it: found by the address, used to sign and to read."""
    nss("openssl", "genrsa", "-out", "key.pem", "2048")
    for name, address in (("subject", "/CN=a/emailAddress=a@example.com"), ("beside", "/CN=b")):
        extension = ("-addext", f"subjectAltName=email:{name}@example.com") if name == "beside" else ()
        nss("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", address, *extension,
            "-addext", "keyUsage=digitalSignature,keyEncipherment,keyCertSign",
            "-keyout", "key.pem", "-out", f"{name}.pem")  # fmt: skip
        both = ("-inkey", "key.pem", "-in", f"{name}.pem", "-name", name, "-out", "brought.p12")
        nss("openssl", "pkcs12", "-export", *both, "-passout", "pass:password")
        bring(nss)
        nss("certutil", "-M", "-d", nss.database, "-n", f"Alice:{name}", "-t", "CT,C,C", "-f", "pin")
    (nss.folder / "mail").write_text(TEXT)
    for name, address in (("subject", "a@example.com"), ("beside", "beside@example.com")):
        assert f'Subject: "{"E=a@example.com,CN=a" if name == "subject" else "CN=b"}"' in nss(
            "certutil", "-L", "-d", nss.database, "--email", address
        )
        sign = ("-N", f"Alice:{name}", "-i", "mail", "-o", "signed")
        nss("cmsutil", "-S", "-d", nss.database, "-f", "pin", *sign)
        assert "GoodSignature" in nss("cmsutil", "-D", "-d", nss.database, "-i", "signed", "-h", "1")
        nss("cmsutil", "-E", "-d", nss.database, "-f", "pin", "-r", f"Alice:{name}", "-i", "mail", "-o", "sealed")
        assert TEXT in nss("cmsutil", "-D", "-d", nss.database, "-f", "pin", "-i", "sealed")


@pytest.mark.parametrize("mechanisms", [("CKM_RSA_PKCS", "CKM_ECDSA"), None], ids=["two", "all"])
def test_F21_token_without_symmetric_ciphers(new_nss: Callable[..., Any], mechanisms: tuple[str, ...] | None) -> None:
    """TLS and mail work with a token that does nothing but RSA and ECDSA; NSS does the rest."""
    nss = new_nss(profile="piv", mechanisms=mechanisms)
    nss.trust(paths.test_ca().certificate_pem())
    (nss.folder / "mail").write_text(TEXT)
    sealed = ("-r", "Alice:Certificate for Key Management", "-i", "mail", "-o", "sealed")
    nss("cmsutil", "-E", "-d", nss.database, "-f", "pin", *sealed)
    assert TEXT in nss("cmsutil", "-D", "-d", nss.database, "-f", "pin", "-i", "sealed")
    own = ("-n", "server", "-s", "CN=localhost", "-x", "-t", "CTu,,", "-z", "noise", *EC)
    nss.certutil("-S", *own)
    with nss.serving("server", "tls1.2", "-r", "-r") as (port, log):
        fetched = nss.fetch(port, "tls1.2", "-n", "Alice:Certificate for PIV Authentication", "-W", "pin")
        assert "200 OK" in fetched.output, fetched.output
        assert "Subject: CN=Alice" in log.read_text()


def test_F22_several_threads(new_nss: Callable[..., Any], new_host: Callable[..., Any]) -> None:
    """Sessions belong to no thread: eight threads on eight sessions sign at once, and one uses another's."""
    host = new_host(new_nss().simulator)
    session = host.eval("user_session(m)")
    others = [host.eval("m.open_session(0)") for _ in range(8)]
    started = [
        host.start("[sign(m, s, key(m, s, b'\\1')) for _ in range(5)]", s=each) for each in others
    ]  # each evaluation is a thread
    signatures = {signature for each in started for signature in each.result(30)}
    assert len(signatures) == 1
    assert host.eval("sign(m, s, key(m, s, b'\\1'))", s=others[3]) in signatures
    assert host.eval("m.session_state(s)", s=session) == host.eval("m.session_state(s)", s=others[0])


def test_F23_read_only_token(new_nss: Callable[..., Any], new_host: Callable[..., Any]) -> None:
    """It says so; nothing can be made, brought, deleted on it, and all that is there works."""
    nss = new_nss(profile="read-only")
    host = new_host(nss.simulator)
    assert host.eval("m.token_info(0)[2]") & CKF.WRITE_PROTECTED
    before = (nss.certificates(), nss.private_keys())
    self_signed(nss, "ec", "/CN=x")
    for command in (
        ("certutil", *nss.options("-S", *nss.certifying("new", *EC, subject="CN=new"))),
        ("certutil", *nss.options("-A", "-h", "Alice", "-n", "new", "-a", "-i", "new.pem", "-t", ",,")),
        ("pk12util", "-i", "brought.p12", "-d", nss.database, "-h", "Alice", "-k", "pin", "-W", "password"),
    ):
        ended = nss.run(*command)
        assert ended.code != 0, command
    nss.run("certutil", *nss.options("-F", "-n", "Alice:Certificate for PIV Authentication"))  # says nothing
    assert (nss.certificates(), nss.private_keys()) == before
    nss.certutil("-R", "-h", "Alice", "-k", "01", "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("generates", [True, False])
def test_F23_who_generates(new_nss: Callable[..., Any], generates: bool, kind: str) -> None:
    """The token if it can; otherwise NSS, which stores the key pair on it."""
    nss = new_nss(profile="blank", key_generation=generates)
    nss.certify("mine", *KEYS[kind])
    names = nss.names("certutil")
    assert ("C_GenerateKeyPair" in names) is generates
    ((_, (found, name)),) = nss.private_keys().items()
    assert (found, name) == (kind, "Alice:mine")


@pytest.mark.parametrize("kind", KEYS)
def test_F24_private_keys_stay(nss: Any, new_host: Callable[..., Any], kind: str) -> None:
    """Whatever the key came by: pk12util -o gets nothing, and no attribute of it is given out."""
    self_signed(nss, kind, "/CN=brought")
    bring(nss)
    nss.certify("made", *KEYS[kind])
    for name in ("brought", "made"):
        out = ("-o", "out.p12", "-d", nss.database, "-n", f"Alice:{name}", "-k", "pin", "-W", "password")
        ended = nss.run("pk12util", *out)
        assert ended.code != 0
        assert "UNABLE_TO_EXPORT_KEY" in ended.output
    host = new_host(nss.simulator)
    session = host.eval("user_session(m)")
    keys = host.eval("m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY})", s=session)
    assert len(keys) == 2
    secret = [CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2] if kind == "rsa" else [CKA.VALUE]
    for key in keys:
        flags = [
            host.eval("m.attribute(s, h, k)", s=session, h=key, k=each) for each in (CKA.SENSITIVE, CKA.EXTRACTABLE)
        ]
        assert flags == [b"\1", b"\0"]
        for each in secret:
            value = host.eval("rv(lambda: m.attribute(s, h, k))", s=session, h=key, k=each)
            assert value == CKR.ATTRIBUTE_SENSITIVE


def test_F25_what_it_does_not_do(nss: Any, new_host: Callable[..., Any]) -> None:
    """DSA, DES, RC2 and RC4 are not in the list, and NSS makes no DSA key on the token."""
    host = new_host(nss.simulator)
    names = {CKM(number).name for number in host.eval("m.mechanisms(0)") if number in set(CKM)}
    assert not [name for name in names if name.startswith(("DSA", "DES_", "RC2", "RC4"))]
    ended = nss.run("certutil", *nss.options("-G", "-h", "Alice", "-k", "dsa", "-z", "noise"), deadline=60)
    assert nss.private_keys() == {}
    assert ended.code != 0
    assert "C_WrapKey" not in nss.names("certutil")


def test_F26_session_objects(nss: Any, new_host: Callable[..., Any]) -> None:
    """Temporary objects cost the card nothing: no command, nothing written, gone with the session."""
    host = new_host(nss.simulator)
    session = host.eval("m.open_session(0)")
    last = nss.simulator.testbed.trace.entries()[-1].number
    handle = host.eval("data(m, s, b'temporary', where=SESSION)", s=session)
    assert host.eval("m.attribute(s, h, CKA.VALUE)", s=session, h=handle) == b"value"
    written = [
        each for each in nss.simulator.testbed.trace.entries(last) if getattr(each, "command", b"")[1:2] == b"\xdb"
    ]
    assert written == []
    host.eval("m.close_session(s)", s=session)
    other = host.eval("m.open_session(0)")
    assert host.eval("m.find(s, {CKA.LABEL: b'temporary'})", s=other) == []


def test_F27_unwrap_on_card(new_nss: Callable[..., Any], new_host: Callable[..., Any]) -> None:
    """cmsutil unwraps the mail's key with the card; a key so got decrypts on the token and stays there if it has to."""
    nss = new_nss()
    (nss.folder / "mail").write_text(TEXT)
    sealed = ("-r", "Alice:Certificate for Key Management", "-i", "mail", "-o", "sealed")
    nss("cmsutil", "-E", "-d", nss.database, "-f", "pin", *sealed)
    assert TEXT in nss("cmsutil", "-D", "-d", nss.database, "-f", "pin", "-i", "sealed")
    assert {"C_UnwrapKey", "C_Decrypt"} & set(nss.names("cmsutil"))
    host = new_host(nss.simulator)
    session = host.eval("user_session(m)")
    secret, stays = host.eval("unwrapped_on_card(m, s, b'\\3')", s=session)
    assert secret == b"sixteen bytes..."
    assert stays == CKR.ATTRIBUTE_SENSITIVE


@pytest.mark.parametrize("kind", KEYS)
def test_F28_keys_by_create_object(new_nss: Callable[..., Any], kind: str) -> None:
    """A token that generates none: private and public key by C_CreateObject, then the certificate; all of it works."""
    nss = new_nss(profile="no-generation")
    nss.certify("mine", *KEYS[kind])
    names = nss.names("certutil")
    assert "C_GenerateKeyPair" not in names
    assert names.count("C_CreateObject") >= 2
    (identity,) = [identity for identity, (_, name) in nss.private_keys().items() if name == "Alice:mine"]
    nss.certutil("-R", "-h", "Alice", "-k", identity, "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")


@pytest.mark.parametrize("kind", KEYS)
def test_F29_way_of_a_generated_key(nss: Any, new_host: Callable[..., Any], kind: str) -> None:
    """Generated, named after its public key, certified: in this order, and all three objects have that CKA_ID."""
    nss.certify("mine", *KEYS[kind])
    names = nss.names("certutil")
    order = ["C_GenerateKeyPair", "C_SetAttributeValue", "C_CreateObject"]
    found_at = [names.index(name) for name in order]
    assert found_at == sorted(found_at)
    host = new_host(nss.simulator)
    session = host.eval("user_session(m)")
    found = host.eval("identified(m, s)", s=session)
    assert [kind for kind, *_ in found] == ["CERTIFICATE", "PRIVATE_KEY", "PUBLIC_KEY"]
    (public,) = host.eval("m.find(s, {CKA.CLASS: CKO.PUBLIC_KEY})", s=session)
    if kind == "rsa":
        named_after = host.eval("m.attribute(s, h, CKA.MODULUS)", s=session, h=public)
    else:
        named_after = host.eval("m.attribute(s, h, CKA.EC_POINT)", s=session, h=public)[2:]
    assert {identity for *_, identity in found} == {hashlib.sha1(named_after).digest()}


@pytest.mark.parametrize("kind", KEYS)
def test_F30_pkcs12_import(nss: Any, new_host: Callable[..., Any], kind: str) -> None:
    """Key and certificate come by C_CreateObject, and belong together."""
    self_signed(nss, kind, "/CN=brought")
    bring(nss)
    assert "C_CreateObject" in nss.names("pk12util")
    assert nss.certificates() == {"brought": "u,u,u"}
    host = new_host(nss.simulator)
    session = host.eval("user_session(m)")
    assert host.eval("unsound_keys(m, s)", s=session) == []
    assert len({identity for *_, identity in host.eval("identified(m, s)", s=session)}) == 1


def test_F31_session_objects_between_sessions(nss: Any, new_host: Callable[..., Any]) -> None:
    """Seen by all sessions of the application, by no other application; a copy is another object."""
    host, stranger = new_host(nss.simulator), new_host(nss.simulator)
    one, two = host.eval("(m.open_session(0), m.open_session(0))")
    template = (
        "{CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), CKA.LABEL: b'k', CKA.PRIVATE: b'\\0'}"
    )
    handle = host.eval(f"m.create(s, {template})", s=one)
    assert host.eval("m.find(s, {CKA.LABEL: b'k'})", s=two) == [handle]
    assert stranger.eval("m.find(m.open_session(0), {CKA.LABEL: b'k'})") == []
    copy = host.eval("m.copy(s, h, {CKA.LABEL: b'copy'})", s=two, h=handle)
    host.eval("m.close_session(s)", s=one)
    assert host.eval("m.find(s, {CKA.LABEL: b'k'})", s=two) == []
    assert host.eval("m.find(s, {CKA.LABEL: b'copy'})", s=two) == [copy]
