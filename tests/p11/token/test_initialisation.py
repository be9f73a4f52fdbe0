# SPDX-License-Identifier: MIT
"""C_InitToken, C_InitPIN, C_SetPIN: the SO's part, and whom the card lets write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKF, CKR, CKS

SO = 0


def flags(host: Any) -> int:
    """The flags of CK_TOKEN_INFO."""
    return int(host.eval("m.token_info(0)[2]"))


def test_token_starts_anew(token: Callable[..., Any]) -> None:
    """All is gone but the SO's PIN; the SO gives the user a PIN."""
    host = token(profile="piv")
    assert host.eval("rv(lambda: m.init_token(0, '11111111', 'new'))") == CKR.PIN_INCORRECT
    session = host.eval("user_session(m, read_write=True)")
    host.eval("(data(m, s, b'open'), data(m, s, b'shut', where=PRIVATE), ec_pair(m, s, b'key'))", s=session)
    assert host.eval("rv(lambda: m.init_token(0, '12345678', 'new'))") == CKR.SESSION_EXISTS
    host.eval("m.close_session(s)", s=session)
    host.eval("m.init_token(0, '12345678', 'My new token')")
    assert host.eval("m.token_info(0)[0]") == "My new token"
    assert flags(host) & CKF.TOKEN_INITIALIZED
    assert not flags(host) & CKF.USER_PIN_INITIALIZED
    session = host.eval("m.open_session(0, True)")
    assert host.eval("objects(m, s)", s=session) == []
    assert host.eval("rv(lambda: m.login(s, '123456'))", s=session) == CKR.USER_PIN_NOT_INITIALIZED
    assert host.eval("rv(lambda: m.init_pin(s, '654321'))", s=session) == CKR.USER_NOT_LOGGED_IN
    host.eval("m.login(s, '12345678', 0)", s=session)
    assert host.eval("rv(lambda: m.init_pin(s, '1'))", s=session) == CKR.PIN_LEN_RANGE
    host.eval("(m.init_pin(s, '654321'), m.logout(s), m.login(s, '654321'))", s=session)
    assert flags(host) & CKF.USER_PIN_INITIALIZED
    assert host.eval("objects(m, s)", s=session) == []
    host.eval("ec_pair(m, s, b'key')", s=session)


def test_uninitialised_token(token: Callable[..., Any]) -> None:
    """The SO says what his PIN shall be."""
    host = token(profile="uninitialised")
    assert not flags(host) & (CKF.TOKEN_INITIALIZED | CKF.USER_PIN_INITIALIZED)
    assert flags(host) & CKF.LOGIN_REQUIRED
    host.eval("m.init_token(0, 'my so pi', 'mine')")
    assert flags(host) & CKF.TOKEN_INITIALIZED
    session = host.eval("m.open_session(0, True)")
    assert host.eval("rv(lambda: m.login(s, '12345678', 0))", s=session) == CKR.PIN_INCORRECT
    host.eval("(m.login(s, 'my so pi', 0), m.init_pin(s, '123456'), m.logout(s), m.login(s, '123456'))", s=session)
    host.eval("data(m, s, b'x')", s=session)


def test_initialisation_that_is_cut_off_can_be_done_again(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """Nothing of the old token is usable in between."""
    host = token(profile="piv")
    image = bare_simulator.testbed.reader("front").insertion.card.store.path  # type: ignore[union-attr, attr-defined]
    from cardtear.lab.simulator.trigger import Trigger

    bare_simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xDB, nth=4))
    assert host.eval("rv(lambda: m.init_token(0, '12345678', 'new'))") == CKR.DEVICE_REMOVED
    bare_simulator.insert("front", image)
    assert not flags(host) & CKF.USER_PIN_INITIALIZED
    host.eval("m.init_token(0, '12345678', 'new')")
    assert host.eval("objects(m, m.open_session(0))") == []


def test_so_changes_his_pin(token: Callable[..., Any]) -> None:
    """The PUK; also on a card whose management key is derived from it."""
    host = token(management="so")
    session = host.eval("m.open_session(0, True)")
    host.eval("m.login(s, '12345678', 0)", s=session)
    host.eval("data(m, s, b'by the SO')", s=session)
    host.eval("(m.set_pin(s, '12345678', '87654321'), data(m, s, b'again'), m.logout(s))", s=session)
    assert host.eval("rv(lambda: m.login(s, '12345678', 0))", s=session) == CKR.PIN_INCORRECT
    host.eval("(m.login(s, '87654321', 0), data(m, s, b'once more'), m.logout(s))", s=session)
    assert len(host.eval("objects(m, s)", s=session)) == 3


@pytest.mark.parametrize(
    ("management", "public", "user", "so"),
    [
        ("pin", CKR.USER_NOT_LOGGED_IN, CKR.OK, CKR.OK),
        ("derived", CKR.USER_NOT_LOGGED_IN, CKR.OK, CKR.USER_NOT_LOGGED_IN),
        ("so", CKR.USER_NOT_LOGGED_IN, CKR.USER_NOT_LOGGED_IN, CKR.OK),
        ("default", CKR.OK, CKR.OK, CKR.OK),
        ("none", CKR.TOKEN_WRITE_PROTECTED, CKR.TOKEN_WRITE_PROTECTED, CKR.TOKEN_WRITE_PROTECTED),
    ],
)
def test_who_may_write(token: Callable[..., Any], management: str, public: int, user: int, so: int) -> None:
    """Nobody, the user, the SO, by the policy of the card's management key."""
    host = token(management=management)
    session = host.eval("m.open_session(0, True)")
    write = "rv(lambda: ec_pair(m, s, b'x', PRIVATE=b'\\0'))"
    assert host.eval(write, s=session) == public
    host.eval("m.login(s)", s=session)
    assert host.eval(write, s=session) == user
    host.eval("(m.logout(s), m.login(s, '12345678', 0))", s=session)
    assert host.eval(write, s=session) == so


SO_MAY = """[rv(each) for each in (
    lambda: data(m, s, b'public'),
    lambda: m.change(s, m.find(s, {CKA.LABEL: b'public'})[0], {CKA.VALUE: b'another'}),
    lambda: m.destroy(s, m.find(s, {CKA.LABEL: b'public'})[0]),
    lambda: ec_pair(m, s, b'pair', PRIVATE=b'\\0'),
    lambda: [m.destroy(s, each) for each in m.find(s, {CKA.LABEL: b'pair'})],
    lambda: data(m, s, b'session', where=SESSION),
    lambda: data(m, s, b'private', where=PRIVATE),
    lambda: data(m, s, b'private', where={CKA.PRIVATE: b'\\1'}),
)]"""


def test_the_so_has_public_objects(token: Callable[..., Any]) -> None:
    """As the table of session states and objects has it (5.6, table 6); also with another PUK, and on a new token."""
    host = token()
    session = host.eval("m.open_session(0, True)")
    expected = [CKR.OK] * 6 + [CKR.USER_NOT_LOGGED_IN] * 2
    host.eval("m.login(s, '12345678', 0)", s=session)
    assert host.eval(SO_MAY, s=session) == expected
    host.eval("m.set_pin(s, '12345678', '87654321')", s=session)
    assert host.eval(SO_MAY, s=session) == expected
    host.eval("m.finalize()")
    host.eval("m.initialize()")
    session = host.eval("(s := m.open_session(0, True), m.login(s, '87654321', 0))[0]")
    assert host.eval(SO_MAY, s=session) == expected
    host.eval("m.call('C_CloseAllSessions', 0)")
    host.eval("m.init_token(0, '87654321', 'new')")
    session = host.eval("(s := m.open_session(0, True), m.login(s, '87654321', 0))[0]")
    assert host.eval(SO_MAY, s=session) == expected
    host.eval("(m.init_pin(s, '123456'), m.logout(s), m.login(s))", s=session)
    assert host.eval("rv(lambda: data(m, s, b'public'))", s=session) == CKR.OK


def test_the_so_after_others_have_been_at_the_card(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The key is kept for the PUK that was: he may not write then, and the user may; a new token heals it."""
    host = token()
    card = bare_simulator.testbed.reader("front").insertion
    assert card is not None
    card.transmit(bytes.fromhex("00A4040009A00000030800001000"))
    change = bytes.fromhex("0024008110") + b"12345678" + b"11111111"
    assert card.transmit(change) == b"\x90\x00"
    session = host.eval("(s := m.open_session(0, True), m.login(s, '11111111', 0))[0]")
    assert host.eval("rv(lambda: data(m, s, b'x'))", s=session) == CKR.USER_NOT_LOGGED_IN
    host.eval("(m.logout(s), m.login(s))", s=session)
    assert host.eval("rv(lambda: data(m, s, b'x'))", s=session) == CKR.OK
    host.eval("m.call('C_CloseAllSessions', 0)")
    host.eval("m.init_token(0, '11111111', 'new')")
    session = host.eval("(s := m.open_session(0, True), m.login(s, '11111111', 0))[0]")
    assert host.eval("rv(lambda: data(m, s, b'x'))", s=session) == CKR.OK


def test_counters_of_both_pins(token: Callable[..., Any]) -> None:
    """Low, final, locked; also as a card is born."""
    host = token()
    session = host.eval("m.open_session(0, True)")
    for user, low, final, locked in (
        (1, CKF.USER_PIN_COUNT_LOW, CKF.USER_PIN_FINAL_TRY, CKF.USER_PIN_LOCKED),
        (0, CKF.SO_PIN_COUNT_LOW, CKF.SO_PIN_FINAL_TRY, CKF.SO_PIN_LOCKED),
    ):
        for expected in (low, low | final, locked):
            host.eval("rv(lambda: m.login(s, '99999999', u))", s=session, u=user)
            assert flags(host) & (low | final | locked) == expected
        assert host.eval("rv(lambda: m.login(s, '12345678', u))", s=session, u=user) == CKR.PIN_LOCKED


@pytest.mark.parametrize(
    ("left", "expected"), [(1, CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY), (0, CKF.USER_PIN_LOCKED)]
)
def test_card_born_with_few_tries(token: Callable[..., Any], left: int, expected: int) -> None:
    """`pin_left`."""
    host = token(pin_left=left)
    assert flags(host) & (CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY | CKF.USER_PIN_LOCKED) == expected
    session = host.eval("m.open_session(0, True)")
    assert host.eval("rv(lambda: m.login(s))", s=session) == (CKR.OK if left else CKR.PIN_LOCKED)


def test_wrong_pin_of_one_application_ends_the_login_of_another(
    token: Callable[..., Any], bare_simulator: Simulator, new_host: Callable[..., Any]
) -> None:
    """The card is shared, as with a real one."""
    host = token()
    session = host.eval("user_session(m, read_write=True)")
    handle = host.eval("data(m, s, b'x', where=PRIVATE)", s=session)
    other = new_host(bare_simulator)
    other.eval("rv(lambda: m.login(m.open_session(0), '999999'))")
    assert host.eval("m.session_state(s)", s=session) == 2
    assert host.eval("rv(lambda: m.attribute(s, h, CKA.VALUE))", s=session, h=handle) != CKR.OK
    host.eval("(m.login(s), data(m, s, b'y'))", s=session)


@pytest.mark.parametrize("user", [1, 0])
@pytest.mark.parametrize("wrong", ["1", "123", "x" * 200, "x" * 100_000])
def test_a_pin_that_the_card_cannot_take_is_an_incorrect_one(token: Callable[..., Any], user: int, wrong: str) -> None:
    """It costs no try, and yet the flag says that one has been entered, until the right one is (CK_TOKEN_INFO)."""
    host = token()
    session = host.eval("m.open_session(0, True)")
    low = CKF.USER_PIN_COUNT_LOW if user else CKF.SO_PIN_COUNT_LOW
    assert not flags(host) & low
    assert host.eval("rv(lambda: m.login(s, w, u))", s=session, w=wrong, u=user) == CKR.PIN_INCORRECT
    assert flags(host) & low
    host.eval("m.login(s, w, u)", s=session, w="123456" if user else "12345678", u=user)
    assert not flags(host) & low
    assert host.eval("rv(lambda: m.set_pin(s, w, '654321'))", s=session, w=wrong) == CKR.PIN_INCORRECT
    assert flags(host) & low


def test_the_so_whose_puk_is_another_one_by_now(token: Callable[..., Any], new_host: Callable[..., Any]) -> None:
    """C_InitPIN has no value for a wrong PUK: the SO is not logged in any more."""
    host = token()
    session = host.eval("m.open_session(0, True)")
    host.eval("m.login(s, '12345678', 0)", s=session)
    host.eval("m.set_pin(s, '12345678', '87654321')", s=session)
    host.eval("m.init_pin(s, '123456')", s=session)
    with_old = "fork_and(m, 'child_changes_puk(m, sock)', sock=os.environ['CARDTEAR_SOCKET'])"
    assert host.eval(with_old) == 0
    assert host.eval("rv(lambda: m.init_pin(s, '123456'))", s=session) == CKR.USER_NOT_LOGGED_IN
    assert host.eval("m.session_state(s)", s=session) == CKS.RW_PUBLIC_SESSION
