# SPDX-License-Identifier: MIT
"""What the PKCS #11 FAQ of NSS asks of a token, row by row: versions, sessions, login, objects (F01 to F19)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKO, CKR, CKS

from ...shared.host import nss_probes, probes
from ...shared.host.host import NewHost
from ...shared.waiting import wait_until

pytestmark = pytest.mark.needs("certutil", "modutil", "openssl")

EC = ("-k", "ec", "-q", "nistp256")
RW = CKF.SERIAL_SESSION | CKF.RW_SESSION


def opened(calls: list[dict[str, Any]]) -> list[int]:
    """The flags of every C_OpenSession that was answered with CKR_OK, in order."""
    good = {each["call"] for each in calls if each["kind"] == "return" and each["value"] == CKR.OK}
    asked = [each for each in calls if each["kind"] == "call" and each["name"] == "C_OpenSession"]
    return [FLAGS[each["arguments"][1]] for each in asked if each["number"] in good]


FLAGS = {"CKF_SERIAL_SESSION": int(CKF.SERIAL_SESSION), "CKF_RW_SESSION | CKF_SERIAL_SESSION": int(RW)}


def test_F01_certificates_of_a_plugged_in_token(new_nss: Callable[..., Any]) -> None:
    """There with the card, gone with it, and never in NSS's own database."""
    nss = new_nss()
    listed = nss("certutil", "-L", "-d", nss.database, "-h", "all")
    assert listed.count("Alice:Certificate for") == 4
    own = nss.run("certutil", "-L", "-d", nss.database, "-h", "NSS Certificate DB").output
    assert "Certificate for" not in own
    nss.simulator.remove("front")
    assert "Alice" not in nss("certutil", "-L", "-d", nss.database, "-h", "all")


def test_F02_version(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS takes the newest interface; the old way gives 2.40."""
    nss = new_nss()
    assert "PKCS #11 Version 3." in nss("modutil", "-dbdir", nss.database, "-list", "cardtear")
    host = new_host(nss.simulator)
    assert host.call(lambda m: (m.functions.version.major, m.functions.version.minor)) == (2, 40)
    assert host.call(lambda m: probes.interface(m, b"PKCS 11", (3, 0))[1]) == (3, 0)


def test_F03_one_long_session_and_short_ones(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS holds one read-only session for all its life. A digest goes on in another session from its saved state."""
    nss = new_nss()
    nss.private_keys()
    assert FLAGS["CKF_SERIAL_SESSION"] in opened(nss.calls("certutil"))
    calls = nss.calls("certutil")
    first = next(each["call"] for each in calls if each["name"] == "C_OpenSession" and each["kind"] == "call")
    assert calls[[each["call"] for each in calls].index(first)]["arguments"][1] == "CKF_SERIAL_SESSION"
    assert nss.names("certutil")[-2:] == ["C_CloseAllSessions", "C_Finalize"]
    host = new_host(nss.simulator)
    digest = host.call(nss_probes.digest_in_two_sessions, b"first ", b"second")
    assert digest == hashlib.sha256(b"first second").digest()


def test_F04_no_parallel_sessions(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS never asks for one, and would not get it."""
    nss = new_nss(profile="blank")
    nss.certify("mine", *EC)
    assert all(flags & CKF.SERIAL_SESSION for flags in opened(nss.calls("certutil")))
    host = new_host(nss.simulator)

    def open_with(m: Module, flags: int) -> int:
        return m.call("C_OpenSession", 0, flags, m.ffi.NULL, m.ffi.NULL, m.ffi.new("CK_ULONG *"))

    for flags in (0, int(CKF.RW_SESSION)):
        assert host.call(open_with, flags) == CKR.SESSION_PARALLEL_NOT_SUPPORTED


def test_F05_read_write_sessions_for_writing(new_nss: Callable[..., Any]) -> None:
    """None to list, some to make a key, to store a certificate, to change the PIN."""
    nss = new_nss(profile="blank")
    nss.private_keys()
    nss.certificates()
    assert int(RW) not in opened(nss.calls("certutil"))
    nss.certify("mine", *EC)
    assert int(RW) in opened(nss.calls("certutil"))
    (nss.folder / "new").write_text("654321\n")
    change = ("modutil", "-force", "-dbdir", nss.database, "-changepw", "Alice", "-pwfile", "pin", "-newpwfile", "new")
    nss(*change)
    assert int(RW) in opened(nss.calls("modutil"))


def test_F06_read_write_token_with_one_session(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS opens the only session read/write, and does everything in it."""
    nss = new_nss(profile="single-session", name="Alice")
    assert len(nss.private_keys()) == 4
    assert len(nss.certificates()) == 4
    assert set(opened(nss.calls("certutil"))) == {int(RW)}
    nss.certutil("-R", "-h", "Alice", "-k", "01", "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")
    nss.certify("made", *EC)
    assert nss.certificates()["made"] == "CTu,Cu,Cu"
    host = new_host(nss.simulator)
    session = host.call(Module.open_session, 0, True)
    assert host.rv(Module.open_session, 0) == CKR.SESSION_COUNT
    host.call(Module.close_session, session)

    def most_sessions(m: Module) -> int:
        found = m.ffi.new("CK_TOKEN_INFO *")
        m.check("C_GetTokenInfo", 0, found)
        return int(found.ulMaxSessionCount)

    assert host.call(most_sessions) == 1


def test_F07_permanent_objects(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """Keys, their certificates and those of CAs stay on the card; public keys are there before the login."""
    nss = new_nss(profile="blank")
    nss.certify("mine", *EC)
    nss("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=CA", "-keyout", "k", "-out", "ca.pem")
    nss.certutil("-A", "-h", "Alice", "-n", "somebody", "-a", "-i", "ca.pem", "-t", ",,")
    nss.simulator.unplug("front")
    nss.simulator.plug("back")
    nss.simulator.insert("back", nss.card)
    host = new_host(nss.simulator)
    (slot,) = host.call(Module.slots, True)
    session = host.call(Module.open_session, slot)
    seen = [kind for kind, *_ in host.call(nss_probes.identified, session)]
    assert seen == ["CERTIFICATE", "CERTIFICATE", "PUBLIC_KEY"]
    assert nss.certificates() == {"mine": "CTu,Cu,Cu", "somebody": ",,"}
    assert [name for _, name in nss.private_keys().values()] == ["Alice:mine"]


SEARCHES = {
    "class": (CKA.CLASS,),
    "label": (CKA.LABEL,),
    "issuer and serial number": (CKA.CLASS, CKA.ISSUER, CKA.SERIAL_NUMBER),
    "value": (CKA.CLASS, CKA.VALUE),
    "subject": (CKA.CLASS, CKA.SUBJECT),
    "id": (CKA.CLASS, CKA.ID),
}


@pytest.mark.parametrize("by", SEARCHES)
def test_F08_searches(new_nss: Callable[..., Any], new_host: NewHost, by: str) -> None:
    """By everything that NSS searches by, for a certificate that NSS has written."""
    nss = new_nss(profile="blank")
    nss.certify("one", *EC)
    nss.certify("two", *EC)
    assert 'Subject: "CN=two"' in nss.certutil("-L", "-n", "Alice:two")
    host = new_host(nss.simulator)
    session = host.call(Module.open_session, 0)
    (handle,) = host.call(Module.find, session, {CKA.CLASS: CKO.CERTIFICATE, CKA.LABEL: b"two"})
    known = {kind: host.call(Module.attribute, session, handle, kind) for kind in SEARCHES[by]}
    found = host.call(Module.find, session, {CKA.TOKEN: b"\1", **known})
    assert handle in found
    assert len(found) == (2 if by == "class" else 1)


def test_F09_identity(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """Certificate and keys share one; a key without a certificate has the one that NSS makes of a public key."""
    nss = new_nss(profile="blank")
    nss.certify("mine", *EC)
    nss.certutil("-G", "-h", "Alice", "-k", "rsa", "-g", "2048", "-z", "noise")
    host = new_host(nss.simulator)
    session = host.call(probes.user_session)
    identities = [identity for *_, identity in host.call(nss_probes.identified, session)]
    assert sorted(map(identities.count, set(identities))) == [2, 3]
    (orphan,) = host.call(Module.find, session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.RSA})
    modulus = host.call(Module.attribute, session, orphan, CKA.MODULUS)
    assert host.call(Module.attribute, session, orphan, CKA.ID) == hashlib.sha1(modulus).digest()


def test_F10_labels(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """Every user certificate has one, without blanks at the end; NSS shows token and label."""
    nss = new_nss()
    nss.certify("made here", *EC)
    host = new_host(nss.simulator)
    session = host.call(Module.open_session, 0)
    labels = [label for kind, label, _ in host.call(nss_probes.identified, session) if kind == "CERTIFICATE"]
    assert len(set(labels)) == len(labels) == 5
    assert all(label and label == label.rstrip() for label in labels)
    assert set(nss.certificates()) == {label.decode() for label in labels}
    assert "Alice:made here" in nss("certutil", "-L", "-d", nss.database, "-h", "all")


def test_F11_random_numbers_without_login(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS asks as soon as it sees the token; no two answers are the same."""
    nss = new_nss()
    nss.certificates()
    names = nss.names("certutil")
    assert "C_GenerateRandom" in names
    assert "C_Login" not in names
    host = new_host(nss.simulator)
    session = host.call(Module.open_session, 0)
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.RNG
    assert len({host.call(Module.random, session, 32) for _ in range(20)}) == 20


def test_F12_list_of_functions(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """No pointer of any list is NULL; what makes no sense says so."""
    nss = new_nss()
    host = new_host(nss.simulator)
    assert host.call(lambda m: probes.interface(m, b"PKCS 11", (3, 0))[2]) == []
    session = host.call(Module.open_session, 0)
    for name in ("C_GetFunctionStatus", "C_CancelFunction"):
        assert host.call(Module.call, name, session) == CKR.FUNCTION_NOT_PARALLEL


def test_F13_certificates_with_and_without_a_key(new_nss: Callable[..., Any]) -> None:
    """With its key on the token it is a user's; others are there without trust, and a CA's is not trusted by itself."""
    nss = new_nss(profile="blank")
    nss("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=CA", "-keyout", "k", "-out", "ca.pem")
    nss.certutil("-A", "-h", "Alice", "-n", "somebody", "-a", "-i", "ca.pem", "-t", ",,")
    nss.certutil("-R", "-h", "Alice", "-s", "CN=me", *EC, "-z", "noise", "-o", "request.der")
    nss("openssl", "x509", "-req", "-in", "request.der", "-inform", "DER", "-CA", "ca.pem", "-CAkey", "k",
        "-set_serial", "7", "-out", "me.pem")  # fmt: skip
    nss.certutil("-A", "-h", "Alice", "-n", "me", "-a", "-i", "me.pem", "-t", ",,")
    assert nss.certificates() == {"somebody": ",,", "me": "u,u,u"}
    assert "certificate is valid" not in nss.run("certutil", *nss.options("-V", "-n", "Alice:me", "-u", "C")).output
    nss("certutil", "-M", "-d", nss.database, "-n", "Alice:somebody", "-t", "CT,C,C", "-f", "pin")
    assert "certificate is valid" in nss.certutil("-V", "-n", "Alice:me", "-u", "C")


def test_F14_login_state_is_the_truth(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """All sessions of an application change at login and logout; NSS asks without any command to the card."""
    nss = new_nss()
    host = new_host(nss.simulator)
    one, two, rw = host.call(lambda m: (m.open_session(0), m.open_session(0), m.open_session(0, True)))

    def states(m: Module) -> list[int]:
        return [m.session_state(each) for each in (one, two, rw)]

    assert host.call(states) == [
        CKS.RO_PUBLIC_SESSION,
        CKS.RO_PUBLIC_SESSION,
        CKS.RW_PUBLIC_SESSION,
    ]
    host.call(Module.login, one)
    assert host.call(states) == [
        CKS.RO_USER_FUNCTIONS,
        CKS.RO_USER_FUNCTIONS,
        CKS.RW_USER_FUNCTIONS,
    ]
    host.call(Module.logout, rw)
    assert host.call(states) == [
        CKS.RO_PUBLIC_SESSION,
        CKS.RO_PUBLIC_SESSION,
        CKS.RW_PUBLIC_SESSION,
    ]
    nss.private_keys()
    trace = nss.simulator.testbed.trace.entries()
    asked = {entry.call for entry in trace if getattr(entry, "name", "") == "C_GetSessionInfo"}
    assert asked
    assert not [entry for entry in trace if hasattr(entry, "command") and entry.call in asked]
    nss.simulator.remove("front")
    assert host.rv(Module.session_state, one) == CKR.SESSION_HANDLE_INVALID


def test_F15_session_handle_zero(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """Invalid everywhere, and NSS never gets it."""
    host = new_host(new_nss().simulator)
    values = host.call(probes.session_function_values, 0)
    assert len(values) > 25
    assert {name: value for name, value in values.items() if value != CKR.SESSION_HANDLE_INVALID} == {}


def test_F16_slots_of_different_ability(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """A token of RSA only, one of EC only, one that nobody knows, and an empty reader, all at once."""
    nss = new_nss(profile="piv", mechanisms=("CKM_RSA_PKCS",))
    simulator = nss.simulator
    for reader in ("left", "right", "empty"):
        simulator.plug(reader)
    simulator.insert("left", CardRequest(name="Bob", profile="piv-ec", mechanisms=("CKM_ECDSA",)))
    simulator.insert("right", CardRequest(profile="unrecognised"))
    listed = nss("modutil", "-dbdir", nss.database, "-list")
    assert [name for name in ("front", "left", "right", "empty") if f"slot: {name}" in listed] == [
        "front",
        "left",
        "right",
        "empty",
    ]
    assert len(nss.certificates("Alice")) == len(nss.certificates("Bob")) == 4
    host = new_host(simulator)
    assert [host.call(Module.mechanisms, slot) for slot in (0, 1)] == [[CKM.RSA_PKCS], [CKM.ECDSA]]
    assert host.rv(Module.mechanisms, 2) == CKR.TOKEN_NOT_RECOGNIZED
    assert host.rv(Module.mechanisms, 3) == CKR.TOKEN_NOT_PRESENT
    nss.certutil("-R", "-h", "Bob", "-k", "01", "-s", "CN=x", "-a", "-o", "request.pem")
    assert "verify OK" in nss("openssl", "req", "-in", "request.pem", "-verify", "-noout")


def test_F17_mechanism_list_is_truthful(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """What is listed for signing begins with a key of its kind; what is not listed does not."""
    host = new_host(new_nss().simulator)
    session = host.call(probes.user_session)
    keys = {kind: host.call(probes.key, session, bytes([n])) for kind, n in ((CKK.RSA, 1), (CKK.EC, 4))}
    mechanisms = host.call(Module.mechanisms, 0)
    refused = {}
    for number in mechanisms:
        least, most, flags = host.call(mechanism_info, number)
        assert least <= most
        name = CKM(number).name
        kind = CKK.RSA if "RSA" in name else CKK.EC if "ECDSA" in name else None
        if flags & CKF.SIGN and kind is not None:
            value = host.rv(nss_probes.start_signing, session, keys[kind], number)
            if value != CKR.OK:
                refused[name] = CKR(value).name
    assert refused == {}
    for missing in set(CKM) - set(mechanisms):
        value = host.rv(Module.sign_init, session, keys[CKK.RSA], int(missing))
        assert value == CKR.MECHANISM_INVALID, missing.name


def mechanism_info(m: Module, mechanism: int) -> tuple[int, int, int]:
    """The least and the largest key, and the flags."""
    info = m.ffi.new("CK_MECHANISM_INFO *")
    m.check("C_GetMechanismInfo", 0, mechanism, info)
    return int(info.ulMinKeySize), int(info.ulMaxKeySize), int(info.flags)


def test_F18_callbacks_are_accepted(new_nss: Callable[..., Any], new_host: NewHost) -> None:
    """NSS passes pApplication and Notify; nobody is ever called back, and the session is as any other."""
    host = new_host(new_nss().simulator)
    session = host.call(nss_probes.session_with_callback)
    host.call(Module.login, session)
    assert len(host.call(probes.sign_with, session, b"\1")) == 256


@pytest.mark.parametrize("way", ["polling", "waiting"])
def test_F19_insertion_and_removal(bare_simulator: Simulator, new_host: NewHost, way: str) -> None:
    """Seen in the slot's flags and the session that is dead, and by whoever waits for an event."""
    bare_simulator.plug("front")
    card = bare_simulator.insert("front")
    host = new_host(bare_simulator)
    for _ in range(3):
        session = host.call(lambda m: (m.slots(), m.open_session(0))[1])
        waiting = host.start(Module.wait_for_slot_event) if way == "waiting" else None
        bare_simulator.remove("front")
        assert waiting is None or waiting.result(10) == 0
        assert not host.call(Module.is_present, 0)
        assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
        waiting = host.start(Module.wait_for_slot_event) if way == "waiting" else None
        threading.Thread(target=bare_simulator.insert, args=("front", card)).start()
        if waiting is None:
            wait_until(lambda: host.call(Module.is_present, 0))
        else:
            assert waiting.result(10) == 0
        assert host.call(Module.is_present, 0)
        assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
        assert len(host.call(lambda m: m.find(m.open_session(0), {CKA.CLASS: CKO.CERTIFICATE}))) == 4
