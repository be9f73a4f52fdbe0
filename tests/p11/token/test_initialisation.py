# SPDX-License-Identifier: MIT
"""C_InitToken, C_InitPIN, C_SetPIN: the SO's part, and whom the card lets write."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKR, CKS

from ...shared.host import probes
from ...shared.host.host import Host, NewHost

SO = 0


def flags(host: Host) -> int:
    """The flags of CK_TOKEN_INFO."""
    return int(host.call(lambda m: m.token_info(0)[2]))


def test_token_starts_anew(token: Callable[..., Any]) -> None:
    """All is gone but the SO's PIN; the SO gives the user a PIN."""
    host = token(profile="piv")
    assert host.rv(Module.init_token, 0, "11111111", "new") == CKR.PIN_INCORRECT
    session = host.call(probes.user_session, read_write=True)
    host.call(
        lambda m: (
            probes.data(m, session, b"open"),
            probes.data(m, session, b"shut", where=probes.PRIVATE),
            probes.ec_pair(m, session, b"key"),
        )
    )
    assert host.rv(Module.init_token, 0, "12345678", "new") == CKR.SESSION_EXISTS
    host.call(Module.close_session, session)
    host.call(Module.init_token, 0, "12345678", "My new token")
    assert host.call(lambda m: m.token_info(0)[0]) == "My new token"
    assert flags(host) & CKF.TOKEN_INITIALIZED
    assert not flags(host) & CKF.USER_PIN_INITIALIZED
    session = host.call(Module.open_session, 0, True)
    assert host.call(probes.objects, session) == []
    assert host.rv(Module.login, session, "123456") == CKR.USER_PIN_NOT_INITIALIZED
    assert host.rv(Module.init_pin, session, "654321") == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, session, "12345678", 0)
    assert host.rv(Module.init_pin, session, "1") == CKR.PIN_LEN_RANGE
    host.call(lambda m: (m.init_pin(session, "654321"), m.logout(session), m.login(session, "654321")))
    assert flags(host) & CKF.USER_PIN_INITIALIZED
    assert host.call(probes.objects, session) == []
    host.call(probes.ec_pair, session, b"key")


def test_uninitialised_token(token: Callable[..., Any]) -> None:
    """The SO says what his PIN shall be."""
    host = token(profile="uninitialised")
    assert not flags(host) & (CKF.TOKEN_INITIALIZED | CKF.USER_PIN_INITIALIZED)
    assert flags(host) & CKF.LOGIN_REQUIRED
    host.call(Module.init_token, 0, "my so pi", "mine")
    assert flags(host) & CKF.TOKEN_INITIALIZED
    session = host.call(Module.open_session, 0, True)
    assert host.rv(Module.login, session, "12345678", 0) == CKR.PIN_INCORRECT
    host.call(
        lambda m: (
            m.login(session, "my so pi", 0),
            m.init_pin(session, "123456"),
            m.logout(session),
            m.login(session, "123456"),
        )
    )
    host.call(probes.data, session, b"x")


def test_initialisation_that_is_cut_off_can_be_done_again(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """Nothing of the old token is usable in between."""
    host = token(profile="piv")
    image = bare_simulator.testbed.reader("front").insertion.card.store.path  # type: ignore[union-attr, attr-defined]
    from cardtear.lab.simulator.trigger import Trigger

    bare_simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xDB, nth=4))
    assert host.rv(Module.init_token, 0, "12345678", "new") == CKR.DEVICE_REMOVED
    bare_simulator.insert("front", image)
    assert not flags(host) & CKF.USER_PIN_INITIALIZED
    host.call(Module.init_token, 0, "12345678", "new")
    assert host.call(lambda m: probes.objects(m, m.open_session(0))) == []


def test_so_changes_his_pin(token: Callable[..., Any]) -> None:
    """The PUK; also on a card whose management key is derived from it."""
    host = token(management="so")
    session = host.call(Module.open_session, 0, True)
    host.call(Module.login, session, "12345678", 0)
    host.call(probes.data, session, b"by the SO")
    host.call(
        lambda m: (m.set_pin(session, "12345678", "87654321"), probes.data(m, session, b"again"), m.logout(session))
    )
    assert host.rv(Module.login, session, "12345678", 0) == CKR.PIN_INCORRECT
    host.call(lambda m: (m.login(session, "87654321", 0), probes.data(m, session, b"once more"), m.logout(session)))
    assert len(host.call(probes.objects, session)) == 3


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
    session = host.call(Module.open_session, 0, True)

    def write(m: Module, s: int) -> Any:
        return probes.ec_pair(m, s, b"x", PRIVATE=b"\x00")

    assert host.rv(write, s=session) == public
    host.call(Module.login, session)
    assert host.rv(write, s=session) == user
    host.call(lambda m: (m.logout(session), m.login(session, "12345678", 0)))
    assert host.rv(write, s=session) == so


def so_may(m: Module, s: int) -> Any:
    return [
        probes.rv(each)
        for each in (
            lambda: probes.data(m, s, b"public"),
            lambda: m.change(s, m.find(s, {CKA.LABEL: b"public"})[0], {CKA.VALUE: b"another"}),
            lambda: m.destroy(s, m.find(s, {CKA.LABEL: b"public"})[0]),
            lambda: probes.ec_pair(m, s, b"pair", PRIVATE=b"\x00"),
            lambda: [m.destroy(s, each) for each in m.find(s, {CKA.LABEL: b"pair"})],
            lambda: probes.data(m, s, b"session", where=probes.SESSION),
            lambda: probes.data(m, s, b"private", where=probes.PRIVATE),
            lambda: probes.data(m, s, b"private", where={CKA.PRIVATE: b"\1"}),
        )
    ]


def test_the_so_has_public_objects(token: Callable[..., Any]) -> None:
    """As the table of session states and objects has it (5.6, table 6); also with another PUK, and on a new token."""
    host = token()
    session = host.call(Module.open_session, 0, True)
    expected = [CKR.OK] * 6 + [CKR.USER_NOT_LOGGED_IN] * 2
    host.call(Module.login, session, "12345678", 0)
    assert host.call(so_may, s=session) == expected
    host.call(Module.set_pin, session, "12345678", "87654321")
    assert host.call(so_may, s=session) == expected
    host.call(Module.finalize)
    host.call(Module.initialize)
    session = host.call(lambda m: ((s := m.open_session(0, True)), m.login(s, "87654321", 0))[0])
    assert host.call(so_may, s=session) == expected
    host.call(Module.call, "C_CloseAllSessions", 0)
    host.call(Module.init_token, 0, "87654321", "new")
    session = host.call(lambda m: ((s := m.open_session(0, True)), m.login(s, "87654321", 0))[0])
    assert host.call(so_may, s=session) == expected
    host.call(lambda m: (m.init_pin(session, "123456"), m.logout(session), m.login(session)))
    assert host.rv(probes.data, session, b"public") == CKR.OK


def test_the_so_after_others_have_been_at_the_card(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The key is kept for the PUK that was: he may not write then, and the user may; a new token heals it."""
    host = token()
    card = bare_simulator.testbed.reader("front").insertion
    assert card is not None
    card.transmit(bytes.fromhex("00A4040009A00000030800001000"))
    change = bytes.fromhex("0024008110") + b"12345678" + b"11111111"
    assert card.transmit(change) == b"\x90\x00"
    session = host.call(lambda m: ((s := m.open_session(0, True)), m.login(s, "11111111", 0))[0])
    assert host.rv(probes.data, session, b"x") == CKR.USER_NOT_LOGGED_IN
    host.call(lambda m: (m.logout(session), m.login(session)))
    assert host.rv(probes.data, session, b"x") == CKR.OK
    host.call(Module.call, "C_CloseAllSessions", 0)
    host.call(Module.init_token, 0, "11111111", "new")
    session = host.call(lambda m: ((s := m.open_session(0, True)), m.login(s, "11111111", 0))[0])
    assert host.rv(probes.data, session, b"x") == CKR.OK


def test_counters_of_both_pins(token: Callable[..., Any]) -> None:
    """Low, final, locked; also as a card is born."""
    host = token()
    session = host.call(Module.open_session, 0, True)
    for user, low, final, locked in (
        (1, CKF.USER_PIN_COUNT_LOW, CKF.USER_PIN_FINAL_TRY, CKF.USER_PIN_LOCKED),
        (0, CKF.SO_PIN_COUNT_LOW, CKF.SO_PIN_FINAL_TRY, CKF.SO_PIN_LOCKED),
    ):
        for expected in (low, low | final, locked):
            host.rv(Module.login, session, "99999999", user)
            assert flags(host) & (low | final | locked) == expected
        assert host.rv(Module.login, session, "12345678", user) == CKR.PIN_LOCKED


@pytest.mark.parametrize(
    ("left", "expected"), [(1, CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY), (0, CKF.USER_PIN_LOCKED)]
)
def test_card_born_with_few_tries(token: Callable[..., Any], left: int, expected: int) -> None:
    """`pin_left`."""
    host = token(pin_left=left)
    assert flags(host) & (CKF.USER_PIN_COUNT_LOW | CKF.USER_PIN_FINAL_TRY | CKF.USER_PIN_LOCKED) == expected
    session = host.call(Module.open_session, 0, True)
    assert host.rv(Module.login, session) == (CKR.OK if left else CKR.PIN_LOCKED)


def test_wrong_pin_of_one_application_ends_the_login_of_another(
    token: Callable[..., Any], bare_simulator: Simulator, new_host: NewHost
) -> None:
    """The card is shared, as with a real one."""
    host = token()
    session = host.call(probes.user_session, read_write=True)
    handle = host.call(probes.data, session, b"x", where=probes.PRIVATE)
    other = new_host(bare_simulator)
    other.rv(lambda m: m.login(m.open_session(0), "999999"))
    assert host.call(Module.session_state, session) == 2
    assert host.rv(Module.attribute, session, handle, CKA.VALUE) != CKR.OK
    host.call(lambda m: (m.login(session), probes.data(m, session, b"y")))


@pytest.mark.parametrize("user", [1, 0])
@pytest.mark.parametrize("wrong", ["1", "123", "x" * 200, "x" * 100_000])
def test_a_pin_that_the_card_cannot_take_is_an_incorrect_one(token: Callable[..., Any], user: int, wrong: str) -> None:
    """It costs no try, and yet the flag says that one has been entered, until the right one is (CK_TOKEN_INFO)."""
    host = token()
    session = host.call(Module.open_session, 0, True)
    low = CKF.USER_PIN_COUNT_LOW if user else CKF.SO_PIN_COUNT_LOW
    assert not flags(host) & low
    assert host.rv(Module.login, session, wrong, user) == CKR.PIN_INCORRECT
    assert flags(host) & low
    host.call(Module.login, session, "123456" if user else "12345678", user)
    assert not flags(host) & low
    assert host.rv(Module.set_pin, session, wrong, "654321") == CKR.PIN_INCORRECT
    assert flags(host) & low


def test_the_so_whose_puk_is_another_one_by_now(token: Callable[..., Any], new_host: NewHost) -> None:
    """C_InitPIN has no value for a wrong PUK: the SO is not logged in any more."""
    host = token()
    session = host.call(Module.open_session, 0, True)
    host.call(Module.login, session, "12345678", 0)
    host.call(Module.set_pin, session, "12345678", "87654321")
    host.call(Module.init_pin, session, "123456")

    assert host.call(lambda m: probes.fork_and(m, probes.child_changes_puk, os.environ["CARDTEAR_SOCKET"])) == 0
    assert host.rv(Module.init_pin, session, "123456") == CKR.USER_NOT_LOGGED_IN
    assert host.call(Module.session_state, session) == CKS.RW_PUBLIC_SESSION
