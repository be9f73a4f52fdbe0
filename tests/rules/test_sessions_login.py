# SPDX-License-Identifier: MIT
"""Rules 32 to 37: sessions, and who is logged in."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKF, CKR, CKS
from cardtear.reader.trace import ApduEntry


def value_of(host: Any, expression: str, **names: Any) -> int:
    """The CK_RV of an expression that may fail."""
    return int(host.eval(f"rv(lambda: {expression})", **names))


def test_R32_serial_and_read_write_sessions(host: Any) -> None:
    """Parallel sessions are history; read/write ones are to be had, as the token is not write-protected."""
    parallel = "m.call('C_OpenSession', 0, 0, m.ffi.NULL, m.ffi.NULL, m.ffi.new('CK_ULONG *'))"
    assert host.eval(parallel) == CKR.SESSION_PARALLEL_NOT_SUPPORTED
    assert not host.eval("m.token_info(0)[2]") & CKF.WRITE_PROTECTED
    assert host.eval("m.session_state(m.open_session(0, True))") == CKS.RW_PUBLIC_SESSION


def test_R32_write_protected_token(simulator: Simulator, host: Any) -> None:
    """It says so, and takes read-only sessions; a card without the flag in its place takes both."""
    simulator.swap("front", CardRequest(profile="read-only"))
    assert host.eval("m.token_info(0)[2]") & CKF.WRITE_PROTECTED
    assert value_of(host, "m.open_session(0, True)") == CKR.TOKEN_WRITE_PROTECTED
    assert host.eval("m.session_state(m.open_session(0))") == CKS.RO_PUBLIC_SESSION
    simulator.swap("front", CardRequest(name="Bob"))
    assert host.eval("m.session_state(m.open_session(0, True))") == CKS.RW_PUBLIC_SESSION


def test_R33_login_is_of_the_application(simulator: Simulator, host: Any, new_host: Any) -> None:
    """All its sessions share it, another application has none; it ends with the last session. The card is not asked."""
    first, second = host.eval("(m.open_session(0), m.open_session(0, True))")
    other = new_host(simulator)
    stranger = other.eval("m.open_session(0)")
    host.eval("m.login(s)", s=first)
    apdus = [each for each in simulator.testbed.trace.entries() if isinstance(each, ApduEntry)]
    assert host.eval("m.session_state(s)", s=first) == CKS.RO_USER_FUNCTIONS
    assert host.eval("m.session_state(s)", s=second) == CKS.RW_USER_FUNCTIONS
    assert other.eval("m.session_state(s)", s=stranger) == CKS.RO_PUBLIC_SESSION
    assert [each for each in simulator.testbed.trace.entries() if isinstance(each, ApduEntry)] == apdus
    host.eval("(m.close_session(a), m.close_session(b))", a=first, b=second)
    assert host.eval("m.session_state(m.open_session(0))") == CKS.RO_PUBLIC_SESSION


def test_R33_other_application_has_no_private_operation(simulator: Simulator, host: Any, new_host: Any) -> None:
    """Although the card has the PIN verified."""
    host.eval("user_session(m)")
    other = new_host(simulator)
    session = other.eval("m.open_session(0)")
    assert other.eval("m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: b'\\1'})", s=session) == []


def test_R34_login_errors_and_pin_flags(host: Any, ro_session: int) -> None:
    """Twice, wrong, locked; the token's flags tell how many tries are left."""
    assert value_of(host, "m.logout(s)", s=ro_session) == CKR.USER_NOT_LOGGED_IN
    assert not host.eval("m.token_info(0)[2]") & CKF.USER_PIN_COUNT_LOW
    assert value_of(host, "m.login(s, '999999')", s=ro_session) == CKR.PIN_INCORRECT
    assert host.eval("m.token_info(0)[2]") & CKF.USER_PIN_COUNT_LOW
    host.eval("m.login(s)", s=ro_session)
    assert value_of(host, "m.login(s)", s=ro_session) == CKR.USER_ALREADY_LOGGED_IN
    assert not host.eval("m.token_info(0)[2]") & CKF.USER_PIN_COUNT_LOW
    host.eval("m.logout(s)", s=ro_session)
    for _ in range(2):
        assert value_of(host, "m.login(s, '999999')", s=ro_session) == CKR.PIN_INCORRECT
    assert host.eval("m.token_info(0)[2]") & CKF.USER_PIN_FINAL_TRY
    assert value_of(host, "m.login(s, '999999')", s=ro_session) in (CKR.PIN_INCORRECT, CKR.PIN_LOCKED)
    assert host.eval("m.token_info(0)[2]") & CKF.USER_PIN_LOCKED
    assert value_of(host, "m.login(s)", s=ro_session) == CKR.PIN_LOCKED


def test_R34_security_officer(host: Any) -> None:
    """The PUK is the SO PIN; needs read/write sessions only; excludes the user."""
    session = host.eval("m.open_session(0, True)")
    assert value_of(host, "m.login(s, '00000000', CKU.SO)", s=session) == CKR.PIN_INCORRECT
    host.eval("m.login(s, '12345678', CKU.SO)", s=session)
    assert host.eval("m.session_state(s)", s=session) == CKS.RW_SO_FUNCTIONS
    assert value_of(host, "m.open_session(0)") == CKR.SESSION_READ_WRITE_SO_EXISTS
    assert value_of(host, "m.login(s)", s=session) == CKR.USER_ANOTHER_ALREADY_LOGGED_IN
    host.eval("m.logout(s)", s=session)
    host.eval("m.open_session(0)")
    assert value_of(host, "m.login(s, '12345678', CKU.SO)", s=session) == CKR.SESSION_READ_ONLY_EXISTS


def test_R34_set_pin(host: Any) -> None:
    """By the user, in a read/write session."""
    session, reading = host.eval("(m.open_session(0, True), m.open_session(0))")
    assert value_of(host, "m.set_pin(s, '123456', '654321')", s=reading) == CKR.SESSION_READ_ONLY
    assert value_of(host, "m.set_pin(s, '999999', '654321')", s=session) == CKR.PIN_INCORRECT
    assert value_of(host, "m.set_pin(s, '123456', '1')", s=session) == CKR.PIN_LEN_RANGE
    assert value_of(host, "m.set_pin(s, '123456', 'abcdef')", s=session) == CKR.PIN_INVALID
    host.eval("m.set_pin(s, '123456', '654321')", s=session)
    assert value_of(host, "m.login(s, '123456')", s=session) == CKR.PIN_INCORRECT
    host.eval("m.login(s, '654321')", s=session)


def test_R35_reset_by_somebody_else(simulator: Simulator, host: Any, user_session: int) -> None:
    """Sessions stay, the login is gone, and the next private operation says so."""
    key = host.eval("key(m, s, b'\\1')", s=user_session)
    simulator.reset("front")
    assert host.eval("m.session_state(s)", s=user_session) == CKS.RO_PUBLIC_SESSION
    assert value_of(host, "sign(m, s, k)", s=user_session, k=key) == CKR.USER_NOT_LOGGED_IN
    host.eval("m.login(s)", s=user_session)
    assert len(host.eval("sign(m, s, k)", s=user_session, k=key)) == 256


def test_R35_reset_between_init_and_sign(simulator: Simulator, host: Any, user_session: int) -> None:
    """The card itself refuses then."""
    host.eval("m.sign_init(s, key(m, s, b'\\1'), CKM.SHA256_RSA_PKCS)", s=user_session)
    simulator.reset("front")
    assert value_of(host, "m.sign(s, b'data')", s=user_session) == CKR.USER_NOT_LOGGED_IN


def test_R35_another_login_does_not_help(simulator: Simulator, host: Any, new_host: Any, user_session: int) -> None:
    """After a reset somebody else gives the PIN: the first application's operation is still over."""
    host.eval("m.sign_init(s, key(m, s, b'\\1'), CKM.SHA256_RSA_PKCS)", s=user_session)
    simulator.reset("front")
    other = new_host(simulator)
    assert len(other.eval("sign(m, s, key(m, s, b'\\1'))", s=other.eval("user_session(m)"))) == 256
    assert value_of(host, "m.sign(s, b'data')", s=user_session) == CKR.USER_NOT_LOGGED_IN


def test_R36_key_that_asks_each_time(simulator: Simulator, host: Any, user_session: int) -> None:
    """Without the PIN for this very signature there is none; a removal in between is one like any other."""
    begin = "m.sign_init(s, key(m, s, b'\\2'), CKM.ECDSA_SHA256)"
    again = "m.login(s, '123456', CKU.CONTEXT_SPECIFIC)"
    assert value_of(host, again, s=user_session) == CKR.OPERATION_NOT_INITIALIZED
    host.eval(begin, s=user_session)
    assert value_of(host, "m.sign(s, b'data')", s=user_session) == CKR.USER_NOT_LOGGED_IN
    for _ in range(2):
        host.eval(begin, s=user_session)
        host.eval(again, s=user_session)
        assert len(host.eval("m.sign(s, b'data')", s=user_session)) == 64
    host.eval(begin, s=user_session)
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x20))
    assert value_of(host, again, s=user_session) == CKR.DEVICE_REMOVED
    assert value_of(host, "m.sign(s, b'data')", s=user_session) == CKR.SESSION_HANDLE_INVALID


def test_R37_no_limit_on_sessions(host: Any) -> None:
    """The token says so (0: effectively infinite), and so it is."""
    info = "(lambda i: (m.check('C_GetTokenInfo', 0, i), i.ulMaxSessionCount, i.ulMaxRwSessionCount)[1:])"
    assert host.eval(f"{info}(m.ffi.new('CK_TOKEN_INFO *'))") == (0, 0)
    assert host.eval("len({m.open_session(0) for _ in range(500)})") == 500


def test_R37_limit_on_sessions(simulator: Simulator, host: Any, new_host: Any) -> None:
    """It is each application's own, and counts the sessions that are open now."""
    simulator.swap("front", CardRequest(name="Bob", max_sessions=2))
    info = "(i := m.ffi.new('CK_TOKEN_INFO *'), m.check('C_GetTokenInfo', 0, i), int(i.ulMaxSessionCount))[2]"
    assert host.eval(info) == 2
    first = host.eval("m.open_session(0)")
    host.eval("m.open_session(0, True)")
    assert value_of(host, "m.open_session(0)") == CKR.SESSION_COUNT
    assert value_of(new_host(simulator), "m.open_session(0)") == CKR.OK
    host.eval("m.close_session(s)", s=first)
    host.eval("m.open_session(0)")
    assert value_of(host, "m.open_session(0)") == CKR.SESSION_COUNT
    simulator.remove("front")
    simulator.insert("front")
    assert [value_of(host, "m.open_session(0)") for _ in range(3)] == [CKR.OK, CKR.OK, CKR.SESSION_COUNT]


WRONG_PINS = [
    ("m.login(s, '999999', CKU.CONTEXT_SPECIFIC)", "m.sign_init(s, key(m, s, b'\\2'), CKM.ECDSA)"),
    ("m.set_pin(s, '999999', '654321')", "0"),
]


@pytest.mark.parametrize(("wrong", "before"), WRONG_PINS)
def test_R33_wrong_pin_ends_the_login(host: Any, wrong: str, before: str) -> None:
    """The card forgets the PIN when a wrong one is tried, so the sessions are public, and say so."""
    session = host.eval("user_session(m, 0, True)")
    host.eval(before, s=session)
    assert value_of(host, wrong, s=session) == CKR.PIN_INCORRECT
    assert host.eval("m.session_state(s)", s=session) == CKS.RW_PUBLIC_SESSION
    assert host.eval("m.token_info(0)[2]") & CKF.USER_PIN_COUNT_LOW
    host.eval("m.call('C_SignInit', s, m.ffi.NULL, 0)", s=session)
    host.eval("m.login(s)", s=session)
    assert len(host.eval("sign(m, s, key(m, s, b'\\1'))", s=session)) == 256


def test_R33_malformed_pin_leaves_the_login(host: Any, user_session: int) -> None:
    """It never reaches the card, or the card does not count it."""
    host.eval("m.sign_init(s, key(m, s, b'\\2'), CKM.ECDSA)", s=user_session)
    for pin in ("1", "abcdef"):
        assert value_of(host, "m.login(s, p, CKU.CONTEXT_SPECIFIC)", s=user_session, p=pin) == CKR.PIN_INCORRECT
        assert host.eval("m.session_state(s)", s=user_session) == CKS.RO_USER_FUNCTIONS


def test_R35_wrong_pin_of_another_application(
    simulator: Simulator, host: Any, new_host: Any, user_session: int
) -> None:
    """It takes the card's verification away from all; the first one's sessions stay and tell the truth."""
    other = new_host(simulator)
    host.eval("m.sign_init(s, key(m, s, b'\\1'), CKM.SHA256_RSA_PKCS)", s=user_session)
    assert value_of(other, "m.login(m.open_session(0), '999999')") == CKR.PIN_INCORRECT
    assert host.eval("m.session_state(s)", s=user_session) == CKS.RO_PUBLIC_SESSION
    assert value_of(host, "m.sign(s, b'data')", s=user_session) == CKR.USER_NOT_LOGGED_IN
    host.eval("m.login(s)", s=user_session)
    assert len(host.eval("sign(m, s, key(m, s, b'\\1'))", s=user_session)) == 256


def test_R36_token_info_between_pin_and_signature(host: Any, user_session: int) -> None:
    """Looking at the token does not use up the PIN that was given for one signature."""
    host.eval("m.sign_init(s, key(m, s, b'\\2'), CKM.ECDSA_SHA256)", s=user_session)
    host.eval("m.login(s, '123456', CKU.CONTEXT_SPECIFIC)", s=user_session)
    host.eval("m.token_info(0)")
    assert len(host.eval("m.sign(s, b'data')", s=user_session)) == 64


def test_R35_verification_lost_behind_the_modules_back(simulator: Simulator, host: Any, user_session: int) -> None:
    """Another program makes the card forget the PIN: the next private operation says so, and login helps again."""
    key = host.eval("key(m, s, b'\\1')", s=user_session)
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert insertion.transmit(bytes.fromhex("0020FF80")) == b"\x90\x00"
    assert value_of(host, "sign(m, s, k)", s=user_session, k=key) == CKR.USER_NOT_LOGGED_IN
    assert host.eval("m.session_state(s)", s=user_session) == CKS.RO_PUBLIC_SESSION
    host.eval("m.login(s)", s=user_session)
    assert len(host.eval("sign(m, s, key(m, s, b'\\1'))", s=user_session)) == 256


def test_R36_card_pulled_while_it_is_asked_about_the_login(simulator: Simulator, host: Any, user_session: int) -> None:
    """After a wrong PIN the card is asked once more; it may go at that very command."""
    host.eval("m.sign_init(s, key(m, s, b'\\2'), CKM.ECDSA)", s=user_session)
    simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x20, nth=2))
    assert value_of(host, "m.login(s, '999999', CKU.CONTEXT_SPECIFIC)", s=user_session) == CKR.PIN_INCORRECT
    assert value_of(host, "m.session_state(s)", s=user_session) == CKR.SESSION_HANDLE_INVALID
