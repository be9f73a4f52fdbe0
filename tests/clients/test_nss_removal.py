# SPDX-License-Identifier: MIT
"""The card is pulled while NSS's tools write or sign: an error, no half of anything, and it works again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.processes import paths
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKR

from ..shared.host import nss_probes, probes
from ..shared.host.host import NewHost

pytestmark = pytest.mark.needs("certutil", "modutil", "pk12util", "cmsutil", "openssl")

PUT, GENERATE, IMPORT, SIGN, CHANGE, MOVE = 0xDB, 0x47, 0xFE, 0x87, 0x24, 0xF6
RSA, EC = ("-k", "rsa", "-g", "2048"), ("-k", "ec", "-q", "nistp256")


@pytest.fixture
def nss(new_nss: Callable[..., Any]) -> Any:
    """A database, and Alice's card with one key and its certificate on it."""
    nss = new_nss(profile="blank")
    nss.certify("there", *EC)
    return nss


@pytest.fixture
def listed(nss: Any, new_host: NewHost) -> Callable[[], list[Any]]:
    """What is on the card, as one long-lived other application sees it; every key there has both halves and signs."""
    host = new_host(nss.simulator)

    def look() -> list[Any]:
        session = host.call(probes.user_session)
        found = host.call(nss_probes.identified, session)
        assert host.call(nss_probes.unsound_keys, session) == []
        host.call(Module.close_session, session)
        return list(found)

    return look


def pulled(nss: Any, when: str, ins: int, nth: int, *command: str, is_silent: bool = False) -> bool:
    """Run a program, with the card pulled at an APDU, and put it back. Whether it came to that; then there is an error.

    The last APDUs of a program can be a log out: nobody minds that the card goes there.
    """
    nss.simulator.arm(Trigger("remove", {"reader": "front"}, ins=ins, nth=nth, when=when))
    ended = nss.run(*command)
    if nss.simulator.testbed.reader("front").insertion is not None:
        nss.simulator.remove("front")
        assert ended.code == 0, ended.output
        nss.simulator.insert("front", nss.card)
        return False
    if not is_silent:
        assert ended.code != 0, f"{command}: {ended.output}"
        assert ended.output.strip()
    nss.simulator.insert("front", nss.card)
    return True


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ins", [PUT, GENERATE, SIGN])
@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_making_a_key_and_a_certificate(
    nss: Any, listed: Callable[[], list[Any]], key: tuple[str, ...], ins: int, when: str
) -> None:
    """certutil -S, pulled at every PUT DATA, key generation and signature that it makes."""
    before = listed()
    nth = 0
    while True:
        nth += 1
        assert nth < 60
        command = ("certutil", *nss.options("-S", *nss.certifying(f"new {nth}", *key, subject=f"CN=new {nth}")))
        if not pulled(nss, when, ins, nth, *command):
            break
        after = listed()
        assert [each for each in before if each not in after] == []
        new = [each for each in after if each not in before]
        # A pair (named later, or not at all), and the certificate only when the pair is there.
        assert sorted(kind for kind, *_ in new) in (
            [],
            ["PRIVATE_KEY", "PUBLIC_KEY"],
            ["CERTIFICATE", "PRIVATE_KEY", "PUBLIC_KEY"],
        )
        assert len({identity for _, _, identity in new}) <= 1
        before = after
    assert nth > 1
    assert f"new {nth}" in nss.certificates()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ins", [PUT, IMPORT])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_importing(new_nss: Callable[..., Any], new_host: NewHost, kind: str, ins: int, when: str) -> None:
    """pk12util -i: what has arrived is whole, and the same command later brings the rest."""
    nss = new_nss(profile="blank")
    host = new_host(nss.simulator)
    make_pkcs12(nss, kind)
    points = 0
    while True:
        points += 1
        assert points < 60
        nss.card = nss.simulator.swap("front", CardRequest(profile="blank", serial=f"{points:X}"))
        came_to_it = pulled(nss, when, ins, points, *importing(nss, kind))
        session = host.call(probes.user_session)
        kinds = [each[0] for each in host.call(nss_probes.identified, session)]
        assert kinds.count("CERTIFICATE") <= kinds.count("PRIVATE_KEY") <= 1
        if not came_to_it:
            break
        nss(*importing(nss, kind))
        assert list(nss.certificates()) == [kind]
        ((identity, (found, _)),) = nss.private_keys().items()
        assert found == kind
        nss.certutil("-R", "-h", "Alice", "-k", identity, "-s", "CN=x", "-a", "-o", "request.pem")
        assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")
    assert points > 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_bringing_a_certificate(nss: Any, listed: Callable[[], list[Any]], when: str) -> None:
    """certutil -A, of somebody else's: it is there or it is not."""
    make_pkcs12(nss, "ec")
    before = listed()
    command = ("certutil", *nss.options("-A", "-h", "Alice", "-n", "other", "-a", "-i", "new.pem", "-t", ",,"))
    nth = 1
    while pulled(nss, when, PUT, nth, *command):
        assert [kind for kind, label, _ in listed() if (kind, label) == ("CERTIFICATE", b"other")] in (
            [],
            ["CERTIFICATE"],
        )
        assert [each for each in before if each not in listed()] == []
        nth += 1
    assert nth > 1
    assert [label for kind, label, _ in listed() if kind == "CERTIFICATE"].count(b"other") == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ins", [PUT, MOVE])
def test_deleting_a_key_with_its_certificate(nss: Any, listed: Callable[[], list[Any]], ins: int, when: str) -> None:
    """certutil -F: what is left is whole, and can be deleted. The tool looks at no answer; the calls say it."""
    nth = 0
    while True:
        nth += 1
        assert nth < 60
        if not pulled(nss, when, ins, nth, "certutil", *nss.options("-F", "-n", "Alice:there"), is_silent=True):
            break
        assert CKR.DEVICE_REMOVED in [each["value"] for each in nss.calls("certutil") if each["kind"] == "return"]
        left = [kind for kind, *_ in listed() if kind != "PUBLIC_KEY"]
        assert left in ([], ["CERTIFICATE"], ["PRIVATE_KEY"], ["CERTIFICATE", "PRIVATE_KEY"])
        nss.run("certutil", *nss.options("-F", "-n", "Alice:there"))
        for identity in nss.private_keys():
            nss.certutil("-F", "-h", "Alice", "-k", identity)
        assert nss.private_keys() == {}
        nss.card = nss.simulator.swap("front", CardRequest(profile="blank", serial=f"{nth:X}"))
        nss.certify("there", *EC)
    assert nth > 1
    assert nss.certificates() == nss.private_keys() == {}


@pytest.mark.parametrize("when", ["before", "after"])
def test_changing_the_pin(nss: Any, when: str) -> None:
    """modutil -changepw: the old or the new one is right, as the card was asked or not, and costs no try."""
    (nss.folder / "new").write_text("654321\n")
    change = ("modutil", "-force", "-dbdir", nss.database, "-changepw", "Alice", "-pwfile", "pin", "-newpwfile", "new")
    assert pulled(nss, when, CHANGE, 1, *change)
    good, bad = ("pin", "new") if when == "before" else ("new", "pin")
    list_keys = ("certutil", "-K", "-d", nss.database, "-h", "Alice", "-f")
    assert "Alice:there" in nss(*list_keys, good)
    assert "Alice:there" not in nss.run(*list_keys, bad).output
    assert "Alice:there" in nss(*list_keys, good)


@pytest.mark.parametrize("ins", [0x20, SIGN])
@pytest.mark.parametrize("when", ["before", "after"])
def test_signing_a_mail(new_nss: Callable[..., Any], ins: int, when: str) -> None:
    """cmsutil -S with the key that wants the PIN each time: no signature, and one at the next try."""
    nss = new_nss()
    nss.trust(paths.test_ca().certificate_pem())
    (nss.folder / "mail").write_text("text")
    signer = ("-N", "Alice:Certificate for Digital Signature")
    command = ("cmsutil", "-S", "-d", nss.database, "-f", "pin", *signer, "-i", "mail", "-o", "signed")
    assert pulled(nss, when, ins, 1, *command)
    assert (nss.folder / "signed").stat().st_size == 0 if (nss.folder / "signed").exists() else True
    nss(*command)
    assert "GoodSignature" in nss("cmsutil", "-D", "-d", nss.database, "-i", "signed", "-h", "1")


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_reading_a_mail(new_nss: Callable[..., Any], nth: int, when: str) -> None:
    """cmsutil -D: in either part of the chained command. The text does not appear, and does the next time."""
    nss = new_nss()
    (nss.folder / "mail").write_text("the text")
    recipient = ("-r", "Alice:Certificate for Key Management")
    nss("cmsutil", "-E", "-d", nss.database, "-f", "pin", *recipient, "-i", "mail", "-o", "sealed")
    command = ("cmsutil", "-D", "-d", nss.database, "-f", "pin", "-i", "sealed")
    assert pulled(nss, when, SIGN, nth, *command)
    assert "the text" in nss(*command)


def make_pkcs12(nss: Any, kind: str) -> None:
    """A PKCS #12 file with a new key and its own certificate."""
    algorithm = ("rsa:2048",) if kind == "rsa" else ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    itself = ("-x509", "-newkey", *algorithm, "-nodes", "-subj", f"/CN={kind}", "-keyout", "key.pem", "-out", "new.pem")
    nss("openssl", "req", *itself)
    both = ("-inkey", "key.pem", "-in", "new.pem", "-name", kind, "-out", f"{kind}.p12", "-passout", "pass:password")
    nss("openssl", "pkcs12", "-export", *both)


def importing(nss: Any, kind: str) -> tuple[str, ...]:
    """pk12util, onto the token."""
    return ("pk12util", "-i", f"{kind}.p12", "-d", nss.database, "-h", "Alice", "-k", "pin", "-W", "password")
