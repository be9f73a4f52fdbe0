# SPDX-License-Identifier: MIT
"""Every change, verb and fault is shown once by every output. A new one has to be entered here, or these tests fail."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from html import unescape
from re import sub
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.cli import simulators
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control import report
from cardtear.lab.control.client import Control
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.verbs import FAULTS, TABLE
from cardtear.lab.sweep import report_html
from cardtear.lab.trace import timeline
from cardtear.lab.trace.records import Record, as_record
from cardtear.lab.trace.timeline import Timeline
from cardtear.reader.events import Change
from rich.console import Console

from ...shared.host.host import NewHost

QUERIES = {"ping", "status", "trace", "events", "shutdown"}
PLANS = {"later", "arm", "disarm"}
"""What they plan is shown when it comes."""

RUN: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plug": ({"reader": "back"}, ("plug",)),
    "unplug": ({"reader": "front"}, ("remove", "unplug")),
    "insert": ({"reader": "empty"}, ("insert",)),
    "remove": ({"reader": "front"}, ("remove",)),
    "swap": ({"reader": "front", "card": {"name": "Bob"}}, ("remove", "insert")),
    "reset": ({"reader": "front"}, ("reset",)),
    "logout": ({"reader": "front"}, ("logout",)),
    "close-sessions": ({"reader": "front"}, ("close-sessions",)),
    "apdu": ({"reader": "front", "command": "00A4040000"}, ()),
    "touch": ({"reader": "front"}, ("touch",)),
    "mute": ({"reader": "front"}, ("mute",)),
    "kill": ({"reader": "front"}, ("kill",)),
    "block-pin": ({"reader": "front", "left": 1}, ("block-pin", "logout")),
    "pin-pad": ({"reader": "front", "pin": "123456"}, ("pin-pad",)),
    "attach-pcsc": ({"reader": "empty", "name": "Some Reader"}, ("attach-pcsc",)),
    "detach-pcsc": ({"reader": "front"}, ("detach-pcsc",)),
    "pcscd": ({"action": "stop"}, ("pcscd",)),
    "signal": ({"signal": "go"}, ("signal",)),
    "release": ({"gate": "g"}, ("release",)),
    "crash": ({}, ("crash",)),
    "restart": ({}, ("restart",)),
}
"""The verbs of the control channel: arguments, and the changes and verbs that are shown for one, in their order."""


def _plain(records: list[Record], **options: Any) -> str:
    stream = io.StringIO()
    line = Timeline(Console(file=stream, width=1000), **options)
    for record in records:
        line.add(record)
    line.flush()
    return stream.getvalue()


def _of_pytest(records: list[Record]) -> str:
    class Stub:
        def trace(self) -> list[Record]:
            return records

    return report.time_line(cast(RemoteSimulator, Stub()))


OUTPUTS: dict[str, Callable[[list[Record]], str]] = {
    "time line": _plain,
    "--short, scenario": lambda records: _plain(records, most_apdus=3, folds=True),
    "HTML of a sweep": lambda records: unescape(sub("<[^>]*>", "", report_html._timeline(records))),
    "report of pytest": _of_pytest,
}


def words_of(record: Record) -> str:
    """What the time line has to say of a change or a verb."""
    if record["kind"] == "event":
        return str(timeline.EVENTS[record["change"]][1].format(**record))
    return timeline.VERBS[record["verb"]].format(**record)


def check(records: list[Record]) -> None:
    """Each is shown once by every output, in order, in a line of its own."""
    awaited = [words_of(each) for each in records if each["kind"] in ("event", "verb")]
    for name, output in OUTPUTS.items():
        shown = output(records)
        lines = [line for line in shown.split("\n") if any(words in line for words in awaited)]
        assert len(lines) == len(awaited), (name, shown)
        for words, line in zip(awaited, lines, strict=True):
            assert words in line, (name, shown)


def test_every_verb_is_known_here() -> None:
    """Those of the control channel, the faults, and the rows of the time line."""
    known = {*RUN, *QUERIES, *PLANS, *FAULTS}
    assert known == set(TABLE), f"give a row in RUN to each of {sorted(set(TABLE) ^ known)}"
    assert set(timeline.EVENTS) == {str(each) for each in Change}
    names = {name for _, shown in RUN.values() for name in shown}
    assert set(timeline.VERBS) == (names - {str(each) for each in Change}) | set(FAULTS)


@pytest.mark.parametrize("change", list(Change))
def test_every_change(change: Change) -> None:
    """Also one that is followed by another of its kind."""
    record = {"kind": "event", "time": 0.0, "call": None, "change": str(change), "reader": "front", "card": "Alice"}
    check([{**record, "number": number} for number in (1, 2)])


@pytest.fixture
def control(bare_simulator: Simulator) -> Any:
    """A simulator with a card in `front`, and an empty reader."""
    bare_simulator.plug("front")
    bare_simulator.plug("empty")
    bare_simulator.insert("front", CardRequest(pin_pad=True))
    with Control(bare_simulator.control_socket) as control:
        yield control


@pytest.mark.parametrize("verb", RUN)
def test_every_verb(
    bare_simulator: Simulator,
    control: Control,
    verb: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the control channel; JSON has it once, and no PIN."""
    arguments, awaited = RUN[verb]
    if verb == "pcscd":  # one of its own wants root
        monkeypatch.setattr(
            bare_simulator, "_own_pcscd", lambda: SimpleNamespace(stop=lambda: None, start=lambda: None)
        )
    for name in ("attach", "detach"):  # the library of PC/SC looks for its service once in a process, and not here
        monkeypatch.setattr(bare_simulator._from_pcsc, name, lambda *_: None)
    trace = bare_simulator.testbed.trace
    before = trace.entries()[-1].number
    control.do(verb, **arguments)
    records = [as_record(entry) for entry in trace.entries(before)]
    shown = [each for each in records if each["kind"] in ("event", "verb")]
    assert [each.get("change") or each["verb"] for each in shown] == list(awaited)
    check(records)
    capsys.readouterr()
    for record in records:
        simulators._timeline(as_json=True, to_errors=False)[0](record)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == records
    assert "123456" not in json.dumps(records)


@pytest.mark.parametrize(
    ("fault", "arguments", "about"),
    [
        ("answer", {"status": 0x6F00}, "6F00"),
        ("garble", {"count": 2}, "2"),
        ("cut", {"length": 1}, "1"),
        ("return", {"value": 0x30}, "CKR_DEVICE_ERROR"),
        ("delay", {"seconds": 0.001}, "0.001"),
        ("hang", {"gate": "g"}, "g"),
        ("crash-application", {}, ""),
    ],
)
def test_every_fault(
    simulator: Simulator, new_host: NewHost, fault: str, arguments: dict[str, Any], about: str
) -> None:
    """When it begins, under the call for which it comes."""
    host = new_host(simulator)
    on = {"call": "C_GetTokenInfo"} if FAULTS[fault].calls else {"ins": None, "when": "after"}
    simulator.arm(timeline_trigger(fault, arguments, on))
    if fault == "hang":
        simulator.arm(timeline_trigger("release", {"gate": "g"}, {"seconds": 0.3}))
    with contextlib.suppress(*[Exception] if fault == "crash-application" else []):
        host.rv(Module.token_info, 0)
    if fault == "crash-application":
        host.process.wait(10)
    records = [as_record(entry) for entry in simulator.testbed.trace.entries()]
    found = [each for each in records if each["kind"] == "verb" and each["verb"] == fault]
    assert [each["about"] for each in found] == [about]
    assert found[0]["call"] is not None
    check(records)


def timeline_trigger(verb: str, arguments: dict[str, Any], on: dict[str, Any]) -> Any:
    """A trigger."""
    from cardtear.lab.simulator.trigger import Trigger

    return Trigger(verb, arguments, **on)


def test_all_faults_are_tried() -> None:
    """The table above has every fault."""
    (mark,) = [each for each in test_every_fault.pytestmark if each.name == "parametrize"]  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} == set(FAULTS)
