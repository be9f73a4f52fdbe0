# SPDX-License-Identifier: MIT
"""Sessions that end while the card stays: by the verb at every door, in the middle of calls, and by idleness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cardtear.lab.cli.main import app
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.client import Control, ControlFailure
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKF, CKR, CKS
from cardtear.p11.quirks import Quirks
from cardtear.reader.errors import ReaderEmpty
from typer.testing import CliRunner

from ...shared.host import probes
from ...shared.host.host import Host, NewHost
from ...shared.waiting import wait_until

FRONT = {"reader": "front"}
DEAD = {int(CKR.SESSION_HANDLE_INVALID)}
DEADLINE = 20.0
VERIFIED = bytes.fromhex("00200080")


def _card_says(simulator: Simulator) -> bytes:
    """To the question whether the PIN is verified."""
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    return insertion.transmit(VERIFIED)


def _cli(simulator: Simulator, *words: str) -> None:
    done = CliRunner().invoke(app, words, env={"CARDTEAR_CONTROL": str(simulator.control_socket)})
    assert done.exit_code == 0, done.output


def _in_python(simulator: Simulator) -> None:
    simulator.close_sessions("front")


def _on_the_channel(simulator: Simulator) -> None:
    with Control(simulator.control_socket) as control:
        assert control.do("close-sessions", reader="front") is None


def _on_the_command_line(simulator: Simulator) -> None:
    _cli(simulator, "close-sessions", "front")


def _armed_on_the_command_line(simulator: Simulator) -> None:
    _cli(simulator, "arm", "close-sessions", "front", "--signal", "now")
    _cli(simulator, "signal", "now")


def _in_the_plugin(simulator: Simulator) -> None:
    remote = RemoteSimulator(simulator.environment)
    remote.reader("front").close_sessions()
    remote.close()


DOORS = [_in_python, _on_the_channel, _on_the_command_line, _armed_on_the_command_line, _in_the_plugin]


@pytest.mark.parametrize("close", DOORS)
def test_every_session_of_every_program_ends_and_the_card_stays(
    simulator: Simulator, host: Host, user_session: int, new_host: NewHost, close: Callable[..., None]
) -> None:
    """Their login, operations and handles with them; the card forgets the PIN, and nothing is an event of the slot."""
    other = new_host(simulator)
    there = other.call(Module.open_session, 0)
    host.call(lambda m: m.sign_init(user_session, probes.key(m, user_session, b"\1")))
    assert _card_says(simulator) == b"\x90\x00"
    close(simulator)
    assert set(host.call(probes.session_function_values, user_session).values()) == DEAD
    assert other.rv(Module.session_state, there) == CKR.SESSION_HANDLE_INVALID
    assert _card_says(simulator)[:1] == b"\x63"
    assert host.call(probes.flags_of, 0) & CKF.TOKEN_PRESENT
    assert host.call(probes.events) == []
    again = host.call(Module.open_session, 0)
    assert again != user_session
    assert host.call(Module.session_state, again) == CKS.RO_PUBLIC_SESSION
    host.call(Module.login, again)
    assert len(host.call(probes.sign_with, again, b"\1")) == 256


@pytest.mark.parametrize(
    ("when", "value"),
    [("before", CKR.SESSION_HANDLE_INVALID), ("during", CKR.SESSION_CLOSED), ("after", CKR.OK)],
)
@pytest.mark.parametrize("call", ["C_Sign", "C_Login", "C_FindObjectsInit"])
def test_in_a_call(simulator: Simulator, host: Host, ro_session: int, call: str, when: str, value: CKR) -> None:
    """What the standard has for each side of it (5.1.2, 5.1.3); afterwards nobody is logged in to the card."""
    key = 0
    if call == "C_Sign":
        host.call(Module.login, ro_session)
        key = host.call(probes.key, ro_session, b"\1")
    else:
        simulator.reset("front")  # what has been read is read again
    simulator.arm(Trigger("close-sessions", FRONT, call=call, when=when))
    if call == "C_Sign":
        came = host.rv(probes.sign, ro_session, key)
    else:
        came = host.rv(Module.login if call == "C_Login" else Module.find, ro_session)
    if call == "C_FindObjectsInit" and when == "after":
        assert came == CKR.SESSION_HANDLE_INVALID, "of the call that follows it"
    else:
        assert came == value
    assert host.rv(Module.session_state, ro_session) == CKR.SESSION_HANDLE_INVALID
    assert _card_says(simulator) != b"\x90\x00"


def test_a_card_that_goes_meanwhile_is_gone(simulator: Simulator, host: Host, user_session: int) -> None:
    """The verb itself is torn, when it takes the PIN back."""
    simulator.arm(Trigger("remove", FRONT, ins=0x20))
    simulator.close_sessions("front")
    assert host.rv(Module.open_session, 0) == CKR.TOKEN_NOT_PRESENT
    with pytest.raises(ReaderEmpty):
        simulator.close_sessions("front")
    with Control(simulator.control_socket) as control, pytest.raises(ControlFailure, match="insert one first"):
        control.do("close-sessions", reader="front")


def test_another_programs_login_is_left_alone(simulator: Simulator, host: Host, ro_session: int) -> None:
    """Nobody of ours has given the PIN: it is not ours to take back."""
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    assert insertion.transmit(b"\x00\x20\x00\x80\x08123456\xff\xff") == b"\x90\x00"
    simulator.close_sessions("front")
    assert _card_says(simulator) == b"\x90\x00"


def test_without_a_program_and_after_a_crash(simulator: Simulator) -> None:
    simulator.close_sessions("front")
    simulator.crash()
    simulator.close_sessions("front")
    simulator.restart()


def test_idle_sessions_end_each_in_its_time(new_host: NewHost) -> None:
    """Not one in a call that takes long; the login ends with the last one, and the card stays."""
    with Simulator(quirks=Quirks.parse(["idle_timeout=1"])) as simulator:
        simulator.plug("front")
        simulator.insert("front")
        host = new_host(simulator)
        idle = host.call(Module.open_session, 0)
        simulator.arm(Trigger("hang", {"gate": "pin"}, ins=0x20))
        login = host.start(probes.user_session)
        (application,) = simulator.applications
        wait_until(lambda: list(application.sessions) and idle not in application.sessions)
        simulator.release("pin")
        used = login.result(DEADLINE)
        with Control(simulator.control_socket) as control:
            control.limit(DEADLINE)
            records = control.stream("trace", after=0)
            next(each for each in records if each["kind"] == "apdu" and each["command"].startswith("0020FF80"))
        assert _card_says(simulator)[:1] == b"\x63"
        assert host.rv(Module.session_state, used) == CKR.SESSION_HANDLE_INVALID
        assert host.call(probes.flags_of, 0) & CKF.TOKEN_PRESENT
