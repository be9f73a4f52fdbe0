# SPDX-License-Identifier: MIT
"""Rules 32 to 37: sessions, and who is logged in."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKF, CKM, CKO, CKR, CKS, CKU
from cardtear.reader.trace import ApduEntry

from ..shared.host import probes
from ..shared.host.host import Host, NewHost


def test_R32_serial_and_read_write_sessions(host: Host) -> None:
    """Parallel sessions are history; read/write ones are to be had, as the token is not write-protected."""

    def parallel(m: Module) -> Any:
        return m.call("C_OpenSession", 0, 0, m.ffi.NULL, m.ffi.NULL, m.ffi.new("CK_ULONG *"))

    assert host.call(parallel) == CKR.SESSION_PARALLEL_NOT_SUPPORTED
    assert not host.call(lambda m: m.token_info(0)[2]) & CKF.WRITE_PROTECTED
    assert host.call(lambda m: m.session_state(m.open_session(0, True))) == CKS.RW_PUBLIC_SESSION


def test_R32_write_protected_token(simulator: Simulator, host: Host) -> None:
    """It says so, and takes read-only sessions; a card without the flag in its place takes both."""
    simulator.swap("front", CardRequest(profile="read-only"))
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.WRITE_PROTECTED
    assert host.rv(Module.open_session, 0, True) == CKR.TOKEN_WRITE_PROTECTED
    assert host.call(lambda m: m.session_state(m.open_session(0))) == CKS.RO_PUBLIC_SESSION
    simulator.swap("front", CardRequest(name="Bob"))
    assert host.call(lambda m: m.session_state(m.open_session(0, True))) == CKS.RW_PUBLIC_SESSION


def test_R33_login_is_of_the_application(simulator: Simulator, host: Host, new_host: NewHost) -> None:
    """All its sessions share it, another application has none; it ends with the last session. The card is not asked."""
    first, second = host.call(lambda m: (m.open_session(0), m.open_session(0, True)))
    other = new_host(simulator)
    stranger = other.call(Module.open_session, 0)
    host.call(Module.login, first)
    apdus = [each for each in simulator.testbed.trace.entries() if isinstance(each, ApduEntry)]
    assert host.call(Module.session_state, first) == CKS.RO_USER_FUNCTIONS
    assert host.call(Module.session_state, second) == CKS.RW_USER_FUNCTIONS
    assert other.call(Module.session_state, stranger) == CKS.RO_PUBLIC_SESSION
    assert [each for each in simulator.testbed.trace.entries() if isinstance(each, ApduEntry)] == apdus
    host.call(lambda m: (m.close_session(first), m.close_session(second)))
    assert host.call(lambda m: m.session_state(m.open_session(0))) == CKS.RO_PUBLIC_SESSION


def test_R33_other_application_has_no_private_operation(simulator: Simulator, host: Host, new_host: NewHost) -> None:
    """Although the card has the PIN verified."""
    host.call(probes.user_session)
    other = new_host(simulator)
    session = other.call(Module.open_session, 0)
    assert other.call(Module.find, session, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: b"\1"}) == []


def test_R34_login_errors_and_pin_flags(host: Host, ro_session: int) -> None:
    """Twice, wrong, locked; the token's flags tell how many tries are left."""
    assert host.rv(Module.logout, ro_session) == CKR.USER_NOT_LOGGED_IN
    assert not host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_COUNT_LOW
    assert host.rv(Module.login, ro_session, "999999") == CKR.PIN_INCORRECT
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_COUNT_LOW
    host.call(Module.login, ro_session)
    assert host.rv(Module.login, ro_session) == CKR.USER_ALREADY_LOGGED_IN
    assert not host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_COUNT_LOW
    host.call(Module.logout, ro_session)
    for _ in range(2):
        assert host.rv(Module.login, ro_session, "999999") == CKR.PIN_INCORRECT
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_FINAL_TRY
    assert host.rv(Module.login, ro_session, "999999") in (CKR.PIN_INCORRECT, CKR.PIN_LOCKED)
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_LOCKED
    assert host.rv(Module.login, ro_session) == CKR.PIN_LOCKED


def test_R34_security_officer(host: Host) -> None:
    """The PUK is the SO PIN; needs read/write sessions only; excludes the user."""
    session = host.call(Module.open_session, 0, True)
    assert host.rv(Module.login, session, "00000000", CKU.SO) == CKR.PIN_INCORRECT
    host.call(Module.login, session, "12345678", CKU.SO)
    assert host.call(Module.session_state, session) == CKS.RW_SO_FUNCTIONS
    assert host.rv(Module.open_session, 0) == CKR.SESSION_READ_WRITE_SO_EXISTS
    assert host.rv(Module.login, session) == CKR.USER_ANOTHER_ALREADY_LOGGED_IN
    host.call(Module.logout, session)
    host.call(Module.open_session, 0)
    assert host.rv(Module.login, session, "12345678", CKU.SO) == CKR.SESSION_READ_ONLY_EXISTS


def test_R34_set_pin(host: Host) -> None:
    """By the user, in a read/write session."""
    session, reading = host.call(lambda m: (m.open_session(0, True), m.open_session(0)))
    assert host.rv(Module.set_pin, reading, "123456", "654321") == CKR.SESSION_READ_ONLY
    assert host.rv(Module.set_pin, session, "999999", "654321") == CKR.PIN_INCORRECT
    assert host.rv(Module.set_pin, session, "123456", "1") == CKR.PIN_LEN_RANGE
    assert host.rv(Module.set_pin, session, "123456", "abcdef") == CKR.PIN_INVALID
    host.call(Module.set_pin, session, "123456", "654321")
    assert host.rv(Module.login, session, "123456") == CKR.PIN_INCORRECT
    host.call(Module.login, session, "654321")


def test_R35_reset_by_somebody_else(simulator: Simulator, host: Host, user_session: int) -> None:
    """Sessions stay, the login is gone, and the next private operation says so."""
    key = host.call(probes.key, user_session, b"\1")
    simulator.reset("front")
    assert host.call(Module.session_state, user_session) == CKS.RO_PUBLIC_SESSION
    assert host.rv(probes.sign, user_session, key) == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, user_session)
    assert len(host.call(probes.sign, user_session, key)) == 256


def test_R35_reset_between_init_and_sign(simulator: Simulator, host: Host, user_session: int) -> None:
    """The card itself refuses then."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1"), CKM.SHA256_RSA_PKCS))
    simulator.reset("front")
    assert host.rv(Module.sign, user_session, b"data") == CKR.USER_NOT_LOGGED_IN


def test_R35_another_login_does_not_help(
    simulator: Simulator, host: Host, new_host: NewHost, user_session: int
) -> None:
    """After a reset somebody else gives the PIN: the first application's operation is still over."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1"), CKM.SHA256_RSA_PKCS))
    simulator.reset("front")
    other = new_host(simulator)
    assert len(other.call(probes.sign_with, other.call(probes.user_session), b"\1")) == 256
    assert host.rv(Module.sign, user_session, b"data") == CKR.USER_NOT_LOGGED_IN


def test_R36_key_that_asks_each_time(simulator: Simulator, host: Host, user_session: int) -> None:
    """Without the PIN for this very signature there is none; a removal in between is one like any other."""

    def begin(m: Module, s: int) -> Any:
        return m.sign_init(s, probes.key(m, s, b"\2"), CKM.ECDSA_SHA256)

    def again(m: Module, s: int) -> Any:
        return m.login(s, "123456", CKU.CONTEXT_SPECIFIC)

    assert host.rv(again, s=user_session) == CKR.OPERATION_NOT_INITIALIZED
    host.call(begin, s=user_session)
    assert host.rv(Module.sign, user_session, b"data") == CKR.USER_NOT_LOGGED_IN
    for _ in range(2):
        host.call(begin, s=user_session)
        host.call(again, s=user_session)
        assert len(host.call(Module.sign, user_session, b"data")) == 64
    host.call(begin, s=user_session)
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x20))
    assert host.rv(again, s=user_session) == CKR.DEVICE_REMOVED
    assert host.rv(Module.sign, user_session, b"data") == CKR.SESSION_HANDLE_INVALID


def session_limits(m: Module) -> tuple[int, int]:
    """The most sessions, and the most read/write ones, that CK_TOKEN_INFO tells."""
    info = m.ffi.new("CK_TOKEN_INFO *")
    m.check("C_GetTokenInfo", 0, info)
    return int(info.ulMaxSessionCount), int(info.ulMaxRwSessionCount)


def test_R37_no_limit_on_sessions(host: Host) -> None:
    """The token says so (0: effectively infinite), and so it is."""
    assert host.call(session_limits) == (0, 0)
    assert host.call(lambda m: len({m.open_session(0) for _ in range(500)})) == 500


def test_R37_limit_on_sessions(simulator: Simulator, host: Host, new_host: NewHost) -> None:
    """It is each application's own, and counts the sessions that are open now."""
    simulator.swap("front", CardRequest(name="Bob", max_sessions=2))
    assert host.call(session_limits)[0] == 2
    first = host.call(Module.open_session, 0)
    host.call(Module.open_session, 0, True)
    assert host.rv(Module.open_session, 0) == CKR.SESSION_COUNT
    assert new_host(simulator).rv(Module.open_session, 0) == CKR.OK
    host.call(Module.close_session, first)
    host.call(Module.open_session, 0)
    assert host.rv(Module.open_session, 0) == CKR.SESSION_COUNT
    simulator.remove("front")
    simulator.insert("front")
    assert [host.rv(Module.open_session, 0) for _ in range(3)] == [CKR.OK, CKR.OK, CKR.SESSION_COUNT]


@pytest.mark.parametrize("function", ["C_Login", "C_SetPIN"])
def test_R33_wrong_pin_ends_the_login(host: Host, function: str) -> None:
    """The card forgets the PIN when a wrong one is tried, so the sessions are public, and say so."""
    session = host.call(probes.user_session, 0, True)
    if function == "C_Login":
        host.call(Module.sign_init, session, host.call(probes.key, session, b"\2"), CKM.ECDSA)
        value = host.rv(Module.login, session, "999999", CKU.CONTEXT_SPECIFIC)
    else:
        value = host.rv(Module.set_pin, session, "999999", "654321")
    assert value == CKR.PIN_INCORRECT
    assert host.call(Module.session_state, session) == CKS.RW_PUBLIC_SESSION
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.USER_PIN_COUNT_LOW
    host.call(lambda m: m.call("C_SignInit", session, m.ffi.NULL, 0))
    host.call(Module.login, session)
    assert len(host.call(probes.sign_with, session, b"\1")) == 256


def test_R33_malformed_pin_leaves_the_login(host: Host, user_session: int) -> None:
    """It never reaches the card, or the card does not count it."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\2"), CKM.ECDSA))
    for pin in ("1", "abcdef"):
        assert host.rv(Module.login, user_session, pin, CKU.CONTEXT_SPECIFIC) == CKR.PIN_INCORRECT
        assert host.call(Module.session_state, user_session) == CKS.RO_USER_FUNCTIONS


def test_R35_wrong_pin_of_another_application(
    simulator: Simulator, host: Host, new_host: NewHost, user_session: int
) -> None:
    """It takes the card's verification away from all; the first one's sessions stay and tell the truth."""
    other = new_host(simulator)
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1"), CKM.SHA256_RSA_PKCS))
    assert other.rv(lambda m: m.login(m.open_session(0), "999999")) == CKR.PIN_INCORRECT
    assert host.call(Module.session_state, user_session) == CKS.RO_PUBLIC_SESSION
    assert host.rv(Module.sign, user_session, b"data") == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, user_session)
    assert len(host.call(probes.sign_with, user_session, b"\1")) == 256


def test_R36_token_info_between_pin_and_signature(host: Host, user_session: int) -> None:
    """Looking at the token does not use up the PIN that was given for one signature."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\2"), CKM.ECDSA_SHA256))
    host.call(Module.login, user_session, "123456", CKU.CONTEXT_SPECIFIC)
    host.call(Module.token_info, 0)
    assert len(host.call(Module.sign, user_session, b"data")) == 64


def test_R35_verification_lost_behind_the_modules_back(simulator: Simulator, host: Host, user_session: int) -> None:
    """Another program makes the card forget the PIN: the next private operation says so, and login helps again."""
    key = host.call(probes.key, user_session, b"\1")
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert insertion.transmit(bytes.fromhex("0020FF80")) == b"\x90\x00"
    assert host.rv(probes.sign, user_session, key) == CKR.USER_NOT_LOGGED_IN
    assert host.call(Module.session_state, user_session) == CKS.RO_PUBLIC_SESSION
    host.call(Module.login, user_session)
    assert len(host.call(probes.sign_with, user_session, b"\1")) == 256


def test_R36_card_pulled_while_it_is_asked_about_the_login(simulator: Simulator, host: Host, user_session: int) -> None:
    """After a wrong PIN the card is asked once more; it may go at that very command."""
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\2"), CKM.ECDSA))
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x20, nth=2))
    assert host.rv(Module.login, user_session, "999999", CKU.CONTEXT_SPECIFIC) == CKR.PIN_INCORRECT
    assert host.rv(Module.session_state, user_session) == CKR.SESSION_HANDLE_INVALID
