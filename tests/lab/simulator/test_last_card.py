# SPDX-License-Identifier: MIT
"""Where no card is named, the one that was last in the reader goes in again, as it was left: at every door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest, create, open_card
from cardtear.lab.cli.main import app
from cardtear.lab.control.client import Control
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.lab.scenario import loads, play
from cardtear.lab.simulator.trigger import Trigger
from typer.testing import CliRunner

SELECT = bytes.fromhex("00A404000BA000000308000010000100")
PASSPHRASE = b"battery horse"


def _pin(pin: str) -> bytes:
    return b"\x00\x20\x00\x80\x08" + pin.encode().ljust(8, b"\xff")


def _send(simulator: Simulator, command: bytes) -> bytes:
    insertion = simulator.testbed.reader("front").insertion
    assert insertion is not None
    insertion.transmit(SELECT)
    return insertion.transmit(command)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """With a reader that never had a card, and a longer road into it than Python's: the control channel."""
    with Simulator() as simulator:
        simulator.plug("front")
        yield simulator


@pytest.fixture
def control(simulator: Simulator) -> Iterator[Control]:
    with Control(simulator.control_socket) as control:
        yield control


def _plain(tmp_path: Path) -> Any:
    return {"name": "Zoe", "profile": "relaxed", "pin": "4711", "pin_min": 4}


def _image(tmp_path: Path, passphrase: bytes | None = None) -> Any:
    image = tmp_path / "zoe.card"
    wanted = CardRequest(profile="blank", name="Zoe", pin="4711", pin_min=4)
    create(wanted, image, paths.test_ca(), passphrase)
    return str(image)


def _encrypted(tmp_path: Path) -> Any:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE)
    return {"image": _image(tmp_path, PASSPHRASE), "passphrase_file": str(file)}


CARDS: dict[str, Callable[[Path], Any]] = {"parameters": _plain, "image": _image, "encrypted": _encrypted}


def _removed(control: Control, simulator: Simulator) -> None:
    control.do("remove", reader="front")


def _unplugged(control: Control, simulator: Simulator) -> None:
    control.do("unplug", reader="front")
    control.do("plug", reader="front")


def _ejected(control: Control, simulator: Simulator) -> None:
    control.do("arm", on={"ins": "A4", "when": "after"}, then={"do": "remove", "reader": "front"})
    with pytest.raises(Exception, match="removed"):
        _send(simulator, SELECT)


def _elsewhere(control: Control, simulator: Simulator) -> None:
    """To another reader and out of it again; that one forgets nothing of this one."""
    card = simulator.remove("front")
    simulator.plug("back")
    simulator.insert("back", card)
    control.do("remove", reader="back")


WAYS_OUT: dict[str, Callable[[Control, Simulator], None]] = {
    "removed": _removed,
    "unplugged": _unplugged,
    "ejected": _ejected,
    "elsewhere": _elsewhere,
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("kind", CARDS)
def test_it_comes_back_as_it_was_left(
    simulator: Simulator, control: Control, tmp_path: Path, kind: str, way: str
) -> None:
    """Its PIN, and a try that was lost; also after its image was free for others meanwhile."""
    control.do("insert", reader="front", card=CARDS[kind](tmp_path))
    (tmp_path / "passphrase").unlink(missing_ok=True)  # as one that stood in a pipe
    assert _send(simulator, _pin("9999"))[-2:] == b"\x63\xc2"
    WAYS_OUT[way](control, simulator)
    if kind != "parameters" and way in ("removed", "unplugged", "elsewhere"):
        open_card(tmp_path / "zoe.card", PASSPHRASE if kind == "encrypted" else None).close()
    assert control.do("insert", reader="front") == {"card": "Zoe"}
    assert _send(simulator, b"\x00\x20\x00\x80") == b"\x63\xc2"
    assert _send(simulator, _pin("4711")) == b"\x90\x00"


def test_the_standard_card_is_for_a_reader_that_had_none(simulator: Simulator, control: Control) -> None:
    simulator.plug("back")
    control.do("insert", reader="back", card={"name": "Zoe"})
    assert control.do("insert", reader="front") == {"card": "Alice"}
    control.do("swap", reader="front", card={"name": "Bob"})
    control.do("remove", reader="front")
    assert control.do("insert", reader="front") == {"card": "Bob"}
    control.do("remove", reader="back")
    assert control.do("insert", reader="back") == {"card": "Zoe"}


@pytest.mark.parametrize("card", [{"profile": "unrecognised", "name": "Zoe"}, {"name": "Zoe"}, "image"])
def test_a_dead_card_comes_back_dead(simulator: Simulator, control: Control, tmp_path: Path, card: Any) -> None:
    control.do("insert", reader="front", card=_image(tmp_path) if card == "image" else card)
    control.do("kill", reader="front")
    control.do("remove", reader="front")
    assert control.do("insert", reader="front") == {"card": "Zoe"}
    with pytest.raises(Exception, match="does not answer"):
        _send(simulator, SELECT)


def test_an_image_that_is_gone_is_said(simulator: Simulator, control: Control, tmp_path: Path) -> None:
    image = _image(tmp_path)
    control.do("insert", reader="front", card=image)
    control.do("remove", reader="front")
    Path(image).unlink()
    with pytest.raises(Exception, match=r"zoe\.card"):
        control.do("insert", reader="front")


@pytest.mark.parametrize("where", ["in the reader", "out of it", "ejected"])
@pytest.mark.parametrize("way", ["mv", "cp"])
def test_an_image_that_was_replaced_meanwhile(
    simulator: Simulator, control: Control, tmp_path: Path, way: str, where: str
) -> None:
    """The card of a path is the one whose image is there now, and the other one stays what it was."""
    image, other = Path(_image(tmp_path)), tmp_path / "bob.card"
    create(CardRequest(profile="blank", name="Bob", serial="b0b"), other, paths.test_ca())
    control.do("insert", reader="front", card=str(image))
    if where != "in the reader":
        control.do("kill", reader="front")
    if where == "out of it":
        control.do("remove", reader="front")
    elif where == "ejected":
        simulator.remove("front")
    content = other.read_bytes()
    subprocess.run([way, other, image], check=True)
    if where == "in the reader" and way == "cp":
        with pytest.raises(Exception, match="was changed by another program"):
            control.do("swap", reader="front", card=str(image))
        control.do("remove", reader="front")
    verb = "swap" if where == "in the reader" and way == "mv" else "insert"
    assert control.do(verb, reader="front", card=str(image)) == {"card": "Bob"}
    assert image.read_bytes() == content
    assert _send(simulator, _pin("999999"))[-2:] == b"\x63\xc2"
    control.do("remove", reader="front")
    assert control.do("insert", reader="front") == {"card": "Bob"}
    assert control.do("swap", reader="front", card={"name": "Alice", "profile": "blank"}) == {"card": "Alice"}
    open_card(image).close()


def test_one_that_is_in_another_reader_is_not_in_two(simulator: Simulator, control: Control) -> None:
    simulator.plug("back")
    control.do("insert", reader="front")
    simulator.insert("back", simulator.remove("front"))
    with pytest.raises(Exception, match="'Alice' is in reader 'back'"):
        control.do("insert", reader="front")


# Doors


def _cli(simulator: Simulator, *words: str) -> None:
    done = CliRunner().invoke(app, words, env={"CARDTEAR_CONTROL": str(simulator.control_socket)})
    assert done.exit_code == 0, done.output


def _in_python(simulator: Simulator) -> None:
    simulator.insert("front")


def _on_the_command_line(simulator: Simulator) -> None:
    _cli(simulator, "insert", "front")


def _armed_on_the_command_line(simulator: Simulator) -> None:
    _cli(simulator, "arm", "insert", "front", "--signal", "now")
    _cli(simulator, "signal", "now")


def _from_another_process(simulator: Simulator) -> None:
    remote = RemoteSimulator(simulator.environment)
    remote.reader("front").insert()
    remote.close()


def _by_a_trigger(simulator: Simulator) -> None:
    simulator.arm(Trigger("insert", {"reader": "front"}, signal="now"))
    simulator.signal("now")


DOORS = [_in_python, _on_the_command_line, _armed_on_the_command_line, _from_another_process, _by_a_trigger]


@pytest.mark.parametrize("insert", DOORS)
@pytest.mark.parametrize("kind", CARDS)
def test_every_door(simulator: Simulator, control: Control, tmp_path: Path, kind: str, insert: Any) -> None:
    control.do("insert", reader="front", card=CARDS[kind](tmp_path))
    control.do("remove", reader="front")
    insert(simulator)
    assert control.do("status")["readers"][0]["card"] == "Zoe"
    assert _send(simulator, _pin("4711")) == b"\x90\x00"


@pytest.mark.parametrize("options", [["--name", "Zoe"], ["--profile", "piv-ec", "--name", "Zoe"], ["--image", "IMAGE"]])
def test_what_readme_promises(tmp_path: Path, options: list[str]) -> None:
    """`cardtear run` with a card of its own, which a program takes out and puts back."""
    words = [_image(tmp_path) if word == "IMAGE" else word for word in options]
    script = "cardtear remove front && cardtear insert front && cardtear status --json"
    command = [sys.executable, "-m", "cardtear.lab.cli.main", "run", *words, "--", "sh", "-c", script]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr
    assert "Zoe is in front" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["readers"][0]["card"] == "Zoe"


def test_in_a_scenario() -> None:
    scenario = loads(
        """
        cards: {zoe: {pin: "654321"}, bob: {}, alice: {}}
        readers: {front: zoe, back: empty}
        triggers: {again: {on: {signal: now}, do: {insert: front}}}
        steps:
        - remove: front
        - insert: front
        - call: session = C_OpenSession(front)
        - call: C_Login(session, CKU_USER, "654321")
        - swap: {front: bob}
        - unplug: front
        - plug: front
        - signal: now
        - call: token = C_GetTokenInfo(front)
        - expect: token.label == "Bob"
        - insert: back
        - call: token = C_GetTokenInfo(back)
        - expect: token.label == "Alice"
        """
    )
    outcome = play(scenario)
    assert outcome.passed, outcome.message
    assert outcome.steps[1].text == "insert front"
