# SPDX-License-Identifier: MIT
"""What the PKCS #11 FAQ of NSS asks of a token, row by row: mail, TLS, keys made, brought and used (F20 to F31)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKO, CKR

from ...shared.host import nss_probes, probes
from ...shared.host.host import NewHost

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


def test_F22_several_threads(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """Sessions belong to no thread: eight threads on eight sessions sign at once, and one uses another's."""
    host = new_host(new_nss().simulator)
    session = host.call(probes.user_session)
    others = [host.call(Module.open_session, 0) for _ in range(8)]
    started = [
        host.start(lambda m, s=each: [probes.sign_with(m, s, b"\1") for _ in range(5)]) for each in others
    ]  # each evaluation is a thread
    signatures = {signature for each in started for signature in each.result(30)}
    assert len(signatures) == 1
    assert host.call(lambda m, s=others[3]: probes.sign(m, s, probes.key(m, s, b"\1"))) in signatures
    assert host.call(Module.session_state, session) == host.call(Module.session_state, others[0])


def test_F23_read_only_token(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """It says so; nothing can be made, brought, deleted on it, and all that is there works."""
    nss = new_nss(profile="read-only")
    host = new_host(nss.simulator)
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.WRITE_PROTECTED
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
def test_F24_private_keys_stay(nss: Any, new_host: NewHost, kind: str) -> None:
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
    session = host.call(probes.user_session)
    keys = host.call(Module.find, session, {CKA.CLASS: CKO.PRIVATE_KEY})
    assert len(keys) == 2
    secret = [CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2] if kind == "rsa" else [CKA.VALUE]
    for key in keys:
        flags = [host.call(Module.attribute, session, key, each) for each in (CKA.SENSITIVE, CKA.EXTRACTABLE)]
        assert flags == [b"\1", b"\0"]
        for each in secret:
            value = host.rv(Module.attribute, session, key, each)
            assert value == CKR.ATTRIBUTE_SENSITIVE


def test_F25_what_it_does_not_do(nss: Any, new_host: NewHost) -> None:
    """DSA, DES, RC2 and RC4 are not in the list, and NSS makes no DSA key on the token."""
    host = new_host(nss.simulator)
    names = {CKM(number).name for number in host.call(Module.mechanisms, 0) if number in set(CKM)}
    assert not [name for name in names if name.startswith(("DSA", "DES_", "RC2", "RC4"))]
    ended = nss.run("certutil", *nss.options("-G", "-h", "Alice", "-k", "dsa", "-z", "noise"), deadline=60)
    assert nss.private_keys() == {}
    assert ended.code != 0
    assert "C_WrapKey" not in nss.names("certutil")


def test_F26_session_objects(nss: Any, new_host: NewHost) -> None:
    """Temporary objects cost the card nothing: no command, nothing written, gone with the session."""
    host = new_host(nss.simulator)
    session = host.call(Module.open_session, 0)
    last = nss.simulator.testbed.trace.entries()[-1].number
    handle = host.call(probes.data, session, b"temporary", where=probes.SESSION)
    assert host.call(Module.attribute, session, handle, CKA.VALUE) == b"value"
    written = [
        each for each in nss.simulator.testbed.trace.entries(last) if getattr(each, "command", b"")[1:2] == b"\xdb"
    ]
    assert written == []
    host.call(Module.close_session, session)
    other = host.call(Module.open_session, 0)
    assert host.call(Module.find, other, {CKA.LABEL: b"temporary"}) == []


def test_F27_unwrap_on_card(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """cmsutil unwraps the mail's key with the card; a key so got decrypts on the token and stays there if it has to."""
    nss = new_nss()
    (nss.folder / "mail").write_text(TEXT)
    sealed = ("-r", "Alice:Certificate for Key Management", "-i", "mail", "-o", "sealed")
    nss("cmsutil", "-E", "-d", nss.database, "-f", "pin", *sealed)
    assert TEXT in nss("cmsutil", "-D", "-d", nss.database, "-f", "pin", "-i", "sealed")
    assert {"C_UnwrapKey", "C_Decrypt"} & set(nss.names("cmsutil"))
    host = new_host(nss.simulator)
    session = host.call(probes.user_session)
    secret, stays = host.call(nss_probes.unwrapped_on_card, session, b"\3")
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
def test_F29_way_of_a_generated_key(nss: Any, new_host: NewHost, kind: str) -> None:
    """Generated, named after its public key, certified: in this order, and all three objects have that CKA_ID."""
    nss.certify("mine", *KEYS[kind])
    names = nss.names("certutil")
    order = ["C_GenerateKeyPair", "C_SetAttributeValue", "C_CreateObject"]
    found_at = [names.index(name) for name in order]
    assert found_at == sorted(found_at)
    host = new_host(nss.simulator)
    session = host.call(probes.user_session)
    found = host.call(nss_probes.identified, session)
    assert [kind for kind, *_ in found] == ["CERTIFICATE", "PRIVATE_KEY", "PUBLIC_KEY"]
    (public,) = host.call(Module.find, session, {CKA.CLASS: CKO.PUBLIC_KEY})
    if kind == "rsa":
        named_after = host.call(Module.attribute, session, public, CKA.MODULUS)
    else:
        named_after = host.call(Module.attribute, session, public, CKA.EC_POINT)[2:]
    assert {identity for *_, identity in found} == {hashlib.sha1(named_after).digest()}


@pytest.mark.parametrize("kind", KEYS)
def test_F30_pkcs12_import(nss: Any, new_host: NewHost, kind: str) -> None:
    """Key and certificate come by C_CreateObject, and belong together."""
    self_signed(nss, kind, "/CN=brought")
    bring(nss)
    assert "C_CreateObject" in nss.names("pk12util")
    assert nss.certificates() == {"brought": "u,u,u"}
    host = new_host(nss.simulator)
    session = host.call(probes.user_session)
    assert host.call(nss_probes.unsound_keys, session) == []
    assert len({identity for *_, identity in host.call(nss_probes.identified, session)}) == 1


def test_F31_session_objects_between_sessions(nss: Any, new_host: NewHost) -> None:
    """Seen by all sessions of the application, by no other application; a copy is another object."""
    host, stranger = new_host(nss.simulator), new_host(nss.simulator)
    one, two = host.call(lambda m: (m.open_session(0), m.open_session(0)))
    plain = {CKA.LABEL: b"k", CKA.PRIVATE: b"\0"}
    template = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), **plain}
    handle = host.call(Module.create, one, template)
    assert host.call(Module.find, two, {CKA.LABEL: b"k"}) == [handle]
    assert stranger.call(lambda m: m.find(m.open_session(0), {CKA.LABEL: b"k"})) == []
    copy = host.call(Module.copy, two, handle, {CKA.LABEL: b"copy"})
    host.call(Module.close_session, one)
    assert host.call(Module.find, two, {CKA.LABEL: b"k"}) == []
    assert host.call(Module.find, two, {CKA.LABEL: b"copy"}) == [copy]
