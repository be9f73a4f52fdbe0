# SPDX-License-Identifier: MIT
"""Writing on cards whose management key depends on the PIN or PUK, also where Yubico's software has made it so."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest, ready_image
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKF, CKR
from cardtear.reader.events import When
from cardtear.reader.reader import ApduMoment, Moment
from cardtear.reader.trace import ApduEntry

WELL_KNOWN = bytes.fromhex("010203040506070801020304050607080102030405060708")
WRITE = "rv(lambda: ec_pair(m, s, b'pair'))"
_PUKS = (0, "12345678", "87654321", "11111111")
SECRETS = {"derived": (1, "123456", "654321", "111111"), "so": _PUKS, "pin": _PUKS}
"""Who has it, as CKU has him, and what it is one after the other, by the policy."""


@pytest.fixture
def yubikey(bare_simulator: Simulator, token: Callable[..., Any]) -> Callable[[Any], None]:
    """A YubiKey in the reader, and Yubico's software at work on it, with management key and PIN proved."""
    token(profile="yubikey", firmware="5.4.3")  # the time when keys were derived

    def manage(work: Callable[[Any], None]) -> None:
        piv = open_session(bare_simulator)
        piv.authenticate(WELL_KNOWN)
        piv.verify_pin("123456")
        work(piv)
        piv.protocol.connection.close()

    return manage


def load(name: str) -> Any:
    """A module of Yubico's, for a test that has them."""
    return importlib.import_module(name)


def open_session(simulator: Simulator) -> Any:
    """yubikit at the card in the reader."""
    connection = load("cardtear.reader.pcsc.yubikit_connection").YubikitConnection(simulator.testbed.reader("front"))
    return load("yubikit.piv").PivSession(connection)


def derive(piv: Any) -> None:
    """What Yubico's PIV manager did: salt and flags, and a 3DES key made of the PIN."""
    salt = os.urandom(16)
    piv.put_object(0x5FFF00, b"\x80\x15\x81\x01\x00\x82\x10" + salt)
    key = load("ykman.piv").derive_management_key("123456", salt)
    piv.set_management_key(load("yubikit.piv").MANAGEMENT_KEY_TYPE.TDES, key)


def protect(piv: Any) -> None:
    """`ykman piv access change-management-key --generate --protect`"""
    kind = load("yubikit.piv").MANAGEMENT_KEY_TYPE.AES256
    load("ykman.piv").pivman_set_mgm_key(piv, os.urandom(32), kind, store_on_device=True)


@pytest.mark.needs("yubikit", "ykman")
@pytest.mark.parametrize("keep", [derive, protect])
def test_as_yubicos_software_has_left_it(
    bare_simulator: Simulator, new_host: Callable[..., Any], yubikey: Callable[[Any], None], keep: Any
) -> None:
    """Everybody could write, now only the user can; also when the card has been away, and with another PIN."""
    host = new_host(bare_simulator)
    session = host.eval("m.open_session(0, True)")
    public = "rv(lambda: ec_pair(m, s, b'pair', PRIVATE=b'\\0'))"
    assert host.eval(public, s=session) == CKR.OK
    yubikey(keep)
    session = host.eval("m.open_session(0, True)")
    assert host.eval(public, s=session) == CKR.USER_NOT_LOGGED_IN
    host.eval("m.login(s)", s=session)
    assert host.eval(WRITE, s=session) == CKR.OK
    insertion = bare_simulator.testbed.reader("front").insertion
    assert insertion is not None
    bare_simulator.remove("front")
    bare_simulator.insert("front", insertion.card)
    session = host.eval("user_session(m, read_write=True)")
    assert host.eval(WRITE, s=session) == CKR.OK
    host.eval("m.set_pin(s, '123456', '654321')", s=session)
    assert host.eval(WRITE, s=session) == CKR.OK
    host.eval("(m.logout(s), m.login(s, '654321'))", s=session)
    assert host.eval(WRITE, s=session) == CKR.OK


@pytest.mark.needs("yubikit", "ykman")
def test_yubicos_software_finds_the_key_again(
    bare_simulator: Simulator, new_host: Callable[..., Any], yubikey: Callable[[Any], None]
) -> None:
    """After a change of the PIN by the module, where it has always looked; and the other way round."""
    yubikey(derive)
    host = new_host(bare_simulator)
    session = host.eval("user_session(m, read_write=True)")
    host.eval("(m.set_pin(s, '123456', '654321'), m.logout(s))", s=session)
    piv, yubico = open_session(bare_simulator), load("ykman.piv")
    salt = yubico.get_pivman_data(piv).salt
    piv.authenticate(yubico.derive_management_key("654321", salt))
    yubico.pivman_change_pin(piv, "654321", "111111")
    session = host.eval("m.open_session(0, True)")
    host.eval("m.login(s, '111111')", s=session)
    assert host.eval(WRITE, s=session) == CKR.OK
    assert salt not in (yubico.get_pivman_data(piv).salt, None)


def test_others_who_are_logged_in_write_on(
    bare_simulator: Simulator, token: Callable[..., Any], new_host: Callable[..., Any]
) -> None:
    """One application changes the PIN, and so the management key; the other's login is by the PIN before."""
    first, second = token(management="derived"), new_host(bare_simulator)
    sessions = [host.eval("user_session(m, read_write=True)") for host in (first, second)]
    first.eval("m.set_pin(s, '123456', '654321')", s=sessions[0])
    assert second.eval(WRITE, s=sessions[1]) == CKR.OK


def test_a_pin_that_the_card_does_not_take(token: Callable[..., Any]) -> None:
    """The management key is again what it was."""
    host = token(management="derived")
    session = host.eval("user_session(m, read_write=True)")
    assert host.eval("rv(lambda: m.set_pin(s, '123456', 'secret'))", s=session) == CKR.PIN_INVALID
    assert host.eval("rv(lambda: m.set_pin(s, '000000', '654321'))", s=session) == CKR.PIN_INCORRECT
    session = host.eval("(m.finalize(), m.initialize(), user_session(m, read_write=True))[-1]")
    assert host.eval(WRITE, s=session) == CKR.OK
    host.eval("m.set_pin(s, '123456', '654321')", s=session)
    assert host.eval(WRITE, s=session) == CKR.OK


def test_nobody_stays_verified_after_a_change_without_login(
    bare_simulator: Simulator, token: Callable[..., Any]
) -> None:
    host = token(management="derived")
    session = host.eval("m.open_session(0, True)")
    for new in ("654321", "secret"):
        host.eval("rv(lambda: m.set_pin(s, '123456', n))", s=session, n=new)
        last = [each for each in bare_simulator.testbed.trace.entries() if isinstance(each, ApduEntry)][-1]
        assert last.command[:4] == bytes.fromhex("0020FF80")
    assert host.eval(WRITE, s=session) == CKR.USER_NOT_LOGGED_IN


def test_the_so_makes_no_new_token_of_it(token: Callable[..., Any]) -> None:
    """Without the PIN the key would be lost, so nothing is begun."""
    host = token(management="derived")
    assert host.eval("rv(lambda: m.init_token(0, '12345678', 'new'))") == CKR.TOKEN_WRITE_PROTECTED
    assert host.eval("m.token_info(0)[-1]") & CKF.USER_PIN_INITIALIZED
    assert host.eval(WRITE, s=host.eval("user_session(m, read_write=True)")) == CKR.OK


class Pull:
    """Pulls the card before the n-th APDU from now, which is after the one before it."""

    def __init__(self, simulator: Simulator, left: int) -> None:
        self.has_come = False
        self._simulator, self._left = simulator, left

    def __call__(self, moment: Moment) -> None:
        if isinstance(moment, ApduMoment) and moment.when is When.BEFORE and not self.has_come:
            self.has_come = self._left == 0
            self._left -= 1
            if self.has_come:
                self._simulator.remove("front")


@pytest.mark.parametrize("policy", SECRETS)
def test_torn_while_the_key_is_changed(
    tmp_path: Path, bare_simulator: Simulator, new_host: Callable[..., Any], policy: str
) -> None:
    """At each APDU: the same change can be made again, or has been made; then the key is there, and so is the next."""
    user, old, new, next_ = SECRETS[policy]
    ready = ready_image(CardRequest(profile="blank", management=policy), paths.image_cache(), paths.test_ca())
    bare_simulator.plug("front")
    host = new_host(bare_simulator)
    change = "rv(lambda: m.set_pin(s, a, b))"
    write = WRITE if policy == "derived" else "rv(lambda: ec_pair(m, s, b'pair', PRIVATE=b'\\0'))"
    points = 0
    while True:
        copy = tmp_path / f"{points}.card"
        shutil.copy(ready, copy)
        bare_simulator.insert("front", copy)
        session = host.eval("(s := m.open_session(0, True), m.login(s, a, u))[0]", a=old, u=user)
        pull = Pull(bare_simulator, points)
        bare_simulator.testbed.watch(pull)
        value = host.eval(change, s=session, a=old, b=new)
        bare_simulator.testbed.unwatch(pull)
        if not pull.has_come:
            break
        assert value == CKR.DEVICE_REMOVED
        bare_simulator.insert("front", copy)
        session = host.eval("m.open_session(0, True)")
        if host.eval("rv(lambda: m.login(s, a, u))", s=session, a=new, u=user) != CKR.OK:
            host.eval("m.login(s, a, u)", s=session, a=old, u=user)
            assert host.eval(change, s=session, a=old, b=new) == CKR.OK
        assert host.eval(write, s=session) == CKR.OK
        assert host.eval(change, s=session, a=new, b=next_) == CKR.OK
        host.eval("(m.logout(s), m.login(s, a, u))", s=session, a=next_, u=user)
        assert host.eval(write, s=session) == CKR.OK
        bare_simulator.remove("front")
        points += 1
    assert value == CKR.OK
    assert points >= 4
