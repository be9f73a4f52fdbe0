# SPDX-License-Identifier: MIT
"""What may be asked of the certificates on a ready-made card: names for a login, addresses, dates, a CA."""

from __future__ import annotations

import datetime
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto.x509 import GeneralNames
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing.ca import key_usage
from cardtear.card.issuing.profiles import PROFILES, CardRequest, ProfileError, ready_image, request
from cardtear.card.tables import SLOTS
from cardtear.card.token_traits import from_text
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

SLOTS_OF_PIV = (0x9A, 0x9C, 0x9D, 0x9E)
ADDRESSES = {"ocsp": "http://o.test/", "crl": "http://c.test/a.crl", "ca_issuers": "http://a.test/a.p7c"}
Certificates = Callable[..., dict[int, x509.Certificate]]


@pytest.fixture
def certificates(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> Certificates:
    """Those of a card with these parameters, by slot."""

    def read(**parameters: Any) -> dict[int, x509.Certificate]:
        terminal = power(new_card(parameters.pop("profile", "piv-ec"), **parameters))
        return {
            slot: x509.load_der_x509_certificate(terminal.certificate(SLOTS[slot].certificate)) for slot in SLOTS_OF_PIV
        }

    return read


def addresses(found: x509.Certificate) -> dict[str, str]:
    """Where it says that one can ask for its status."""
    methods = {AuthorityInformationAccessOID.OCSP: "ocsp", AuthorityInformationAccessOID.CA_ISSUERS: "ca_issuers"}
    named = {}
    for extension in found.extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            named |= {methods[each.access_method]: each.access_location.value for each in extension.value}
        if isinstance(extension.value, x509.CRLDistributionPoints):
            (point,) = extension.value
            assert point.full_name is not None
            named["crl"] = point.full_name[0].value
    return named


def other_names(found: x509.Certificate) -> dict[str, Any]:
    """The names of other kinds in the subject's alternative names, as another library reads them."""
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    read = GeneralNames.load(names.public_bytes())
    return {each.chosen["type_id"].dotted: each.chosen["value"] for each in read if each.name == "other_name"}


def usages(found: x509.Certificate) -> list[str]:
    return [
        each.dotted_string
        for extension in found.extensions
        if isinstance(extension.value, x509.ExtendedKeyUsage)
        for each in extension.value
    ]


def test_nobody_is_asked_for_the_status(certificates: Certificates) -> None:
    """An address that never answers keeps a login from anybody who asks there, as SSSD does."""
    assert [addresses(found) for found in certificates().values()] == [{}] * 4


def test_a_complete_card_names_all_addresses(certificates: Certificates) -> None:
    for found in certificates(profile="piv-full").values():
        assert addresses(found).keys() == {"ocsp", "crl", "ca_issuers"}
        assert all(".invalid/" in each for each in addresses(found).values())
    for found in certificates(profile="piv-full", ocsp="", crl="", ca_issuers="").values():
        assert addresses(found) == {}


def test_addresses(certificates: Certificates) -> None:
    """For all slots, and one that has others of its own."""
    found = certificates(**ADDRESSES, **{"9C.ocsp": "http://other.test/", "9E.crl": ""})
    assert addresses(found[0x9A]) == addresses(found[0x9D]) == ADDRESSES
    assert addresses(found[0x9C]) == {**ADDRESSES, "ocsp": "http://other.test/"}
    assert addresses(found[0x9E]) == {name: value for name, value in ADDRESSES.items() if name != "crl"}


def test_names_for_a_login(certificates: Certificates) -> None:
    found = certificates(**{"9A.upn": "alïce@corp.test", "9A.kerberos_principal": "host/alice@CORP.TEST"})
    names = other_names(found[0x9A])
    assert names["1.3.6.1.4.1.311.20.2.3"].native == "alïce@corp.test"
    principal = names["1.3.6.1.5.2.2"].dump()
    assert all(part in principal for part in (b"\x1b\x09CORP.TEST", b"\x1b\x04host", b"\x1b\x05alice"))
    assert "1.3.6.1.5.2.2" not in other_names(found[0x9C])


def test_extended_key_usages(certificates: Certificates) -> None:
    found = certificates(**{"9A.extended_key_usage": ["client-auth", "1.2.3.4"], "9C.extended_key_usage": []})
    assert usages(found[0x9A]) == ["1.3.6.1.5.5.7.3.2", "1.2.3.4"]
    assert usages(found[0x9C]) == []
    assert usages(found[0x9D]) == ["1.3.6.1.5.5.7.3.4"]


UNSEEN = ["a\nb@c.test", "\0@c.test", "a\x1b[31m@c.test", "a\u202eb@c.test", "a\u2028@c.test", "\udc80@c.test", " a@c"]


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
@pytest.mark.parametrize("name", ["upn", "kerberos_principal", "subject", "9A.upn", "9D.subject"])
def test_what_nobody_sees_is_in_no_name(name: str, text: str) -> None:
    """Line feeds, sequences for terminals, and what turns the writing; none of it comes into a certificate."""
    value = f"CN={text}" if name.endswith("subject") else text
    with pytest.raises(ProfileError, match=r"subject|upn|kerberos_principal|distinguished name|Kerberos principal"):
        request({"profile": "piv-ec", name: value})
    with pytest.raises(ProfileError):
        request({"profile": "piv-ec", name: value})


@pytest.mark.parametrize("escaped", ["CN=a\\0Ab", "CN=a\\00", "CN=Alice,O=x\\1B[31m", "CN=a\\E2\\80\\AEb"])
def test_escapes_for_what_nobody_sees(escaped: str) -> None:
    with pytest.raises(ProfileError, match="'subject' is text that can be printed"):
        CardRequest("piv-ec", subject=escaped)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"valid_from": "0001-01-01T00:00:00+23:00"}, "no date"),
        ({"valid_until": "9999-12-31T23:59:59-01:00"}, "no date"),
        ({"valid_from": "1949-12-31"}, "no certificate has a date before 1950: '1949-12-31'"),
        ({"subject": "C=DEU"}, "'C=DEU' \\(Attribute's length must be"),
        ({"ca_certificate": "a\0", "ca_key": "b"}, "'ca_certificate' is a path; no file can have the name"),
    ],
)
def test_what_no_certificate_can_have(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        CardRequest("piv-ec", **parameters)


WRONG_ADDRESSES = [
    "not a url\n",
    "no-scheme",
    "http://o.test/ ",
    "http://o.test/\n",
    "http://o.te\0st/",
    "http:",
    "1:x",
]
WRONG_ADDRESSES += ["http://ö.test/", "http://o.test/<x>", "http://o.test/%zz", "//o.test/", "\thttp://o.test/"]


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
@pytest.mark.parametrize("name", ADDRESSES)
def test_what_is_no_address(name: str, address: str) -> None:
    """It is refused before anything is made, for all certificates and for one."""
    for parameter in (name, f"9A.{name}"):
        with pytest.raises(ProfileError, match=re.escape(f"'{name}' is an address (URI)")) as refused:
            request({parameter: address})
        assert repr(address) in str(refused.value)


@pytest.mark.parametrize(
    "address", ["ldap://l.test/cn=CA,o=Test?caCertificate;binary", "http://[::1]:80/a%20b", "urn:x:y"]
)
def test_addresses_of_any_scheme(address: str) -> None:
    for name in ADDRESSES:
        request({name: address})


def test_subject_and_dates(certificates: Certificates) -> None:
    found = certificates(
        subject="CN=Alice A.,OU=Test,O=Corp", valid_from="2020-01-02", **{"9A.valid_until": "2021-02-03T04:05:06Z"}
    )
    assert found[0x9A].subject.rfc4514_string() == "CN=Alice A.,OU=Test,O=Corp"
    assert found[0x9A].not_valid_before_utc == datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    assert found[0x9A].not_valid_after_utc == datetime.datetime(2021, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    assert found[0x9C].not_valid_after_utc > datetime.datetime.now(datetime.UTC)


def test_one_that_was_over_long_ago(certificates: Certificates) -> None:
    """The beginning need not be said."""
    (found, *_) = certificates(valid_until="2001-01-01").values()
    assert found.not_valid_before_utc < found.not_valid_after_utc == datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


CA = x509.BasicConstraints(True, None)


def own_ca(
    folder: Path, key: Any, identified: bool = True, *more: Any, is_ca: Any = CA, days: tuple[int, int] = (-2, 3650)
) -> dict[str, Any]:
    """A CA whose name and key are the tester's, as parameters; good from and to so many days from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Corp CA")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
    )
    for extension in (is_ca, *more):
        builder = builder if extension is None else builder.add_extension(extension, True)
    if identified:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(b"my own"), False)
    made = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"ca_certificate": str(folder / "ca.pem"), "ca_key": str(folder / "ca.key")}


@pytest.mark.parametrize("identified", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["P-384", "RSA-2048", "Ed25519"],
)
def test_a_ca_of_ones_own(
    certificates: Certificates, tmp_path: Path, make: Callable[[], Any], identified: bool
) -> None:
    """OpenSSL finds the chain, too."""
    parameters = own_ca(tmp_path, make(), identified)
    for slot, found in certificates(**parameters).items():
        assert found.issuer.rfc4514_string() == "CN=Corp CA"
        leaf = tmp_path / f"{slot:X}.pem"
        leaf.write_bytes(found.public_bytes(serialization.Encoding.PEM))
        verified = subprocess.run(
            ["openssl", "verify", "-CAfile", parameters["ca_certificate"], leaf],
            capture_output=True,
            text=True,
            check=False,
        )
        assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"is_ca": None}, "is not the certificate of a CA: it has no basic constraints with CA:TRUE"),
        ({"is_ca": x509.BasicConstraints(False, None)}, "no basic constraints with CA:TRUE"),
        ({"days": (-20, -10)}, "has expired"),
        ({"days": (10, 20)}, "is not yet good"),
    ],
)
def test_a_certificate_that_is_no_cas(
    certificates: Certificates, tmp_path: Path, made: dict[str, Any], words: str
) -> None:
    with pytest.raises(ProfileError, match=words):
        certificates(**own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1()), **made))


def test_a_ca_that_may_not_sign_certificates(certificates: Certificates, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ProfileError, match="its key usage is without keyCertSign"):
        certificates(**own_ca(tmp_path, key, True, key_usage("digital_signature")))
    assert certificates(**own_ca(tmp_path, key, True, key_usage("key_cert_sign")))


def test_a_ca_of_another_time(certificates: Certificates, tmp_path: Path) -> None:
    """An expired one signs certificates of its time, as for tests of expired cards."""
    until = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=15)
    parameters = own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1()), days=(-20, -10))
    assert certificates(**parameters, valid_until=until.isoformat())


def test_a_ca_for_one_slot(certificates: Certificates, tmp_path: Path) -> None:
    parameters = own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    found = certificates(**{f"9C.{name}": value for name, value in parameters.items()})
    issuers = [each.issuer.rfc4514_string() for each in found.values()]
    assert issuers[1] == "CN=Corp CA"
    assert set(issuers[:1] + issuers[2:]) == {"CN=cardtear test CA,O=cardtear"}


def test_another_ca_in_the_same_files(ca: Any, tmp_path: Path) -> None:
    """A card that was made before is not taken for one of the new CA."""
    wanted = CardRequest("piv-ec", **own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1())))
    first = ready_image(wanted, tmp_path / "images", ca)
    assert ready_image(wanted, tmp_path / "images", ca) == first
    own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    assert ready_image(wanted, tmp_path / "images", ca) != first


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"upnn": "a@b"}, "did you mean 'upn'?"),
        ({"upn": 5}, "is a string"),
        ({"9B.upn": "a@b"}, "no certificate in slot 9B"),
        ({"profile": "blank", "9A.upn": "a@b"}, "no certificate in slot 9A"),
        ({"kerberos_principal": "alice"}, "no Kerberos principal"),
        ({"extended_key_usage": ["client"]}, "no extended key usage: 'client'"),
        ({"extended_key_usage": "client-auth"}, "a list of names or OIDs"),
        ({"valid_from": "tomorrow"}, "no date"),
        ({"valid_from": "2030-01-01", "valid_until": "2029-01-01"}, "cannot end before it begins"),
        ({"subject": "Alice"}, "no distinguished name"),
        ({"ca_key": "/nonexistent"}, "give ca_certificate and ca_key"),
        ({"9C.ca_certificate": "/nonexistent"}, "give ca_certificate and ca_key"),
        ({"profile": "blank", "upn": "a@b"}, "comes without keys and certificates: 'upn' would do nothing"),
        ({"profile": "blank", "touch": "always"}, "'touch' would do nothing"),
        ({"profile": "blank", "ca_certificate": "a", "ca_key": "b"}, "'ca_certificate' would do nothing"),
        ({"profile": "yubikey", "email": "a@b.test"}, "'email' would do nothing"),
        ({"profile": "yubikey", "objects": "full"}, "is as its maker makes it: 'objects' would do nothing"),
        ({"profile": "yubikey", "protocol": "t0"}, "'protocol' would do nothing"),
        ({"profile": "unrecognised", "pin": "654321"}, "is no PIV card, and keeps nothing: 'pin' would do nothing"),
        ({"profile": "uninitialised", "pin": "654321"}, "has no PIN before C_InitPIN sets one"),
        ({"pin_min": 4}, "calls itself PIV"),
        ({"pin_tries": 11}, "calls itself PIV"),
        ({"profile": "piv-full", "pin_tries": 15}, "calls itself PIV"),
    ],
)
def test_what_cannot_be_asked(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ProfileError, match=words.replace("?", "[?]")):
        request(parameters)


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        (b"nothing", b"nothing", "ca.pem"),
        (None, b"nothing", "ca.key"),
        (None, "another", "is not the key of the certificate"),
    ],
)
def test_a_ca_that_is_none(ca: Any, tmp_path: Path, certificate: bytes | None, key: bytes | str, words: str) -> None:
    parameters = own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    if certificate is not None:
        (tmp_path / "ca.pem").write_bytes(certificate)
    if key == "another":
        kept = (tmp_path / "ca.pem").read_bytes()
        own_ca(tmp_path, ec.generate_private_key(ec.SECP256R1()))
        (tmp_path / "ca.pem").write_bytes(kept)
    else:
        (tmp_path / "ca.key").write_bytes(key)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match=words):
        ready_image(CardRequest("piv-ec", **parameters), tmp_path / "images", ca)


def test_the_same_card_by_its_parameters() -> None:
    """As another process is asked for it."""
    wanted = request({"name": "Zoe", "upn": "z@t", "9C.extended_key_usage": ["client-auth"]})
    assert request(wanted.parameters) == wanted
    assert hash(request(wanted.parameters)) == hash(wanted)


def test_options_of_the_command_line() -> None:
    assert from_text("9a.extended_key_usage=client-auth,1.2.3") == ("9a.extended_key_usage", ["client-auth", "1.2.3"])
    assert from_text("upn=alice@corp.test") == ("upn", "alice@corp.test")


def test_pins_beyond_piv(new_card: Callable[..., PivCard]) -> None:
    """On a card that does not call itself PIV, with the keys of one."""
    new_card("relaxed", pin="4711", pin_min=4, pin_tries=15)


def test_what_does_something() -> None:
    """What is as usual is no contradiction; everything by name is the same card again."""
    for profile in PROFILES:
        card = CardRequest(profile)
        assert request(card.parameters) == card
    assert CardRequest("blank", upn=None, touch="never", objects="full", email="a@b.test")


def test_paths_count_from_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process, in another folder, may be the one that reads the files: all of the CA's, by slot or for all."""
    monkeypatch.chdir(tmp_path)
    wanted = request({"ca_certificate": "ca.pem", "9A.ca_certificate": "a/ca.pem", "ca_key": "ca.key", "ocsp": ""})
    monkeypatch.chdir("/")
    assert {name: value for name, value in wanted.parameters.items() if "ca_" in name and value} == {
        "ca_certificate": str(tmp_path / "ca.pem"),
        "9A.ca_certificate": str(tmp_path / "a/ca.pem"),
        "ca_key": str(tmp_path / "ca.key"),
    }
