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
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.p11.constants import CKF, CKR
from cardtear.reader.events import When
from cardtear.reader.reader import ApduMoment, Moment
from cardtear.reader.trace import ApduEntry

from ...shared.host import probes
from ...shared.host.host import NewHost

WELL_KNOWN = bytes.fromhex("010203040506070801020304050607080102030405060708")


def write(m: Module, session: int) -> None:
    """A new key pair, for which the management key is needed."""
    probes.ec_pair(m, session, b"pair")


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
    bare_simulator: Simulator, new_host: NewHost, yubikey: Callable[[Any], None], keep: Any
) -> None:
    """Everybody could write, now only the user can; also when the card has been away, and with another PIN."""
    host = new_host(bare_simulator)
    session = host.call(Module.open_session, 0, True)

    def public(m: Module, s: int) -> Any:
        return probes.ec_pair(m, s, b"pair", PRIVATE=b"\x00")

    assert host.rv(public, s=session) == CKR.OK
    yubikey(keep)
    session = host.call(Module.open_session, 0, True)
    assert host.rv(public, s=session) == CKR.USER_NOT_LOGGED_IN
    host.call(Module.login, session)
    assert host.rv(write, session) == CKR.OK
    insertion = bare_simulator.testbed.reader("front").insertion
    assert insertion is not None
    bare_simulator.remove("front")
    bare_simulator.insert("front", insertion.card)
    session = host.call(probes.user_session, read_write=True)
    assert host.rv(write, session) == CKR.OK
    host.call(Module.set_pin, session, "123456", "654321")
    assert host.rv(write, session) == CKR.OK
    host.call(lambda m: (m.logout(session), m.login(session, "654321")))
    assert host.rv(write, session) == CKR.OK


@pytest.mark.needs("yubikit", "ykman")
def test_yubicos_software_finds_the_key_again(
    bare_simulator: Simulator, new_host: NewHost, yubikey: Callable[[Any], None]
) -> None:
    """After a change of the PIN by the module, where it has always looked; and the other way round."""
    yubikey(derive)
    host = new_host(bare_simulator)
    session = host.call(probes.user_session, read_write=True)
    host.call(lambda m: (m.set_pin(session, "123456", "654321"), m.logout(session)))
    piv, yubico = open_session(bare_simulator), load("ykman.piv")
    salt = yubico.get_pivman_data(piv).salt
    piv.authenticate(yubico.derive_management_key("654321", salt))
    yubico.pivman_change_pin(piv, "654321", "111111")
    session = host.call(Module.open_session, 0, True)
    host.call(Module.login, session, "111111")
    assert host.rv(write, session) == CKR.OK
    assert salt not in (yubico.get_pivman_data(piv).salt, None)


def test_others_who_are_logged_in_write_on(
    bare_simulator: Simulator, token: Callable[..., Any], new_host: NewHost
) -> None:
    """One application changes the PIN, and so the management key; the other's login is by the PIN before."""
    first, second = token(management="derived"), new_host(bare_simulator)
    sessions = [host.call(probes.user_session, read_write=True) for host in (first, second)]
    first.call(Module.set_pin, sessions[0], "123456", "654321")
    assert second.rv(write, sessions[1]) == CKR.OK


def test_a_pin_that_the_card_does_not_take(token: Callable[..., Any]) -> None:
    """The management key is again what it was."""
    host = token(management="derived")
    session = host.call(probes.user_session, read_write=True)
    assert host.rv(Module.set_pin, session, "123456", "secret") == CKR.PIN_INVALID
    assert host.rv(Module.set_pin, session, "000000", "654321") == CKR.PIN_INCORRECT
    session = host.call(lambda m: (m.finalize(), m.initialize(), probes.user_session(m, read_write=True))[-1])
    assert host.rv(write, session) == CKR.OK
    host.call(Module.set_pin, session, "123456", "654321")
    assert host.rv(write, session) == CKR.OK


def test_nobody_stays_verified_after_a_change_without_login(
    bare_simulator: Simulator, token: Callable[..., Any]
) -> None:
    host = token(management="derived")
    session = host.call(Module.open_session, 0, True)
    for new in ("654321", "secret"):
        host.rv(Module.set_pin, session, "123456", new)
        last = [each for each in bare_simulator.testbed.trace.entries() if isinstance(each, ApduEntry)][-1]
        assert last.command[:4] == bytes.fromhex("0020FF80")
    assert host.rv(write, session) == CKR.USER_NOT_LOGGED_IN


def test_the_so_makes_no_new_token_of_it(token: Callable[..., Any]) -> None:
    """Without the PIN the key would be lost, so nothing is begun."""
    host = token(management="derived")
    assert host.rv(Module.init_token, 0, "12345678", "new") == CKR.TOKEN_WRITE_PROTECTED
    assert host.call(lambda m: m.token_info(0)[-1]) & CKF.USER_PIN_INITIALIZED
    assert host.rv(write, host.call(probes.user_session, read_write=True)) == CKR.OK


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
    tmp_path: Path, bare_simulator: Simulator, new_host: NewHost, policy: str
) -> None:
    """At each APDU: the same change can be made again, or has been made; then the key is there, and so is the next."""
    user, old, new, next_ = SECRETS[policy]
    ready = ready_image(CardRequest(profile="blank", management=policy), paths.image_cache(), paths.test_ca())
    bare_simulator.plug("front")
    host = new_host(bare_simulator)

    private = {} if policy == "derived" else {"PRIVATE": b"\0"}

    def write_pair(m: Module, session: int) -> None:
        probes.ec_pair(m, session, b"pair", **private)

    points = 0
    while True:
        copy = tmp_path / f"{points}.card"
        shutil.copy(ready, copy)
        bare_simulator.insert("front", copy)
        session = host.call(Module.open_session, 0, True)
        host.call(Module.login, session, old, user)
        pull = Pull(bare_simulator, points)
        bare_simulator.testbed.watch(pull)
        value = host.rv(Module.set_pin, session, old, new)
        bare_simulator.testbed.unwatch(pull)
        if not pull.has_come:
            break
        assert value == CKR.DEVICE_REMOVED
        bare_simulator.insert("front", copy)
        session = host.call(Module.open_session, 0, True)
        if host.rv(Module.login, session, new, user) != CKR.OK:
            host.call(Module.login, session, old, user)
            assert host.rv(Module.set_pin, session, old, new) == CKR.OK
        assert host.rv(write_pair, session) == CKR.OK
        assert host.rv(Module.set_pin, session, new, next_) == CKR.OK
        host.call(Module.logout, session)
        host.call(Module.login, session, next_, user)
        assert host.rv(write_pair, session) == CKR.OK
        bare_simulator.remove("front")
        points += 1
    assert value == CKR.OK
    assert points >= 4
