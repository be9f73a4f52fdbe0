# SPDX-License-Identifier: MIT
"""Rule 43 as a whole: the simulator may die between any two calls, whatever the application knows of the slots."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKR
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..shared.host import probes
from ..shared.host.host import Host, NewHost
from ..shared.waiting import wait_until

DEADLINE = 20.0
MANY = 1100


class Served:
    """`cardtear serve` without a reader, in a process of its own that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "cardtear.lab.cli.main", "serve", "--folder", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def do(self, *verbs: tuple[str, str]) -> None:
        with Control(self.folder / "control.sock") as control:
            for verb, reader in verbs:
                control.do(verb, reader=reader)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "run")
    served.do(("unplug", "front"))
    yield served
    served.process.kill()


@pytest.fixture
def application(served: Served, new_host: NewHost) -> Any:
    """A host that has listed the slots and asked for each; it has been told of all events."""
    served.do(("plug", "a"), ("plug", "b"))
    host = new_host(None, CARDTEAR_SOCKET=str(served.folder / "p11.sock"))
    host.call(lambda m: [m.slot_info(slot) for slot in m.slots()])
    host.call(probes.events)
    return host


def number_of(host: Host, reader: str) -> int:
    """The slot of that description."""
    return int(host.call(lambda m: next(slot for slot in m.slots() if m.slot_info(slot)[0] == reader)))


@pytest.mark.parametrize("stopped", [False, True])
def test_R43_a_card_that_came_after_the_last_look(
    served: Served, application: Any, new_host: NewHost, impatient: Path, stopped: bool
) -> None:
    """Its insertion has been told, it has not been looked at, and then it goes with the simulator."""
    host = application
    if stopped:
        host = new_host(None, library=impatient, CARDTEAR_SOCKET=str(served.folder / "p11.sock"))
        host.call(lambda m: [m.slot_info(slot) for slot in m.slots()])
    slot = number_of(host, "b")
    served.do(("insert", "b"))
    assert host.call(probes.events) == [slot]
    waiting = host.start(Module.wait_for_slot_event)
    if stopped:
        served.process.send_signal(signal.SIGSTOP)
    else:
        served.kill()
    assert waiting.result(DEADLINE) == slot
    assert host.start(probes.events).result(DEADLINE) == []
    assert host.start(lambda m: (m.is_present(slot), m.slots(True))).result(DEADLINE) == (False, [])


@pytest.mark.parametrize("away", [False, True])
def test_R43_another_simulator_at_once_with_other_readers(served: Served, application: Any, away: bool) -> None:
    """Also while a call is under way on the old one: numbers stay, and what went and what came are events."""
    a, b = number_of(application, "a"), number_of(application, "b")
    served.do(("insert", "a"))
    assert application.call(probes.events) == [a]
    session = application.call(Module.open_session, a)
    waiting = application.start(lambda m: (m.wait_for_slot_event(), probes.events(m)))
    served.kill()
    if away:
        assert waiting.result(DEADLINE) == (a, [])
    served.start()
    served.do(("unplug", "front"), ("plug", "c"), ("insert", "c"))
    new = number_of(application, "c")
    assert new not in (a, b)
    assert (number_of(application, "a"), number_of(application, "b")) == (a, b)
    told = set(application.call(probes.events))
    if not away:
        first, more = waiting.result(DEADLINE)
        told |= {first, *more}
    assert told >= ({new} if away else {a, new})
    assert b not in told
    assert application.call(lambda m: [m.is_present(n) for n in (a, b, new)]) == [False, False, True]
    assert application.rv(Module.session_state, session) == CKR.SESSION_HANDLE_INVALID
    application.call(lambda m: m.close_session(m.open_session(new)))


@pytest.mark.parametrize("after", [0, 3, 25])
def test_R43_killed_while_events_come(served: Served, application: Any, after: int) -> None:
    """At any moment between two changes and two calls: whoever waits comes back, and the slot is empty.

    Changes that nobody has waited for yet are one event, so how many there will be depends on who is faster.
    """
    served.do(("insert", "a"))
    waiting = application.start(lambda m: (m.wait_for_slot_event(), m.wait_for_slot_event(), m.wait_for_slot_event()))
    with Control(served.folder / "control.sock") as control:
        for _ in range(after):
            control.do("remove", reader="a")
            control.do("insert", reader="a")
    served.kill()
    assert not application.call(Module.is_present, number_of(application, "a"))
    served.start()
    with Control(served.folder / "control.sock") as control:
        control.do("plug", reader="a")

        def is_done_after_changes() -> bool:
            control.do("insert", reader="a", card={"profile": "blank"})
            control.do("remove", reader="a")
            return waiting.done()

        wait_until(is_done_after_changes)
    waiting.result(DEADLINE)


def test_R43_more_readers_than_anybody_has(bare_simulator: Simulator, new_host: NewHost) -> None:
    """All slots stay, with their numbers, also at the next simulator; the last one's card is an event, too."""
    for number in range(MANY):
        bare_simulator.plug(f"reader {number}")
    host = new_host(bare_simulator)
    slots = host.call(Module.slots)
    assert len(slots) == MANY
    last = number_of(host, f"reader {MANY - 1}")
    bare_simulator.insert(f"reader {MANY - 1}")
    assert host.call(probes.events) == [last]
    bare_simulator.crash()
    assert host.call(lambda m: (m.slots(), m.slots(True))) == (slots, [])
    assert host.call(probes.events) == [last]
    assert host.call(lambda m: m.slot_info(last)[0]) == f"reader {MANY - 1}"
    bare_simulator.restart()
    assert host.call(lambda m: (m.slots(), m.slots(True))) == (slots, [last])
    assert host.call(probes.events) == [last]


# Any sequence, against a model of what has to be told

READERS = ("a", "b", "c")
CHANGES = st.tuples(st.sampled_from(["plug", "unplug", "insert", "remove"]), st.sampled_from(READERS))


def look(m: Module, what: str) -> None:
    """List slots, tell of each, take all events, or list those with a card."""
    if what == "events":
        probes.events(m)
    for slot in m.slots(what == "present"):
        if what == "infos":
            m.slot_info(slot)


LOOKS = st.sampled_from(["slots", "infos", "events", "present"])


class Model:
    """The readers, what is in them, and of which the application has still to be told."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.plugged: dict[str, bool] = {}
        self.known: set[str] = set()
        self.pending: set[str] = set()
        self.is_heard = True

    def change(self, verb: str, reader: str) -> None:
        """Make a change that is possible now."""
        is_plugged, is_present = reader in self.plugged, self.plugged.get(reader, False)
        possible = {
            "plug": not is_plugged,
            "unplug": is_plugged,
            "insert": is_plugged and not is_present,
            "remove": is_present,
        }
        if not possible[verb]:
            return
        if verb == "insert":
            self.simulator.insert(reader, CardRequest("blank", name=reader))
        else:
            getattr(self.simulator, verb)(reader)
        if verb == "unplug":
            del self.plugged[reader]
        else:
            self.plugged[reader] = verb == "insert"
        if self.is_heard:
            self.known.add(reader)
            self.pending.add(reader)

    def die(self) -> None:
        self.simulator.crash()
        self.is_heard = False
        self.pending |= {reader for reader, is_present in self.plugged.items() if is_present}

    def come_back(self) -> None:
        self.simulator.restart()
        self.is_heard = True
        self.pending |= {reader for reader, present in self.plugged.items() if present or reader not in self.known}
        self.known |= self.plugged.keys()


def events(host: Host, blocking: bool, expected: set[str]) -> set[str]:
    """What C_WaitForSlotEvent says, by readers; a blocking call comes first, if there has to be an event."""
    first = [host.start(Module.wait_for_slot_event).result(DEADLINE)] if blocking and expected else []
    names = dict(host.call(lambda m: [(slot, m.slot_info(slot)[0]) for slot in m.slots()]))
    return {names[slot] for slot in [*first, *host.call(probes.events)]}


def numbers(m: Module) -> Any:
    return {m.slot_info(slot)[0]: slot for slot in m.slots()}


@pytest.fixture
def idle_host(new_host: NewHost) -> Any:
    """A host that has not initialised the module."""
    return new_host(None, initialize=False)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(CHANGES, max_size=4),
    st.lists(st.one_of(CHANGES, LOOKS), max_size=12),
    st.booleans(),
    st.booleans(),
    st.lists(CHANGES, max_size=4),
)
def test_R43_whatever_came_before(
    idle_host: Host,
    first: list[tuple[str, str]],
    then: list[tuple[str, str] | str],
    looks: bool,
    blocking: bool,
    meanwhile: list[tuple[str, str]],
) -> None:
    """Each change and the death are told once for each slot, before the next simulator or by it; numbers stay."""
    with Simulator() as simulator:
        model = Model(simulator)
        for change in first:
            model.change(*change)
        idle_host.call(Module.initialize, str(simulator.module_socket))
        model.known, model.pending = set(model.plugged), set()
        try:
            for step in then:
                if isinstance(step, str):
                    idle_host.call(look, step)
                    model.pending = set() if step == "events" else model.pending
                else:
                    model.change(*step)
            model.die()
            if looks:
                assert events(idle_host, blocking, model.pending) == model.pending
                model.pending = set()
            seen = idle_host.call(numbers)
            assert seen.keys() == model.known
            assert idle_host.call(Module.slots, True) == []
            for change in meanwhile:
                model.change(*change)
            model.come_back()
            assert events(idle_host, blocking, model.pending) == model.pending
            assert idle_host.call(numbers).items() >= seen.items()
        finally:
            idle_host.call(Module.finalize)
