# SPDX-License-Identifier: MIT
"""Tokens of every ability: what a card says that its token is like, the token is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKF, CKM, CKO, CKR, CKS

from ...shared.host import probes
from ...shared.waiting import wait_until


def no_pin(m: Module, s: int) -> Any:
    return m.check("C_Login", s, 1, m.ffi.NULL, 0)


def test_read_only(token: Callable[..., Any]) -> None:
    """Read/write sessions are to be had, writing is not."""
    host = token(profile="read-only")
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.WRITE_PROTECTED
    session = host.call(probes.user_session)
    assert host.rv(Module.open_session, 0, True) == CKR.TOKEN_WRITE_PROTECTED
    assert len(host.call(probes.sign_with, session, b"\1")) == 256
    host.call(probes.data, session, b"x", where=probes.SESSION)


def test_single_session(token: Callable[..., Any]) -> None:
    """The second one is CKR_SESSION_COUNT; after the first is closed there is room."""
    host = token(profile="single-session")
    session = host.call(Module.open_session, 0, True)
    assert host.rv(Module.open_session, 0) == CKR.SESSION_COUNT
    host.call(Module.close_session, session)
    host.call(Module.open_session, 0)


def test_no_key_generation(token: Callable[..., Any]) -> None:
    """Not in the list, not by call; keys can be brought along."""
    host = token(profile="no-generation")
    mechanisms = host.call(Module.mechanisms, 0)
    assert CKM.EC_KEY_PAIR_GEN not in mechanisms
    assert CKM.ECDSA in mechanisms
    session = host.call(probes.user_session, read_write=True)
    assert host.rv(probes.ec_pair, session, b"x") == CKR.MECHANISM_INVALID
    host.call(probes.data, session, b"x")


def test_chosen_mechanisms(token: Callable[..., Any]) -> None:
    """A token that does one thing only says so and does so."""
    host = token(profile="piv", mechanisms=("CKM_RSA_PKCS",), hardware=False)
    assert host.call(Module.mechanisms, 0) == [CKM.RSA_PKCS]
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    assert host.rv(Module.sign_init, session, key, CKM.SHA256_RSA_PKCS) == CKR.MECHANISM_INVALID
    host.call(Module.sign_init, session, key, CKM.RSA_PKCS)

    def info(m: Module) -> Any:
        return ((i := m.ffi.new("CK_MECHANISM_INFO *")), m.check("C_GetMechanismInfo", 0, 1, i), int(i.flags))[2]

    assert not host.call(info) & CKF.HW


def test_nothing_before_login(token: Callable[..., Any]) -> None:
    """Certificates and public keys are private too."""
    host = token(profile="private")
    session = host.call(Module.open_session, 0)
    assert host.call(probes.objects, session) == []
    host.call(Module.login, session)
    assert len(host.call(probes.objects, session)) == 12


def test_unfriendly(token: Callable[..., Any]) -> None:
    """Without the profile object that says that certificates are public."""
    host = token(friendly=False)
    session = host.call(Module.open_session, 0)
    assert host.call(Module.find, session, {CKA.PROFILE_ID: 4}) == []


def test_fixed_pin(token: Callable[..., Any]) -> None:
    """C_SetPIN may not be there at all."""
    host = token(change_pin=False)
    session = host.call(Module.open_session, 0, True)
    assert host.rv(Module.set_pin, session, "123456", "654321") == CKR.FUNCTION_NOT_SUPPORTED


def test_short_pin_and_its_limits(token: Callable[..., Any]) -> None:
    """PIN 9999, and what C_GetTokenInfo says of lengths."""
    host = token(profile="initial-pin")

    def info(m: Module) -> Any:
        return ((i := m.ffi.new("CK_TOKEN_INFO *")), m.check("C_GetTokenInfo", 0, i), [i.ulMinPinLen, i.ulMaxPinLen])[2]

    assert host.call(info) == [4, 8]
    session = host.call(Module.open_session, 0, True)
    host.call(Module.login, session, "9999")
    assert host.rv(Module.set_pin, session, "9999", "123") == CKR.PIN_LEN_RANGE
    assert host.rv(Module.set_pin, session, "9999", "abcdef") == CKR.PIN_INVALID
    host.call(lambda m: (m.set_pin(session, "9999", "1234"), m.logout(session), m.login(session, "1234")))


def test_pin_pad(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """C_Login without a PIN waits for the person at the pad, who types, types wrongly, or presses the red key."""
    host = token(profile="pin-pad")
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.PROTECTED_AUTHENTICATION_PATH
    session = host.call(Module.open_session, 0, True)
    for typed, expected in (("999999", CKR.PIN_INCORRECT), (None, CKR.FUNCTION_CANCELED), ("123456", CKR.OK)):
        bare_simulator.pin_pad("front", typed)
        assert host.rv(no_pin, s=session) == expected
    host.call(Module.logout, session)
    waiting = host.start_rv(no_pin, s=session)
    wait_until(lambda: bare_simulator.testbed.reader("front").pin_pad.askers)
    bare_simulator.pin_pad("front", "123456")
    assert waiting.result(10) == CKR.OK
    assert host.call(Module.session_state, session) == CKS.RW_USER_FUNCTIONS


def test_pin_pad_that_nobody_touches(token: Callable[..., Any]) -> None:
    """It gives up after its time."""
    host = token(profile="pin-pad", pin_pad_timeout=0.2)
    session = host.call(Module.open_session, 0)
    assert host.rv(no_pin, s=session) == CKR.FUNCTION_CANCELED


def test_card_pulled_while_the_pad_waits(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The call comes back at once."""
    host = token(profile="pin-pad", pin_pad_timeout=60)
    session = host.call(Module.open_session, 0)
    waiting = host.start_rv(no_pin, s=session)
    wait_until(lambda: bare_simulator.testbed.reader("front").pin_pad.askers)
    bare_simulator.remove("front")
    assert waiting.result(5) in (CKR.DEVICE_REMOVED, CKR.SESSION_HANDLE_INVALID)


def test_a_script_types_when_the_call_comes(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """By a trigger."""
    host = token(profile="pin-pad")
    session = host.call(Module.open_session, 0)
    bare_simulator.arm(Trigger("pin-pad", {"reader": "front", "pin": "123456"}, call="C_Login"))
    assert host.rv(no_pin, s=session) == CKR.OK


def test_tokens_of_different_ability_at_once(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """Three slots, three lists of mechanisms, three answers."""
    host = token(profile="piv")
    bare_simulator.plug("second")
    bare_simulator.insert("second", CardRequest(profile="no-generation", name="Bob"))
    bare_simulator.plug("third")
    bare_simulator.insert("third", CardRequest(profile="read-only", name="Carol"))
    host.call(Module.slots)
    lists = host.call(lambda m: [set(m.mechanisms(n)) for n in range(3)])
    assert lists[1] < lists[0]
    assert [bool(host.call(Module.token_info, n)[2] & CKF.WRITE_PROTECTED) for n in range(3)] == [
        False,
        False,
        True,
    ]


def test_features_are_found_by_class_only(token: Callable[..., Any]) -> None:
    """Mechanism objects for each mechanism; the pad is a user interface."""
    host = token(profile="pin-pad")
    session = host.call(Module.open_session, 0)
    found = host.call(Module.find, session, {CKA.CLASS: CKO.MECHANISM})
    named = [int.from_bytes(host.call(Module.attribute, session, h, CKA.MECHANISM_TYPE), "little") for h in found]
    assert named == host.call(Module.mechanisms, 0)
    assert len(host.call(Module.find, session, {CKA.CLASS: CKO.HW_FEATURE})) == 1
    assert not set(found) & set(host.call(Module.find, session))
