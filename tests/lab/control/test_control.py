# SPDX-License-Identifier: MIT
"""The control channel over its socket: verbs, errors, streams, and clients that behave badly."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.card import Card
from cardtear.card.issuing.profiles import CardRequest, create
from cardtear.lab.cli.main import app
from cardtear.lab.control import client as control_module
from cardtear.lab.control.client import Control, ControlFailure
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.server import LINE_LIMIT
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.lab.simulator.moments import OnSignal
from cardtear.lab.simulator.trigger import Trigger
from cardtear.lab.trace.records import FIELDS
from cardtear.reader.errors import TestbedError
from cardtear.reader.events import Change
from cardtear.reader.private_socket import SocketInUse, listen
from typer.testing import CliRunner

DEADLINE = 20.0


class RawClient:
    """A connection that sends any bytes."""

    def __init__(self, simulator: Simulator) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(simulator.control_socket))
        self.lines = self.socket.makefile("rb")

    def ask(self, line: bytes) -> Any:
        self.socket.sendall(line)
        return json.loads(self.lines.readline())

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@pytest.fixture
def raw(simulator: Simulator) -> Iterator[RawClient]:
    client = RawClient(simulator)
    yield client
    client.close()


@pytest.fixture
def control(simulator: Simulator) -> Iterator[Control]:
    with Control(simulator.control_socket) as control:
        yield control


def _send_select(simulator: Simulator) -> bytes:
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    return insertion.transmit(bytes.fromhex("00A404000BA000000308000010000100"))


def test_every_verb_in_one_sitting(control: Control) -> None:
    assert control.do("ping") == "pong"
    control.do("plug", reader="back")
    assert [each["name"] for each in control.do("status")["readers"]] == ["front", "back"]
    assert control.do("remove", reader="front") == {"card": "Alice"}
    assert control.do("insert", reader="back", card={"name": "Bob", "profile": "blank"}) == {"card": "Bob"}
    assert control.do("swap", reader="back", card={"profile": "unrecognised", "name": "Mallory"}) == {"card": "Mallory"}
    control.do("reset", reader="back")
    control.do("unplug", reader="back")
    assert [each["name"] for each in control.do("status")["readers"]] == ["front"]
    control.do("shutdown")


def test_the_answer_carries_the_id_whatever_it_is(raw: RawClient) -> None:
    assert raw.ask(b'{"id": {"a": [1]}, "do": "ping"}\n') == {"id": {"a": [1]}, "ok": True, "result": "pong"}
    assert raw.ask(b'{"do": "ping"}\n')["id"] is None
    assert raw.ask(b'{"id": 7, "do": "eject"}\n')["id"] == 7


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\x00\xff\xfe\n",
        b"[]\n",
        b'{"do": \n',
        b'{"do": "remove", "reader": ["front"]}\n',
        b'{"do": "plug", "reader": ""}\n',
        b'{"do": "plug", "reader": "\\ud800"}\n',
        b'{"do": "insert", "reader": "front", "card": "\\u0000"}\n',
        b'{"do": "arm", "on": {"call": "C_Sign"}, "then": {"do": "arm"}}\n',
    ],
)
def test_a_malformed_line_is_a_json_error_and_the_connection_lives(raw: RawClient, line: bytes) -> None:
    answer = raw.ask(line)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "bad-request"
    assert raw.ask(b'{"do": "ping"}\n')["result"] == "pong"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"do": "remove", "reader": "back"}, "no-such-reader"),
        ({"do": "plug", "reader": "front"}, "reader-exists"),
        ({"do": "insert", "reader": "front"}, "reader-occupied"),
        ({"do": "swap", "reader": "front", "card": {"pin": "1"}}, "profile-error"),
        ({"do": "swap", "reader": "front", "card": "/nowhere/alice.card"}, "image-error"),
        ({"do": "swap", "reader": "front", "card": {}}, "card-elsewhere"),
        ({"do": "swap", "reader": "front", "card": {"ca_certificate": "/no/a", "ca_key": "/no/a"}}, "os-error"),
    ],
)
def test_what_is_refused_has_a_code_and_changes_nothing(
    simulator: Simulator, raw: RawClient, asked: dict[str, Any], code: str
) -> None:
    before = simulator.status()
    answer = raw.ask(json.dumps(asked).encode() + b"\n")
    assert (answer["ok"], answer["error"]["code"]) == (False, code)
    assert "Errno" not in answer["error"]["message"]
    assert simulator.status() == before


def test_an_endless_line_ends_its_connection_only(raw: RawClient, control: Control) -> None:
    raw.socket.sendall(b"x" * (LINE_LIMIT + 1))
    assert "at most" in json.loads(raw.lines.readline())["error"]["message"]
    assert raw.lines.readline() == b""
    assert control.do("ping") == "pong"


def test_a_client_that_goes_away_in_the_middle_of_a_line(raw: RawClient, control: Control) -> None:
    raw.socket.sendall(b'{"do": "rem')
    raw.close()
    assert control.do("status")["readers"][0]["card"] == "Alice"


def test_events_are_streamed_as_they_happen(simulator: Simulator, control: Control) -> None:
    """A stream has begun when it is answered, and says nothing of calls and APDUs."""
    events = control.stream("events")
    _send_select(simulator)
    simulator.swap("front", CardRequest(name="Bob"))
    told = [next(events), next(events)]
    assert [(each["change"], each["reader"], each["card"]) for each in told] == [
        ("remove", "front", "Alice"),
        ("insert", "front", "Bob"),
    ]


def test_a_reader_that_does_not_keep_up_is_told_what_it_missed(
    simulator: Simulator, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardtear.lab.control.trace_stream.ROOM", 0)
    entries = control.stream("trace")
    simulator.remove("front")
    monkeypatch.undo()
    simulator.insert("front")
    seen = [next(entries), next(entries)]
    assert {each["kind"] for each in seen} == {"event", "lost"}
    assert [each["count"] for each in seen if each["kind"] == "lost"] == [1]


def test_the_kept_trace_is_whole_in_order_and_ends(simulator: Simulator, control: Control) -> None:
    _send_select(simulator)
    entries = list(control.stream("trace", after=0, follow=False))
    assert [each["kind"] for each in entries] == ["event", "event", "apdu"]
    assert [each["number"] for each in entries] == sorted(each["number"] for each in entries)
    assert entries[2]["command"].startswith("00A40400")
    assert entries[2]["status"] == "9000"
    assert list(control.stream("trace", after=entries[2]["number"], follow=False)) == []
    assert list(control.stream("trace", follow=False)) == entries, "what is kept is all that can be meant"
    assert [each["kind"] for each in control.stream("events", follow=False)] == ["event", "event"]


def test_an_apdu_of_a_script(simulator: Simulator, control: Control) -> None:
    """By hand, from another process, and on the command line, where a PIN comes from standard input."""
    select = "00A404000BA000000308000010000100"
    assert control.do("apdu", reader="front", command=select)["response"].endswith("9000")
    remote = RemoteSimulator(simulator.environment)
    assert remote.reader("front").apdu(bytes.fromhex("00200080")) == b"\x63\xc3"
    remote.close()
    runner, env = CliRunner(), {"CARDTEAR_CONTROL": str(simulator.control_socket)}
    done = runner.invoke(app, ["apdu", "front", "-"], input="0020008008313233343536FFFF\n", env=env)
    assert (done.exit_code, done.stdout) == (0, "9000\n")
    assert runner.invoke(app, ["apdu", "front", "00XX"], env=env).exit_code == 2
    with pytest.raises(ControlFailure, match="at least one byte"):
        control.do("apdu", reader="front", command="")
    control.do("arm", on={"ins": "CB"}, then={"do": "remove", "reader": "front"})
    with pytest.raises(ControlFailure, match="was removed") as caught:
        control.do("apdu", reader="front", command="00CB3FFF055C035FC10200")
    assert caught.value.code == "card-removed"
    with pytest.raises(ControlFailure) as caught:
        control.do("apdu", reader="front", command=select)
    assert caught.value.code == "reader-empty"
    control.do("insert", reader="front")
    control.do("mute", reader="front")
    with pytest.raises(ControlFailure) as caught:
        control.do("apdu", reader="front", command=select)
    assert caught.value.code == "card-mute"


def test_an_armed_removal_happens_at_the_nth_apdu(simulator: Simulator, control: Control) -> None:
    control.do("arm", on={"ins": "A4", "nth": 2, "when": "after"}, then={"do": "remove", "reader": "front"})
    _send_select(simulator)
    assert simulator.testbed.reader("front").insertion is not None
    with pytest.raises(Exception, match="removed"):
        _send_select(simulator)
    assert simulator.testbed.reader("front").insertion is None
    control.do("insert", reader="front")
    _send_select(simulator)  # it was armed once


def test_an_armed_swap_looks_at_its_card_at_once(simulator: Simulator, control: Control) -> None:
    with pytest.raises(ControlFailure, match="no card image"):
        control.do("arm", on={"ins": "A4"}, then={"do": "swap", "reader": "front", "card": "/nowhere/bob.card"})
    control.do("arm", on={"ins": "A4"}, then={"do": "swap", "reader": "front", "card": {"name": "Bob"}})
    with pytest.raises(Exception, match="removed"):
        _send_select(simulator)
    assert control.do("status")["readers"][0]["card"] == "Bob"


def test_an_armed_verb_that_comes_too_late_harms_nobody(simulator: Simulator, control: Control) -> None:
    control.do("plug", reader="back")
    control.do("unplug", reader="back")
    control.do("arm", on={"ins": "A4"}, then={"do": "unplug", "reader": "back"})
    assert _send_select(simulator)[-2:] == b"\x90\x00"


def test_a_card_that_was_pulled_out_can_be_opened_elsewhere(
    simulator: Simulator, control: Control, tmp_path: Path
) -> None:
    image = tmp_path / "carol.card"
    create(CardRequest(profile="blank", name="Carol"), image, paths.test_ca())
    control.do("swap", reader="front", card=str(image))
    with Simulator() as other:
        other.plug("front")
        with pytest.raises(Exception, match="open in another"):
            other.insert("front", image)
        control.do("remove", reader="front")
        assert other.insert("front", image).name == "Carol"


def test_the_same_card_comes_back_as_it_was_left(simulator: Simulator) -> None:
    """A ready-made card is a copy that lives as long as the simulator."""
    seen: list[Card] = [simulator.remove("front")]
    seen.append(simulator.insert("front"))
    assert seen[0] is seen[1]
    simulator.remove("front")
    assert simulator.insert("front", seen[0]) is seen[0]


def test_listeners_have_run_when_the_answer_comes(simulator: Simulator, control: Control) -> None:
    changes: list[Change] = []
    simulator.testbed.subscribe(lambda event: changes.append(event.change))
    control.do("swap", reader="front", card={"name": "Bob"})
    assert changes == [Change.REMOVE, Change.INSERT]


def test_without_a_simulator_the_client_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ControlFailure, match="cardtear serve") as caught:
        Control(tmp_path / "control.sock")
    assert caught.value.code == "no-simulator"


def test_a_simulator_that_goes_ends_the_streams(bare_simulator: Simulator) -> None:
    control = Control(bare_simulator.control_socket)
    bare_simulator.plug("front")
    stream = control.stream("trace", after=0)
    assert next(stream)["change"] == "plug"
    bare_simulator.close()
    assert list(stream) == []
    with pytest.raises(ControlFailure, match="went away"):
        control.do("ping")
    control.close()


def test_a_simulator_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and says nothing: an error, in bounded time."""
    monkeypatch.setattr(control_module, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(tmp_path / "control.sock"))
        deaf.listen()
        with Control(tmp_path / "control.sock") as control, pytest.raises(ControlFailure) as caught:
            control.do("remove", reader="front")
    assert caught.value.code == "no-answer"


def test_a_simulator_whose_queue_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped, and many wait for it: it is there all the same, and its socket is not taken over."""
    monkeypatch.setattr(control_module, "PATIENCE", 0.1)
    tmp_path.chmod(0o700)
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(0)
        is_full = False
        while not is_full:
            each = waiting.enter_context(socket.socket(socket.AF_UNIX))
            each.setblocking(False)
            is_full = each.connect_ex(str(path)) == errno.EAGAIN
        with pytest.raises(ControlFailure, match="does not answer") as caught:
            Control(path)
        assert caught.value.code == "no-answer"
        with pytest.raises(SocketInUse):
            listen(path)


def test_a_verb_that_takes_long(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator that lives is waited for, however long it takes."""
    monkeypatch.setattr(control_module, "PATIENCE", 0.1)
    with Control(simulator.control_socket) as control, ThreadPoolExecutor(1) as pool:
        with simulator.testbed.lock:
            removal = pool.submit(control.do, "remove", reader="front")
            with pytest.raises(TimeoutError):
                removal.result(1)
        assert removal.result(DEADLINE) == {"card": "Alice"}


@pytest.mark.parametrize(
    ("before", "verb", "arguments", "changed", "said"),
    [
        ((), "crash", {}, True, "the simulator is gone for applications; cardtear restart brings it back"),
        (("crash",), "crash", {}, False, "the simulator was gone for applications already; cardtear restart brings"),
        ((), "restart", {}, False, "the simulator was there already"),
        (("crash",), "restart", {}, True, "the simulator is there again"),
        (("crash", "restart"), "restart", {}, False, "the simulator was there already"),
        ((), "touch", {"reader": "front"}, False, "is touched; no key on it asks for that"),
        (("touching",), "touch", {"reader": "front"}, True, "the card in front is touched\n"),
        ((), "pin-pad", {"reader": "front", "pin": "123456"}, False, "is typed at front; the card in it has no PIN"),
        ((), "pin-pad", {"reader": "front"}, False, "the red key of front is pressed; the card in it has no PIN"),
        (("pad",), "pin-pad", {"reader": "front", "pin": "123456"}, True, "a PIN is typed at front\n"),
        (("foreign",), "touch", {"reader": "front"}, False, "is touched; no key on it asks for that"),
        (("foreign",), "pin-pad", {"reader": "front"}, False, "is pressed; the card in it has no PIN asked for there"),
        (("touching", "mute"), "touch", {"reader": "front"}, False, "is touched; no key on it asks for that"),
        (("pad", "kill"), "pin-pad", {"reader": "front"}, False, "is pressed; the card in it has no PIN asked for"),
        ((), "detach-pcsc", {"reader": "front"}, False, "front was not attached to PC/SC"),
    ],
)
def test_what_changes_nothing_says_so(
    before: tuple[str, ...], verb: str, arguments: dict[str, str], changed: bool, said: str
) -> None:
    """On the channel and in the command's words alike; a reader's applications keep their connections."""
    cards = {
        "touching": CardRequest(touch="always"),
        "pad": CardRequest("pin-pad"),
        "foreign": CardRequest("unrecognised"),
    }
    with Simulator() as simulator:
        simulator.plug("front")
        simulator.insert("front", next((cards[each] for each in before if each in cards), None))
        with Control(simulator.control_socket) as control:

            def prepare() -> None:
                control.do("restart")
                for each in before:
                    if each not in cards:
                        control.do(each, **({"reader": "front"} if each in ("mute", "kill") else {}))

            prepare()
            assert control.do(verb, **arguments) == {"changed": changed}
            prepare()
        env = {"CARDTEAR_CONTROL": str(simulator.control_socket)}
        done = CliRunner().invoke(app, [verb, *arguments.values()], env=env)
        assert (done.exit_code, said in done.output) == (0, True), done.output


@pytest.mark.parametrize(
    ("inside", "verb", "arguments", "code"),
    [
        (None, "touch", (), "reader-empty"),
        (None, "pin-pad", ("pin",), "reader-empty"),
        (None, "pin-pad", (), "reader-empty"),
        (None, "block-pin", (), "reader-empty"),
        ("unrecognised", "block-pin", (), "no-tries"),
    ],
)
def test_what_no_card_is_there_for(inside: str | None, verb: str, arguments: tuple[str, ...], code: str) -> None:
    """Refused by the channel, the command, the Python objects of both sides, and told of an armed one."""
    words = dict.fromkeys(arguments, "123456")
    with Simulator() as simulator:
        simulator.plug("front")
        if inside is not None:
            simulator.insert("front", CardRequest(inside))
        with pytest.raises(TestbedError) as here:
            getattr(simulator, verb.replace("-", "_"))("front", **words)
        assert here.value.code == code
        remote = RemoteSimulator(simulator.environment)
        with pytest.raises(ControlFailure) as there:
            getattr(remote.reader("front"), verb.replace("-", "_"))(**words)
        assert there.value.code == code
        remote.arm(Trigger(verb, {"reader": "front", **words}, on=OnSignal("go")))
        assert [each["problem"] for each in remote.do("signal", signal="go")["failed"]] == [str(here.value)]
        remote.close()
        env = {"CARDTEAR_CONTROL": str(simulator.control_socket)}
        done = CliRunner().invoke(app, [verb, "front", *words.values()], env=env)
        assert (done.exit_code, done.output) == (1, f"cardtear: {here.value}\n")


def test_tries_that_cannot_be_written(simulator: Simulator, tmp_path: Path) -> None:
    """Another file is where the image was: that is said, a login stays, and an armed one harms no call."""
    image, other = tmp_path / "a.card", tmp_path / "b.card"
    for path in (image, other):
        create(CardRequest("blank", name=path.stem), path, paths.test_ca())
    simulator.swap("front", image)
    for command in ("00A4040005A000000308", "0020008008313233343536FFFF"):
        assert simulator.apdu("front", bytes.fromhex(command))[-2:] == b"\x90\0"
    other.replace(image)
    remote = RemoteSimulator(simulator.environment)
    with pytest.raises(ControlFailure, match="another file now") as caught:
        remote.reader("front").block_pin()
    assert caught.value.code == "image-error"
    remote.arm(Trigger("block-pin", {"reader": "front"}, on=OnSignal("go")))
    (failed,) = remote.do("signal", signal="go")["failed"]
    assert "another file now" in failed["problem"]
    remote.close()
    assert simulator.apdu("front", bytes.fromhex("00200080"))[-2:] == b"\x90\0"


def test_what_is_armed_and_changes_nothing(simulator: Simulator) -> None:
    """It is told as what could not be carried out is; in another process the methods return it."""
    remote = RemoteSimulator(simulator.environment)
    front = remote.reader("front")
    assert (front.touch(), front.pin_pad("123456"), remote.detach_pcsc("front")) == (False, False, False)
    remote.arm(Trigger("touch", {"reader": "front"}, on=OnSignal("go")))
    assert remote.do("signal", signal="go") == {
        "heard": 1,
        "failed": [{"trigger": 1, "do": "touch", "problem": "no key on the card that is there asks for a touch"}],
    }
    remote.swap("front", CardRequest(touch="always", pin_pad=True))
    assert (front.touch(), front.pin_pad()) == (True, True)
    remote.close()


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"do": "swap", "reader": "front", "card": "/nowhere.card"}, "there is no card image /nowhere.card"),
        ({"do": "insert", "reader": "front", "card": {"name": "B"}, "atr": ""}, "an ATR has 1 to 33 bytes"),
        ({"do": "pin-pad", "reader": "front", "pin": "\x1b"}, "nobody types that at a PIN pad"),
        ({"do": "apdu", "reader": "front", "command": ""}, "an APDU has at least one byte"),
        ({"do": "pcscd", "action": "stop"}, "has no pcscd of its own"),
    ],
)
def test_what_can_never_be_done_later(simulator: Simulator, then: dict[str, Any], message: str) -> None:
    """It is refused at once, as it is when a trigger is armed; a `later` in a `later` no less."""
    with Control(simulator.control_socket) as control:
        again = {"do": "later", "seconds": 1, "then": then}
        for request in (again, {"do": "later", "seconds": 1, "then": again}):
            with pytest.raises(ControlFailure, match=message):
                control.do(request.pop("do"), **request)  # type: ignore[arg-type]
            request["do"] = "later"
        if then["do"] != "apdu":
            with pytest.raises(ControlFailure, match=message):
                control.do("arm", on={"signal": "x"}, then=then)
        assert control.do("status")["triggers"] == []


def test_waiting_for_what_no_trace_has(simulator: Simulator) -> None:
    """It is refused, for it would wait to the deadline; every entry has the fields that are known."""
    remote = RemoteSimulator(simulator.environment)
    for kind, fields, message in (
        ("cal", {}, "the trace has no 'cal'; did you mean 'call'"),
        ("call", {"nmae": "C_Sign"}, "'call' in the trace has no 'nmae'; did you mean 'name'"),
        ("event", {"rv": "CKR_OK"}, "'event' in the trace has no 'rv'; it has: number, time, call, change"),
    ):
        with pytest.raises(ValueError, match=message):
            remote.wait_for(kind, **fields)  # type: ignore[arg-type]
    remote.do("apdu", reader="front", command="00A40400")
    remote.do("mute", reader="front")
    for record in remote.trace():
        assert ["kind", *FIELDS[record["kind"]]] == list(record)
    remote.close()


def test_a_swap_for_the_card_that_is_there(simulator: Simulator) -> None:
    with Control(simulator.control_socket) as control:
        with pytest.raises(ControlFailure, match="'Alice' is in reader 'front' already; swap it for another"):
            control.do("swap", reader="front", card={})
        control.do("plug", reader="back")
        control.do("insert", reader="back", card={"name": "Bob"})
        with pytest.raises(ControlFailure, match="'Alice' is in reader 'front'; remove it there first"):
            control.do("swap", reader="back", card={})
