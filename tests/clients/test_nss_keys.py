# SPDX-License-Identifier: MIT
"""Keys and certificates that NSS's tools make, bring and delete on the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest

pytestmark = pytest.mark.needs("certutil", "modutil", "pk12util", "openssl")

KEYS = {
    "RSA-1024": ("-k", "rsa", "-g", "1024"),
    "RSA-2048": ("-k", "rsa", "-g", "2048"),
    "RSA-4096": ("-k", "rsa", "-g", "4096"),
    "P-256": ("-k", "ec", "-q", "nistp256"),
    "P-384": ("-k", "ec", "-q", "nistp384"),
}
IMPORTED = {"rsa": ("-newkey", "rsa:2048"), "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")}
EMPTY = CardRequest(profile="blank", name="Empty")


@pytest.fixture
def nss(new_nss: Callable[..., Any]) -> Any:
    """A database, and Alice's card with nothing on it."""
    return new_nss(profile="blank")


@pytest.fixture
def pkcs12(nss: Any) -> Callable[[str], str]:
    """Makes a PKCS #12 file with the password `password`: a new key and its own certificate."""

    def make(kind: str) -> str:
        self_signed = ("-x509", *IMPORTED[kind], "-nodes", "-subj", f"/CN={kind}", "-days", "100")
        nss("openssl", "req", *self_signed, "-keyout", f"{kind}.key", "-out", f"{kind}.pem")
        both = ("-inkey", f"{kind}.key", "-in", f"{kind}.pem", "-name", kind)
        nss("openssl", "pkcs12", "-export", *both, "-out", f"{kind}.p12", "-passout", "pass:password")
        return f"{kind}.p12"

    return make


@pytest.mark.parametrize("key", KEYS)
def test_key_with_its_own_certificate(nss: Any, key: str) -> None:
    """certutil -S: key and certificate share a CKA_ID, and are there after the card has been elsewhere."""
    nss.certify("mine", *KEYS[key])
    nss.simulator.swap("front", EMPTY)
    assert nss.certificates(token="Empty") == {}
    nss.simulator.swap("front", CardRequest(profile="blank"))
    assert nss.certificates()["mine"].replace("C", "").replace("T", "") == "u,u,u"
    ((identity, (kind, name)),) = nss.private_keys().items()
    assert (kind, name) == (KEYS[key][1], "Alice:mine")
    assert len(identity) == 40


@pytest.mark.parametrize("key", KEYS)
def test_certificate_by_an_issuer_on_the_token(nss: Any, key: str) -> None:
    """certutil -S -c: an RSA key on the card signs for the others; -V follows the chain."""
    nss.certify("issuer")
    nss.certify("leaf", *KEYS[key], issuer="Alice:issuer")
    assert "certificate is valid" in nss.certutil("-V", "-n", "Alice:leaf", "-u", "C")
    shown = nss.certutil("-L", "-n", "Alice:leaf")
    assert 'Issuer: "CN=issuer"' in shown
    assert 'Subject: "CN=leaf"' in shown


@pytest.mark.parametrize("key", ["RSA-2048", "P-256", "P-384"])
def test_from_request_to_certificate(nss: Any, key: str) -> None:
    """-R makes key and request, -C signs it, -A brings the certificate to its key, -F takes both away."""
    nss.certify("issuer", *KEYS["P-256"])
    nss.certutil("-R", "-h", "Alice", "-s", "CN=asked", *KEYS[key], "-z", "noise", "-o", "request.der")
    assert "verify OK" in nss("openssl", "req", "-inform", "DER", "-in", "request.der", "-verify", "-noout")
    orphans = [identity for identity, (_, name) in nss.private_keys().items() if name == "(orphan)"]
    assert len(orphans) == 1
    nss.certutil("-C", "-c", "Alice:issuer", "-i", "request.der", "-o", "asked.der", "-m", "77")
    nss.certutil("-A", "-h", "Alice", "-n", "asked", "-i", "asked.der", "-t", ",,")
    assert nss.certificates()["asked"] == "u,u,u"
    assert nss.private_keys()[orphans[0]] == (KEYS[key][1], "Alice:asked")
    assert "certificate is valid" in nss.certutil("-V", "-n", "Alice:asked", "-u", "C")
    nss.certutil("-F", "-n", "Alice:asked")
    assert list(nss.certificates()) == ["issuer"]
    assert [name for _, name in nss.private_keys().values()] == ["Alice:issuer"]


def test_request_by_a_key_that_is_there(nss: Any) -> None:
    """-G makes a key pair, -R -k finds it by its CKA_ID, -F -k deletes it."""
    nss.certutil("-G", "-h", "Alice", *KEYS["P-256"], "-z", "noise")
    (identity,) = nss.private_keys()
    nss.certutil("-R", "-h", "Alice", "-k", identity, "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")
    nss.certutil("-F", "-h", "Alice", "-k", identity)
    assert nss.private_keys() == {}


@pytest.mark.parametrize("friendly", [True, False])
def test_deleting_a_certificate(new_nss: Callable[..., Any], friendly: bool) -> None:
    """-D logs in only to a token that shows nobody its certificates; without the PIN it changes nothing."""
    nss = new_nss(profile="blank", friendly=friendly)
    nss.certify("mine", *KEYS["P-256"])
    ended = nss.run("certutil", *nss.options("-D", "-n", "Alice:mine"))
    if friendly:
        assert ended.code != 0
        assert "unable to delete certificate" in ended.output
        assert list(nss.certificates()) == ["mine"]
    else:
        assert ended.code == 0
        assert nss.certificates() == {}
        assert [name for _, name in nss.private_keys().values()] == ["(orphan)"]


def test_more_certificates_than_key_slots(nss: Any) -> None:
    """Thirty certificates of others, all listed, by a reader that has never seen them."""
    for number in range(30):
        nss("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN=other {number}", "-keyout", "other.key", "-out", "other.pem")  # fmt: skip
        nss.certutil("-A", "-h", "Alice", "-n", f"other {number}", "-a", "-i", "other.pem", "-t", ",,")
    nss.simulator.unplug("front")
    nss.simulator.plug("back")
    nss.simulator.insert("back", CardRequest(profile="blank"))
    assert set(nss.certificates()) == {f"other {number}" for number in range(30)}


@pytest.mark.parametrize("kind", IMPORTED)
def test_pkcs12_in_but_not_out(nss: Any, pkcs12: Callable[[str], str], kind: str) -> None:
    """What comes onto the card signs there, and its key does not leave it."""
    nss("pk12util", "-i", pkcs12(kind), "-d", nss.database, "-h", "Alice", "-k", "pin", "-W", "password")
    assert nss.certificates() == {kind: "u,u,u"}
    ((identity, (found, _)),) = nss.private_keys().items()
    assert found == kind
    nss.certutil("-R", "-h", "Alice", "-k", identity, "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")
    out = ("-o", "out.p12", "-d", nss.database, "-n", f"Alice:{kind}", "-k", "pin", "-W", "password")
    ended = nss.run("pk12util", *out)
    assert ended.code != 0
    assert "UNABLE_TO_EXPORT_KEY" in ended.output


@pytest.mark.parametrize("kind", IMPORTED)
def test_the_same_pkcs12_twice(nss: Any, pkcs12: Callable[[str], str], kind: str) -> None:
    """There is one key and one certificate afterwards, whatever the tool says."""
    file = pkcs12(kind)
    for _ in range(2):
        nss.run("pk12util", "-i", file, "-d", nss.database, "-h", "Alice", "-k", "pin", "-W", "password")
    assert list(nss.certificates()) == [kind]
    assert len(nss.private_keys()) == 1


def test_full_card(new_nss: Callable[..., Any]) -> None:
    """No room for another key: an error, and what was there is there."""
    nss = new_nss(profile="blank", capacity=4096)
    made = 0
    while (
        ended := nss.run("certutil", *nss.options("-S", *nss.certifying(f"n{made}", *KEYS["RSA-2048"], subject="CN=x")))
    ).code == 0:
        made += 1
        assert made < 20
    assert "certutil:" in ended.output
    assert made > 0
    assert {f"n{number}" for number in range(made)} <= set(nss.certificates())
    assert len(nss.private_keys()) in (made, made + 1)


@pytest.mark.parametrize("curve", ["nistp521", "secp256k1"])
def test_curve_that_piv_does_not_have(nss: Any, curve: str) -> None:
    """The card has it."""
    nss("certutil", *nss.options("-G", "-h", "Alice", "-k", "ec", "-q", curve, "-z", "noise"))
    assert len(nss.private_keys()) == 1


@pytest.mark.parametrize("curve", ["nistp192", "nistk163"])
def test_curve_that_the_card_does_not_have(nss: Any, curve: str) -> None:
    """An error, and nothing is made."""
    ended = nss.run("certutil", *nss.options("-G", "-h", "Alice", "-k", "ec", "-q", curve, "-z", "noise"))
    assert ended.code != 0
    assert nss.private_keys() == {}


def test_new_pin(nss: Any) -> None:
    """modutil -changepw: the old PIN is wrong afterwards, and after the card was out."""
    nss.certify("mine", *KEYS["P-256"])
    (nss.folder / "new").write_text("654321\n")
    change = ("modutil", "-force", "-dbdir", nss.database, "-changepw", "Alice", "-pwfile", "pin", "-newpwfile", "new")
    assert "changed successfully" in nss(*change)
    nss.simulator.remove("front")
    nss.simulator.insert("front", CardRequest(profile="blank"))
    list_keys = ("certutil", "-K", "-d", nss.database, "-h", "Alice", "-f")
    assert "SEC_ERROR_BAD_PASSWORD" in nss.run(*list_keys, "pin").output
    assert "Alice:mine" in nss(*list_keys, "new")


@pytest.mark.parametrize("new", ["1", "123456789", "abcdef"])
def test_new_pin_that_cannot_be_one(nss: Any, new: str) -> None:
    """Too short, too long, no digits: refused, and the old one is right."""
    (nss.folder / "new").write_text(f"{new}\n")
    change = ("modutil", "-force", "-dbdir", nss.database, "-changepw", "Alice", "-pwfile", "pin", "-newpwfile", "new")
    ended = nss.run(*change)
    assert ended.code != 0
    nss.certify("mine", *KEYS["P-256"])
