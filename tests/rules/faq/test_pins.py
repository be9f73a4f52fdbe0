# SPDX-License-Identifier: MIT
"""What the PKCS #11 FAQ of NSS asks of a token, row by row: PINs, new cards, PIN pads (F32 to F35)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKF, CKR, CKU
from cardtear.reader.pin_pad import Entry

from ...shared.host.host import NewHost

pytestmark = pytest.mark.needs("certutil", "modutil", "cmsutil", "selfserv", "tstclnt", "openssl")

EC = ("-k", "ec", "-q", "nistp256")
TEXT = "the text of a mail"


def change_pin(nss: Any, old: str, new: str) -> Any:
    """modutil -changepw; the new PIN is then the one in the file `pin`."""
    (nss.folder / "old").write_text(f"{old}\n")
    (nss.folder / "pin").write_text(f"{new}\n")
    files = ("-pwfile", "old", "-newpwfile", "pin")
    return nss.run("modutil", "-force", "-dbdir", nss.database, "-changepw", "Alice", *files)


def type_at_the_pad(simulator: Simulator, *pins: str | None) -> None:
    """A person at the pad of `front`: what is typed, or None for the red key."""
    with simulator.testbed.lock:
        for pin in pins:
            entry = Entry(b"", cancelled=True) if pin is None else Entry(pin.encode())
            simulator.testbed.reader("front").pin_pad.enter(entry)


def test_F32_password_change(nss: Any, new_host: NewHost) -> None:
    """The old PIN is wrong at once, for everybody; a wrong old one changes nothing and costs a try."""
    assert change_pin(nss, "123456", "654321").code == 0
    assert "C_SetPIN" in nss.names("modutil")
    nss.certify("mine", *EC)
    host = new_host(nss.simulator)
    session = host.call(Module.open_session, 0)
    assert host.rv(Module.login, session, "123456") == CKR.PIN_INCORRECT
    ended = change_pin(nss, "111111", "222222")
    assert ended.code != 0
    assert "password" in ended.output.lower()
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_FINAL_TRY
    host.call(Module.login, session, "654321")


def test_F32_no_password_change(new_nss: Callable[..., Any]) -> None:
    """A token whose PIN is changed elsewhere only: an error, and the old PIN goes on."""
    nss = new_nss(profile="piv", change_pin=False)
    ended = change_pin(nss, "123456", "654321")
    assert ended.code != 0
    assert ended.output.strip()
    (nss.folder / "pin").write_text("123456\n")
    assert len(nss.private_keys()) == 4


def test_F33_uninitialised_token(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS sees that it is not ready and asks for no PIN; the SO makes it ready, then it is as any other."""
    nss = new_nss(profile="uninitialised")
    assert "User Pin: NOT Initialized" in nss("modutil", "-dbdir", nss.database, "-list", "cardtear")
    host = new_host(nss.simulator)
    assert host.call(lambda m: m.token_info(0)[2]) & (CKF.TOKEN_INITIALIZED | CKF.USER_PIN_INITIALIZED) == 0
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.LOGIN_REQUIRED
    refused = nss.run("certutil", *nss.options("-S", *nss.certifying("mine", *EC, subject="CN=mine")))
    assert refused.code != 0
    assert nss.private_keys() == nss.certificates() == {}
    nss("certutil", "-T", "-d", nss.database, "-h", "Alice", "-0", "87654321")
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.TOKEN_INITIALIZED
    session = host.call(Module.open_session, 0, True)
    host.call(Module.login, session, "87654321", int(CKU.SO))
    host.call(Module.init_pin, session, "123456")
    host.call(Module.close_session, session)
    label = host.call(lambda m: m.token_info(0)[0])
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_INITIALIZED
    nss.certify("mine", *EC, token=label)
    assert [name for _, name in nss.private_keys(label).values()] == [f"{label}:mine"]


def test_F33_card_goes_while_the_token_is_made(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """certutil -T, pulled at any write: an error, and doing it again succeeds."""
    nss = new_nss(profile="uninitialised")
    nth = 0
    while True:
        nth += 1
        assert nth < 60
        nss.card = nss.simulator.swap("front", CardRequest(profile="uninitialised", serial=f"{nth:X}"))
        nss.simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xDB, nth=nth))
        ended = nss.run("certutil", "-T", "-d", nss.database, "-h", "Alice", "-0", "87654321")
        if nss.simulator.testbed.reader("front").insertion is not None:
            break
        assert ended.code != 0
        nss.simulator.insert("front", nss.card)
        host = new_host(nss.simulator)
        label = host.call(lambda m: m.token_info(0)[0])
        host.close()
        nss("certutil", "-T", "-d", nss.database, "-h", label, "-0", "87654321")
    nss.simulator.remove("front")
    assert nth > 1
    assert ended.code == 0


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_F34_from_the_initial_pin_to_a_certificate_in_use(new_nss: Callable[..., Any], kind: str) -> None:
    """PIN 9999; changed, key made, certificate asked for, issued, brought; then the card is elsewhere and in use."""
    nss = new_nss(profile="initial-pin", pin="9999")
    authority = ("-n", "authority", "-s", "CN=authority", "-x", "-t", "CTu,Cu,Cu", "-z", "noise", *EC)
    nss.certutil("-S", *authority)
    assert change_pin(nss, "9999", "246810").code == 0
    key = EC if kind == "ec" else ("-k", "rsa", "-g", "2048")
    nss.certutil("-R", "-h", "Alice", "-s", "CN=Alice,E=alice@example.com", *key, "-z", "noise", "-o", "request.der")
    nss.certutil("-C", "-c", "authority", "-i", "request.der", "-o", "alice.der", "-m", "1")
    nss.certutil("-A", "-h", "Alice", "-n", "me", "-i", "alice.der", "-t", ",,")
    nss.simulator.unplug("front")
    nss.simulator.plug("back")
    nss.simulator.insert("back", nss.card)
    assert nss.certificates() == {"me": "u,u,u"}
    assert "certificate is valid" in nss.certutil("-V", "-n", "Alice:me", "-u", "C")
    nss.certutil(
        "-S", "-n", "server", "-s", "CN=localhost", "-c", "authority", "-t", ",,", "-m", "2", "-z", "noise", *EC
    )
    with nss.serving("server", "tls1.3", "-r", "-r") as (port, log):
        fetched = nss.fetch(port, "tls1.3", "-n", "Alice:me", "-W", "pin")
        assert "200 OK" in fetched.output, fetched.output
        assert "CN=Alice" in log.read_text()
    (nss.folder / "mail").write_text(TEXT)
    nss("cmsutil", "-S", "-d", nss.database, "-f", "pin", "-N", "Alice:me", "-i", "mail", "-o", "signed")
    assert "GoodSignature" in nss("cmsutil", "-D", "-d", nss.database, "-i", "signed", "-h", "1")
    (nss.folder / "pin").write_text("9999\n")
    assert nss.private_keys() == {}


def test_F35_pin_pad(new_nss: Callable[..., Any]) -> None:
    """NSS passes no PIN; the one that is typed at the reader counts."""
    nss = new_nss(profile="pin-pad")
    type_at_the_pad(nss.simulator, "123456")
    assert len(nss.private_keys()) == 4
    type_at_the_pad(nss.simulator, "123456")
    nss.certify("mine", *EC)
    assert nss.certificates()["mine"] == "CTu,Cu,Cu"
    logins = [
        each["arguments"] for each in nss.calls("certutil") if each["kind"] == "call" and each["name"] == "C_Login"
    ]
    assert logins
    assert all(arguments[-1] == "NULL" for arguments in logins), logins


@pytest.mark.parametrize("typed", ["000000", None], ids=["wrong", "cancelled"])
def test_F35_wrong_and_cancelled(new_nss: Callable[..., Any], typed: str | None) -> None:
    """An end with a message; the next one, typed rightly, works."""
    nss = new_nss(profile="pin-pad")
    type_at_the_pad(nss.simulator, typed)
    ended = nss.run("certutil", *nss.options("-K", "-h", "Alice"))
    assert "rsa " not in ended.output
    assert "certutil:" in ended.output
    type_at_the_pad(nss.simulator, "123456")
    assert len(nss.private_keys()) == 4


def test_F35_nobody_types(new_nss: Callable[..., Any]) -> None:
    """The pad gives up after its time, and so does NSS."""
    nss = new_nss(profile="pin-pad", pin_pad_timeout=0.3)
    ended = nss.run("certutil", *nss.options("-K", "-h", "Alice"))
    assert "rsa " not in ended.output
    assert "certutil:" in ended.output


def test_F35_card_goes_at_the_pad(new_nss: Callable[..., Any]) -> None:
    """Pulled while the person is to type: NSS ends at once; with the card back it works."""
    nss = new_nss(profile="pin-pad")
    nss.simulator.arm(Trigger("remove", {"reader": "front"}, call="C_Login"))
    ended = nss.run("certutil", *nss.options("-K", "-h", "Alice"), deadline=10)
    assert "rsa " not in ended.output
    nss.simulator.insert("front", nss.card)
    type_at_the_pad(nss.simulator, "123456")
    assert len(nss.private_keys()) == 4


def test_F35_signing_with_the_pad_each_time(new_nss: Callable[..., Any]) -> None:
    """The key that asks for each signature: once for the login, once for the signature."""
    nss = new_nss(profile="pin-pad")
    nss.trust(paths.test_ca().certificate_pem())
    (nss.folder / "mail").write_text(TEXT)
    type_at_the_pad(nss.simulator, "123456", "123456")
    sign = ("-N", "Alice:Certificate for Digital Signature", "-i", "mail", "-o", "signed")
    nss("cmsutil", "-S", "-d", nss.database, "-f", "pin", *sign)
    assert "GoodSignature" in nss("cmsutil", "-D", "-d", nss.database, "-i", "signed", "-h", "1")
