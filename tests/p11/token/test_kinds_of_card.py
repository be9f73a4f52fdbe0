# SPDX-License-Identifier: MIT
"""The module with cards of every kind: another make, T=0, contactless, full, and shared with other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import INS
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKO, CKR
from cardtear.reader.trace import ApduEntry

from ...shared.host import probes
from ...shared.host.host import NewHost

KINDS: dict[str, dict[str, Any]] = {
    "yubikey": {"profile": "yubikey"},
    "yubikey without MOVE KEY": {"profile": "yubikey", "firmware": "5.4.3"},
    "by T=0": {"profile": "blank", "protocol": "t0"},
    "by T=1": {"profile": "blank", "protocol": "t1"},
    "global PIN": {"profile": "blank", "global_pin": "111111"},
    "all objects": {"profile": "blank", "objects": "full"},
    "AES-256": {"profile": "blank", "management_algorithm": "aes256"},
    "3DES": {"profile": "blank", "management_algorithm": "tdes"},
}
MANAGER, PIV = (bytes.fromhex(f"00A4040005{provider}00") for provider in ("A000000151", "A000000308"))
CERTIFICATES: dict[int, int | bytes] = {CKA.CLASS: CKO.CERTIFICATE}


def transmit(simulator: Simulator, command: bytes) -> bytes:
    """What another program sends."""
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    return insertion.transmit(command)


@pytest.mark.parametrize("kind", KINDS)
def test_written_and_used(token: Callable[..., Any], kind: str) -> None:
    host = token(**KINDS[kind])
    session = host.call(probes.user_session, read_write=True)
    host.call(probes.data, session, b"note")
    public, private = host.call(probes.ec_pair, session, b"pair")
    signature = host.call(probes.ecdsa, session, private)
    assert host.call(probes.verifies, session, public, signature) == CKR.OK


def test_a_card_that_does_not_tell_of_its_keys(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """Before GET METADATA there was: no key is made where one may be that nobody sees, data are written."""
    host = token(profile="yubikey", firmware="5.2.7")
    session = host.call(probes.user_session, read_write=True)
    assert host.rv(probes.ec_pair, session, b"pair") == CKR.FUNCTION_FAILED
    sent = [each for each in bare_simulator.testbed.trace.entries() if isinstance(each, ApduEntry)]
    assert not any(each.command[1] == INS.GENERATE_ASYMMETRIC_KEY_PAIR for each in sent)
    host.call(probes.data, session, b"note")
    assert host.call(probes.objects, session)


@pytest.mark.parametrize("parameters", [{"compressed": True}, {"compressed": True, "protocol": "t0"}])
def test_compressed_certificates(token: Callable[..., Any], parameters: dict[str, Any]) -> None:
    host = token(profile="piv-ec", **parameters)
    session = host.call(Module.open_session, 0)
    assert len(host.call(Module.find, session, CERTIFICATES)) == 4


def test_everything(token: Callable[..., Any]) -> None:
    host = token(profile="piv-full")
    session = host.call(probes.user_session, read_write=True)
    assert len(host.call(Module.find, session, CERTIFICATES)) == 24
    assert len(host.call(probes.sign_with, session, b"\5")) == 256


def test_a_card_without_chuid_has_its_makers_number(token: Callable[..., Any]) -> None:
    host = token(profile="yubikey", serial="BC614E")
    assert "12345678" in str(host.call(Module.token_info, 0))


def test_contactless(bare_simulator: Simulator, new_host: NewHost) -> None:
    """The certificate for card authentication is all there is, and nobody logs in."""
    bare_simulator.plug("front", contactless=True)
    bare_simulator.insert("front", CardRequest("piv-ec"))
    host = new_host(bare_simulator)
    session = host.call(Module.open_session, 0)
    assert len(host.call(Module.find, session, CERTIFICATES)) == 1
    assert host.rv(Module.login, session) == CKR.FUNCTION_FAILED
    bare_simulator.remove("front")
    assert host.rv(Module.login, session) == CKR.SESSION_HANDLE_INVALID


def test_another_program_selects_another_application(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """The module finds its own again; what the PIN had opened is closed (SP 800-73-5 part 2, 3.1.1)."""
    host = token(profile="piv-ec")
    session = host.call(probes.user_session, read_write=True)
    key = host.call(probes.key, session, b"\1")
    host.call(probes.ecdsa, session, key)
    assert transmit(bare_simulator, MANAGER).endswith(b"\x90\x00")
    assert host.rv(probes.ecdsa, session, key) == CKR.USER_NOT_LOGGED_IN
    assert transmit(bare_simulator, MANAGER).endswith(b"\x90\x00")
    assert len(host.call(Module.find, session, CERTIFICATES)) == 4
    host.rv(Module.check, "C_Logout", session)
    host.call(Module.login, session)
    host.call(lambda m: probes.ecdsa(m, session, probes.key(m, session, b"\1")))
    host.call(probes.ec_pair, session, b"pair")


def test_torn_while_the_application_is_found_again(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    host = token(profile="piv-ec")
    session = host.call(probes.user_session, read_write=True)
    key = host.call(probes.key, session, b"\1")
    assert transmit(bare_simulator, MANAGER).endswith(b"\x90\x00")
    bare_simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xA4))
    assert host.rv(probes.ecdsa, session, key) == CKR.DEVICE_REMOVED
    bare_simulator.insert("front", CardRequest("piv-ec"))
    again = host.call(probes.user_session)
    host.call(lambda m: probes.ecdsa(m, again, probes.key(m, again, b"\1")))


@pytest.mark.parametrize("nth", [1, 2])
def test_torn_while_an_answer_is_fetched_by_the_byte_protocol(
    bare_simulator: Simulator, token: Callable[..., Any], nth: int
) -> None:
    """By T=0 the answer of a signature is fetched by GET RESPONSE, here in two parts."""
    host = token(profile="piv", protocol="t0")
    session = host.call(probes.user_session)
    key = host.call(probes.key, session, b"\1")
    host.call(probes.sign, session, key)
    bare_simulator.arm(Trigger("remove", {"reader": "front"}, ins=0xC0, nth=nth))
    assert host.rv(probes.sign, session, key) == CKR.DEVICE_REMOVED
    bare_simulator.insert("front", CardRequest("piv", protocol="t0"))
    again = host.call(probes.user_session)
    assert len(host.call(probes.sign_with, again, b"\1")) == 256


def test_another_program_makes_a_new_card_of_it(bare_simulator: Simulator, token: Callable[..., Any]) -> None:
    """Yubico's RESET: the keys are gone, and the PIN is the well-known one again."""
    host = token(profile="yubikey", pin="654321")
    session = host.call(Module.open_session, 0, True)
    host.call(Module.login, session, "654321")
    host.call(probes.ec_pair, session, b"pair")
    transmit(bare_simulator, PIV)
    for command in ["0020008008303030303030FFFF"] * 3 + ["002C0080103030303030303030303030303030FFFF"] * 3:
        assert transmit(bare_simulator, bytes.fromhex(command))[0] == 0x63
    assert transmit(bare_simulator, bytes.fromhex("00FB0000")) == b"\x90\x00"
    assert host.call(Module.find, session, {}) == []
    host.rv(Module.check, "C_Logout", session)
    host.call(Module.login, session, "123456")
    host.call(probes.ec_pair, session, b"pair")
