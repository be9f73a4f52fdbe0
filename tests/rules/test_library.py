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
from pathlib import Path
from typing import Any

import pytest
from cardtear import CardRequest
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKF, CKR


def value_of(host: Any, expression: str, deadline: float = 20, **names: Any) -> int:
    """The CK_RV of an expression that may fail."""
    return int(host.eval(f"rv(lambda: {expression})", deadline, **names))


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


def test_R38_initialize(simulator: Simulator, new_host: Any) -> None:
    """NULL, callbacks, both flags; twice is an error, and before it nothing works."""
    host = new_host(simulator, initialize=False)
    assert value_of(host, "m.slots()") == CKR.CRYPTOKI_NOT_INITIALIZED
    assert host.eval("m.call('C_GetInfo', m.ffi.new('CK_INFO *'))") == CKR.CRYPTOKI_NOT_INITIALIZED
    assert set(host.eval("session_function_values(m, 1)").values()) == {int(CKR.CRYPTOKI_NOT_INITIALIZED)}
    assert host.eval("m.call('C_Finalize', m.ffi.NULL)") == CKR.CRYPTOKI_NOT_INITIALIZED
    assert host.eval("m.call('C_Initialize', m.ffi.NULL)") == CKR.OK
    assert value_of(host, "m.initialize()") == CKR.CRYPTOKI_ALREADY_INITIALIZED
    host.eval("m.finalize()")
    for flags in (0, CKF.OS_LOCKING_OK, CKF.OS_LOCKING_OK | CKF.LIBRARY_CANT_CREATE_OS_THREADS):
        host.eval("(m.initialize(flags=f), m.slots(), m.finalize())", f=int(flags))
    assert host.eval("m.call('C_Finalize', m.ffi.cast('void *', 1))") in (
        CKR.ARGUMENTS_BAD,
        CKR.CRYPTOKI_NOT_INITIALIZED,
    )


def test_R38_junk_in_the_reserved_field(simulator: Simulator, new_host: Any) -> None:
    """A pointer to nowhere is refused, not followed; so is a string that means nothing."""
    host = new_host(simulator, initialize=False)
    assert host.eval("initialize_with(m, m.ffi.cast('void *', 8))") == CKR.ARGUMENTS_BAD
    assert host.eval("initialize_with(m, m.ffi.new('char[]', b'x=y'))") == CKR.ARGUMENTS_BAD
    host.eval("m.initialize(s)", s=str(simulator.module_socket))
    assert host.eval("m.slots()") == [0]


def test_R39_finalize_and_again(host: Any, user_session: int) -> None:
    """A clean state, and old handles stay dead."""
    host.eval("(m.finalize(), m.initialize())")
    assert value_of(host, "m.session_state(s)", s=user_session) == CKR.SESSION_HANDLE_INVALID
    assert host.eval("m.slots()") == [0]
    assert host.eval("m.session_state(m.open_session(0))") == 0


def test_R40_death_without_finalize(simulator: Simulator, new_host: Any) -> None:
    """kill -9, also in the middle of a wait: the simulator forgets the application and its login."""
    host = new_host(simulator)
    host.eval("user_session(m)")
    host.start("m.wait_for_slot_event()")
    assert len(simulator.status()["applications"]) == 1
    threads = threading.active_count()
    host.kill()
    end = time.monotonic() + 10
    while simulator.status()["applications"]:
        assert time.monotonic() < end
        time.sleep(0.01)
    while threading.active_count() >= threads:
        assert time.monotonic() < end
        time.sleep(0.01)
    other = new_host(simulator)
    assert len(other.eval("sign(m, s, key(m, s, b'\\1'))", s=other.eval("user_session(m)"))) == 256


def test_R40_unloading_without_finalize(simulator: Simulator, new_host: Any) -> None:
    """dlclose with open sessions neither hangs nor crashes."""
    host = new_host(simulator)
    host.eval("(user_session(m), m.unload())")
    end = time.monotonic() + 10
    while simulator.status()["applications"]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_R41_fork(simulator: Simulator, host: Any, user_session: int) -> None:
    """The child is uninitialised and may initialise itself; the parent goes on undisturbed, handles and login."""
    key = host.eval("key(m, s, b'\\1')", s=user_session)
    assert host.eval("fork_and(m, 'child_uses_module(m, s)', s=x)", x=str(simulator.module_socket)) == 0
    assert len(host.eval("sign(m, s, k)", s=user_session, k=key)) == 256


def test_R41_fork_safety_is_not_promised(host: Any) -> None:
    """C_GetInterface refuses the flag and serves without it, as the list of interfaces says."""
    assert host.eval("interface(m, None, None, CKF.INTERFACE_FORK_SAFE)")[0] != CKR.OK
    assert host.eval("interface(m, None, None, 0)")[0] == CKR.OK


def test_R42_function_lists(host: Any) -> None:
    """Each list is of the version that it says, and has no hole."""
    for name in (b"PKCS 11", None):
        assert host.eval("interface(m, n)", n=name) == (CKR.OK, (3, 2), [])
        for version in ((2, 40), (3, 0), (3, 1), (3, 2)):
            assert host.eval("interface(m, n, v)", n=name, v=version) == (CKR.OK, version, [])
    for name, version in ((b"Vendor NSS FIPS Interface", None), (b"PKCS 11", (9, 9))):
        assert host.eval("interface(m, n, v)", n=name, v=version)[0] != CKR.OK


def test_R43_no_simulator(tmp_path: Path, new_host: Any) -> None:
    """C_Initialize is fine, there are no slots; when a simulator appears, its slots appear."""
    folder = tmp_path / "run"
    host = new_host(None, CARDTEAR_SOCKET=str(folder / "p11.sock"))
    assert host.eval("m.slots()") == []
    assert value_of(host, "m.wait_for_slot_event(block=False)") == CKR.NO_EVENT
    waiting = host.start("m.wait_for_slot_event()")
    with Simulator(folder) as simulator:
        simulator.plug("front")
        simulator.insert("front")
        assert host.eval("m.slots()") == [0]
        assert host.eval("m.token_info(0)[0]") == "Alice"
        simulator.remove("front")
        assert waiting.result(10) == 0


def test_R43_simulator_dies_between_calls(served: Served, new_host: Any) -> None:
    """That is a removal: slots stay, empty, sessions are dead; another simulator is found without C_Finalize."""
    host = new_host(None, **served.environment)
    with served.control() as control:
        control.do("plug", reader="second")
    assert host.eval("m.slots()") == [0, 1]
    session = host.eval("user_session(m)")
    host.eval("events(m)")
    served.kill()
    started = time.monotonic()
    assert value_of(host, "m.session_state(s)", s=session) == CKR.SESSION_HANDLE_INVALID
    assert host.eval("(m.slots(), m.slots(True), m.is_present(0))") == ([0, 1], [], False)
    assert value_of(host, "m.open_session(0)") == CKR.TOKEN_NOT_PRESENT
    assert host.eval("events(m)") == [0]
    assert time.monotonic() - started < 5
    served.start()
    assert value_of(host, "m.session_state(s)", s=session) == CKR.SESSION_HANDLE_INVALID
    assert host.eval("m.slots()") == [0, 1]
    assert host.eval("(m.is_present(0), m.is_present(1))") == (True, False)
    assert host.eval("events(m)") == [0]
    assert len(host.eval("sign(m, s, key(m, s, b'\\1'))", s=host.eval("user_session(m)"))) == 256


def test_R43_simulator_dies_while_calls_are_under_way(served: Served, new_host: Any) -> None:
    """A waiter gets the event of the removal; nothing hangs."""
    host = new_host(None, **served.environment)
    host.eval("m.slots()")
    waiting = host.start("m.wait_for_slot_event()")
    with served.control() as control:
        records = control.stream("trace", after=0)
        assert any(each.get("name") == "C_WaitForSlotEvent" for each in records)
    served.kill()
    assert waiting.result(10) == 0


def test_R44_threads_and_random_removal(simulator: Simulator, host: Any) -> None:
    """Eight threads while the card comes and goes: no hang, and only the return values of a removal.

    A card pulled between the count of a try and the comparison has lost that try: it gets so many that none runs out.
    """
    simulator.swap("front", CardRequest(profile="relaxed", pin_tries=15))
    working = host.start("hammer(m, 4, 8, 1)")
    chance = random.Random(1)
    while not working.done():
        simulator.remove("front")
        simulator.insert("front")
        working_on = threading.Event()
        working_on.wait(chance.random() * 0.02)
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
    for function, values in working.result(30).items():
        assert set(values) <= allowed, function


def test_R45_text_fields(simulator: Simulator, host: Any) -> None:
    """Filled with blanks, without NUL; descriptions differ by slot, label and serial number by card."""
    simulator.plug("second")
    host.eval("m.slots()")
    info = "(lambda i: (m.check('C_GetSlotInfo', n, i), bytes(i.slotDescription), bytes(i.manufacturerID))[1:])"
    fields = [host.eval(f"{info}(m.ffi.new('CK_SLOT_INFO *'))", n=n) for n in (0, 1)]
    assert fields[0][0] == b"front".ljust(64)
    assert fields[0][0] != fields[1][0]
    token = (
        "(lambda i: (m.check('C_GetTokenInfo', 0, i), bytes(i.label), bytes(i.manufacturerID), bytes(i.model),"
        " bytes(i.serialNumber))[1:])(m.ffi.new('CK_TOKEN_INFO *'))"
    )
    for field in (*fields[0], *host.eval(token)):
        assert b"\0" not in field
        assert field.strip()


def test_R46_random_mechanisms_profiles(host: Any, ro_session: int) -> None:
    """What is promised works: random numbers without login, a mechanism list, a search for profiles."""
    assert host.eval("m.token_info(0)[2]") & CKF.RNG
    assert host.eval("m.random(s) != m.random(s)", s=ro_session)
    count = "(lambda n: (m.call('C_GetMechanismList', 0, m.ffi.NULL, n), n[0]))(m.ffi.new('CK_ULONG *'))"
    value, mechanisms = host.eval(count)
    assert value == CKR.OK
    assert mechanisms > 20
    profiles = "{m.attribute(s, p, CKA.PROFILE_ID)[0] for p in m.find(s, {CKA.CLASS: CKO.PROFILE})}"
    assert host.eval(f"CKP.PUBLIC_CERTIFICATES_TOKEN in {profiles}", s=ro_session)


def test_every_rule_has_a_test() -> None:
    """R1 to R46."""
    names = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        names |= {int(number) for number in re.findall(r"def test_R(\d\d)_", file.read_text())}
    assert names == set(range(1, 47))
