# SPDX-License-Identifier: MIT
"""A card that is disturbed once while it is read: the call says so, and nothing of it is remembered."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.tables import INS
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKO, CKR, CKS
from cardtear.reader.events import When

from ...shared.host import probes
from ...shared.host.host import Host, NewHost

READS = {"GET DATA": INS.GET_DATA, "GET METADATA": INS.GET_METADATA}


def seen_by(m: Module, session: int) -> tuple[str, list[bytes]]:
    """The token's label, and those of all objects."""
    return m.token_info(0)[0], sorted(m.attribute(session, each, CKA.LABEL) for each in m.find(session))


@pytest.fixture
def undisturbed(simulator: Simulator, new_host: NewHost) -> Any:
    """What another application sees of the card before anything happens; then the card is put in anew."""
    other = new_host(simulator)
    seen = other.call(seen_by, other.call(probes.user_session))
    other.close()
    simulator.insert("front", simulator.remove("front"))
    return seen


def look(host: Host) -> Any:
    """What a user sees who has just logged in."""
    host.call(Module.finalize)
    host.call(Module.initialize)
    return host.call(seen_by, host.call(probes.user_session))


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 9])
def test_a_card_that_fails_once(simulator: Simulator, undisturbed: Any, host: Host, name: str, nth: int) -> None:
    """6F00 is no word on whether the object is there."""
    trigger = Trigger("answer", {"status": 0x6F00}, ins=READS[name], nth=nth)
    simulator.arm(trigger)
    assert host.rv(lambda m: seen_by(m, probes.user_session(m))) == CKR.DEVICE_ERROR
    assert trigger.fired == 1
    assert look(host) == undisturbed


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 9])
def test_a_reset_before_a_read(simulator: Simulator, undisturbed: Any, host: Host, name: str, nth: int) -> None:
    """Nothing is selected any more: it is selected again, and read again. Only the login is lost."""
    trigger = Trigger("reset", {"reader": "front"}, ins=READS[name], nth=nth)
    simulator.arm(trigger)
    label, _ = host.call(seen_by, host.call(Module.open_session, 0))
    assert trigger.fired == 1
    assert label == undisturbed[0]
    assert look(host) == undisturbed


def test_a_card_that_is_reset_for_ever(simulator: Simulator, host: Host) -> None:
    """An error, no hang."""
    simulator.arm(Trigger("reset", {"reader": "front"}, ins=INS.GET_DATA, times=None))
    assert host.call(lambda m: m.call("C_GetTokenInfo", 0, m.ffi.new("CK_TOKEN_INFO *"))) == CKR.DEVICE_ERROR


def test_nothing_is_lost_by_a_write_after_it(simulator: Simulator, host: Host) -> None:
    """The list of what is on the card is not begun anew because it could not be read."""

    def make(m: Module, s: int, name: Any) -> Any:
        return m.create(s, {CKA.CLASS: CKO.DATA, CKA.TOKEN: b"\1", CKA.LABEL: name, CKA.VALUE: b"value"})

    assert host.rv(make, s=host.call(probes.user_session, read_write=True), name=b"first") == CKR.OK
    values: list[int] = []
    fired = 0
    for nth in range(1, 61, 4):
        simulator.insert("front", simulator.remove("front"))
        session = host.call(probes.user_session, read_write=True)
        trigger = Trigger("answer", {"status": 0x6F00}, ins=INS.GET_DATA, nth=nth)
        number = simulator.arm(trigger)
        values.append(host.rv(make, s=session, name=b"another"))
        simulator.disarm(number)
        fired += trigger.fired
    assert fired
    assert set(values) <= {CKR.OK, CKR.DEVICE_ERROR}

    def find(m: Module, s: int) -> Any:
        return [m.attribute(s, each, CKA.LABEL) for each in m.find(s, {CKA.CLASS: CKO.DATA})]

    labels = host.call(find, s=session)
    assert labels.count(b"first") == 1
    assert labels.count(b"another") == values.count(CKR.OK)


@pytest.mark.parametrize("verb", ["reset", "logout"])
@pytest.mark.parametrize(
    ("ins", "nth"), [(INS.GET_DATA, 1), (INS.GENERAL_AUTHENTICATE, 1), (INS.GENERAL_AUTHENTICATE, 2)]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_user_is_lost_while_the_right_to_write_is_proved(
    simulator: Simulator, host: Host, verb: str, ins: int, nth: int, when: str
) -> None:
    """Then he is not logged in, which is no word on whether the card may be written; after a login it may."""

    def make(m: Module, s: int) -> Any:
        return m.create(s, {CKA.CLASS: CKO.DATA, CKA.TOKEN: b"\1", CKA.VALUE: b"value"})

    session = host.call(probes.user_session, read_write=True)
    trigger = Trigger(verb, {"reader": "front"}, ins=ins, nth=nth, when=When(when))
    simulator.arm(trigger)
    assert host.rv(make, s=session) in (CKR.USER_NOT_LOGGED_IN, CKR.OK)
    assert trigger.fired == 1
    assert host.call(Module.session_state, session) == CKS.RW_PUBLIC_SESSION
    host.call(Module.login, session)
    assert host.rv(make, s=session) == CKR.OK
