# SPDX-License-Identifier: MIT
"""Rules 38 to 46: the library in its host process, with and without a simulator."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest
from cardtear import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKO, CKP, CKR

from ..shared.host import probes
from ..shared.host.host import Host, NewHost
from ..shared.waiting import wait_until


class Served:
    """`cardtear serve` in a process of its own, that can be killed and started again on the same sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"CARDTEAR_SOCKET": str(folder / "p11.sock")}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "cardtear.lab.cli.main", "serve", "--folder", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def control(self) -> Control:
        return Control(self.folder / "control.sock")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "run")
    yield served
    served.kill()


def test_R38_initialize(simulator: Simulator, new_host: NewHost) -> None:
    """NULL, callbacks, both flags; twice is an error, and before it nothing works."""
    host = new_host(simulator, initialize=False)
    assert host.rv(Module.slots) == CKR.CRYPTOKI_NOT_INITIALIZED
    assert host.call(lambda m: m.call("C_GetInfo", m.ffi.new("CK_INFO *"))) == CKR.CRYPTOKI_NOT_INITIALIZED
    assert set(host.call(probes.session_function_values, 1).values()) == {int(CKR.CRYPTOKI_NOT_INITIALIZED)}
    assert host.call(lambda m: m.call("C_Finalize", m.ffi.NULL)) == CKR.CRYPTOKI_NOT_INITIALIZED
    assert host.call(lambda m: m.call("C_Initialize", m.ffi.NULL)) == CKR.OK
    assert host.rv(Module.initialize) == CKR.CRYPTOKI_ALREADY_INITIALIZED
    host.call(Module.finalize)
    for flags in (0, CKF.OS_LOCKING_OK, CKF.OS_LOCKING_OK | CKF.LIBRARY_CANT_CREATE_OS_THREADS):
        host.call(lambda m, f=int(flags): (m.initialize(flags=f), m.slots(), m.finalize()))
    assert host.call(lambda m: m.call("C_Finalize", m.ffi.cast("void *", 1))) in (
        CKR.ARGUMENTS_BAD,
        CKR.CRYPTOKI_NOT_INITIALIZED,
    )


def test_R38_junk_in_the_reserved_field(simulator: Simulator, new_host: NewHost) -> None:
    """A pointer to nowhere is refused, not followed; so is a string that means nothing."""
    host = new_host(simulator, initialize=False)
    assert host.call(lambda m: probes.initialize_with(m, m.ffi.cast("void *", 8))) == CKR.ARGUMENTS_BAD
    assert host.call(lambda m: probes.initialize_with(m, m.ffi.new("char[]", b"x=y"))) == CKR.ARGUMENTS_BAD
    host.call(Module.initialize, str(simulator.module_socket))
    assert host.call(Module.slots) == [0]


def test_R39_finalize_and_again(host: Host, user_session: int) -> None:
    """A clean state, and old handles stay dead."""
    host.call(lambda m: (m.finalize(), m.initialize()))
    assert host.rv(Module.session_state, user_session) == CKR.SESSION_HANDLE_INVALID
    assert host.call(Module.slots) == [0]
    assert host.call(lambda m: m.session_state(m.open_session(0))) == 0


def test_R40_death_without_finalize(simulator: Simulator, new_host: NewHost) -> None:
    """kill -9, also in the middle of a wait: the simulator forgets the application and its login."""
    host = new_host(simulator)
    host.call(probes.user_session)
    host.start(Module.wait_for_slot_event)
    assert len(simulator.status()["applications"]) == 1
    threads = threading.active_count()
    host.kill()
    wait_until(lambda: not simulator.status()["applications"])
    wait_until(lambda: threading.active_count() < threads)
    other = new_host(simulator)
    assert len(other.call(probes.sign_with, other.call(probes.user_session), b"\1")) == 256


def test_R40_unloading_without_finalize(simulator: Simulator, new_host: NewHost) -> None:
    """dlclose with open sessions neither hangs nor crashes."""
    host = new_host(simulator)
    host.call(lambda m: (probes.user_session(m), m.unload()))
    wait_until(lambda: not simulator.status()["applications"])


def test_R41_fork(simulator: Simulator, host: Host, user_session: int) -> None:
    """The child is uninitialised and may initialise itself; the parent goes on undisturbed, handles and login."""
    key = host.call(probes.key, user_session, b"\1")
    assert host.call(probes.fork_and, probes.child_uses_module, str(simulator.module_socket)) == 0
    assert len(host.call(probes.sign, user_session, key)) == 256


def test_R41_fork_safety_is_not_promised(host: Host) -> None:
    """C_GetInterface refuses the flag and serves without it, as the list of interfaces says."""
    assert host.call(probes.interface, None, None, CKF.INTERFACE_FORK_SAFE)[0] != CKR.OK
    assert host.call(probes.interface, None, None, 0)[0] == CKR.OK


def test_R42_function_lists(host: Host) -> None:
    """Each list is of the version that it says, and has no hole."""
    for name in (b"PKCS 11", None):
        assert host.call(probes.interface, name) == (CKR.OK, (3, 2), [])
        for version in ((2, 40), (3, 0), (3, 1), (3, 2)):
            assert host.call(probes.interface, name, version) == (CKR.OK, version, [])
    for name, version in ((b"Vendor NSS FIPS Interface", None), (b"PKCS 11", (9, 9))):
        assert host.call(probes.interface, name, version)[0] != CKR.OK


def test_R43_no_simulator(tmp_path: Path, new_host: NewHost) -> None:
    """C_Initialize is fine, there are no slots; when a simulator appears, its slots appear."""
    folder = tmp_path / "run"
    host = new_host(None, CARDTEAR_SOCKET=str(folder / "p11.sock"))
    assert host.call(Module.slots) == []
    assert host.rv(Module.wait_for_slot_event, block=False) == CKR.NO_EVENT
    waiting = host.start(Module.wait_for_slot_event)
    with Simulator(folder) as simulator:
        simulator.plug("front")
        simulator.insert("front")
        assert host.call(Module.slots) == [0]
        assert host.call(lambda m: m.token_info(0)[0]) == "Alice"
        simulator.remove("front")
        assert waiting.result(10) == 0


def test_R43_simulator_dies_between_calls(served: Served, new_host: NewHost) -> None:
    """That is a removal: slots stay, empty, sessions are dead; another simulator is found without C_Finalize."""
    host = new_host(None, environment=served.environment)
    with served.control() as control:
        control.do("plug", reader="second")
    assert host.call(Module.slots) == [0, 1]
    session = host.call(probes.user_session)
    host.call(probes.events)
    served.kill()
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    assert host.call(lambda m: (m.slots(), m.slots(True), m.is_present(0))) == ([0, 1], [], False)
    assert host.rv(Module.open_session, 0) == CKR.TOKEN_NOT_PRESENT
    assert host.call(probes.events) == [0]
    served.start()
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    assert host.call(Module.slots) == [0, 1]
    assert host.call(lambda m: (m.is_present(0), m.is_present(1))) == (True, False)
    assert host.call(probes.events) == [0]
    assert len(host.call(probes.sign_with, host.call(probes.user_session), b"\1")) == 256


@pytest.mark.timing
def test_R43_death_is_noticed_at_once(served: Served, new_host: NewHost) -> None:
    """No call waits for a simulator that has died, as for one that does not answer."""
    host = new_host(None, environment=served.environment)
    session = host.call(probes.user_session)
    served.kill()
    started = time.monotonic()
    assert host.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    assert not host.call(Module.is_present, 0)
    assert time.monotonic() - started < 5


def test_R43_simulator_dies_while_calls_are_under_way(served: Served, new_host: NewHost) -> None:
    """A waiter gets the event of the removal; nothing hangs."""
    host = new_host(None, environment=served.environment)
    host.call(Module.slots)
    waiting = host.start(Module.wait_for_slot_event)
    with served.control() as control:
        records = control.stream("trace", after=0)
        assert any(each.get("name") == "C_WaitForSlotEvent" for each in records)
    served.kill()
    assert waiting.result(10) == 0


def test_R44_threads_and_random_removal(simulator: Simulator, host: Host) -> None:
    """Eight threads while the card comes and goes: no hang, and only the return values of a removal.

    A card pulled between the count of a try and the comparison has lost that try: it gets so many that none runs out.
    """
    simulator.swap("front", CardRequest(profile="relaxed", pin_tries=15))
    working = host.start(probes.hammer, 100, 8, 1)
    chance = random.Random(1)
    while not working.done():
        simulator.remove("front")
        simulator.insert("front")
        wait([working], chance.random() * 0.02)
    allowed = {
        CKR.OK,
        CKR.DEVICE_REMOVED,
        CKR.SESSION_HANDLE_INVALID,
        CKR.TOKEN_NOT_PRESENT,
        CKR.USER_ALREADY_LOGGED_IN,
        CKR.USER_NOT_LOGGED_IN,
        CKR.OBJECT_HANDLE_INVALID,
        CKR.KEY_HANDLE_INVALID,
    }
    for function, values in working.result(60).items():
        assert set(values) <= allowed, function


def test_R45_text_fields(simulator: Simulator, host: Host) -> None:
    """Filled with blanks, without NUL; descriptions differ by slot, label and serial number by card."""
    simulator.plug("second")
    host.call(Module.slots)

    def described(m: Module, slot: int) -> list[bytes]:
        info = m.ffi.new("CK_SLOT_INFO *")
        m.check("C_GetSlotInfo", slot, info)
        return [bytes(info.slotDescription), bytes(info.manufacturerID)]

    fields = [host.call(described, slot) for slot in (0, 1)]
    assert fields[0][0] == b"front".ljust(64)
    assert fields[0][0] != fields[1][0]

    def token(m: Module) -> list[bytes]:
        info = m.ffi.new("CK_TOKEN_INFO *")
        m.check("C_GetTokenInfo", 0, info)
        return [bytes(field) for field in (info.label, info.manufacturerID, info.model, info.serialNumber)]

    for field in (*fields[0], *host.call(token)):
        assert b"\0" not in field
        assert field.strip()


def test_R46_random_mechanisms_profiles(host: Host, ro_session: int) -> None:
    """What is promised works: random numbers without login, a mechanism list, a search for profiles."""
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.RNG
    assert host.call(lambda m: m.random(ro_session) != m.random(ro_session))

    def count(m: Module) -> int:
        number = m.ffi.new("CK_ULONG *")
        m.check("C_GetMechanismList", 0, m.ffi.NULL, number)
        return int(number[0])

    assert host.call(count) > 20

    def profiles(m: Module) -> set[int]:
        found = m.find(ro_session, {CKA.CLASS: CKO.PROFILE})
        return {m.attribute(ro_session, profile, CKA.PROFILE_ID)[0] for profile in found}

    assert CKP.PUBLIC_CERTIFICATES_TOKEN in host.call(profiles)


def test_every_rule_has_a_test() -> None:
    """R1 to R46."""
    names = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        names |= {int(number) for number in re.findall(r"def test_R(\d\d)_", file.read_text())}
    assert names == set(range(1, 47))
