# SPDX-License-Identifier: MIT
"""What cannot happen is refused or said, and secrets need not stand in the list of processes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cardtear.card.image import passphrase
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.cli.secret_input import first_line
from cardtear.lab.control.remote import RemoteSimulator
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.possible_trigger import _AT_ONCE
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.quirks import Quirks
from cardtear.reader.events import CallMoment, When
from cardtear.reader.reader import Moment

DEADLINE = 30.0
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as made:
        made.plug("front")
        made.insert("front")
        yield made


@pytest.fixture
def cardtear(simulator: Simulator) -> Command:
    def run(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cardtear.lab.cli.main", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, **simulator.environment, "COLUMNS": "200"},
            check=False,
            **more,  # type: ignore[call-overload]
        )

    return run


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("arm remove front --call C_GetSessionInfo --during", "sends no APDU"),
        ("arm remove front --call C_GenerateRand* --during", "sends no APDU"),
        ("arm remove frnot --call C_Sign", "did you mean 'front'?"),
        ("arm remove front --ins 87 --reader side", "there never was a reader 'side'"),
        ("arm remove front --event insert --reader side", "there never was a reader 'side'"),
        ("arm remove side --call C_Sign --later 1", "there never was a reader 'side'"),
        ("arm remove front --ins 8", "'ins': two hexadecimal digits are wanted, not '8'"),
        ("arm remove front --ins 0x87", "'ins': two hexadecimal digits"),
        ("arm remove front --ins 87 --slot 9X", "'slot': two hexadecimal digits are wanted, not '9X'"),
        ("arm answer 6F0 --ins 87", "'status': four hexadecimal digits"),
        ("arm answer 6F00 --call C_Sign", "choose the moment of an APDU, by its 'ins' (--ins, --apdu)"),
        ("arm delay soon --call C_Sign", "SECONDS of 'delay' is a number, not 'soon'"),
        ("run --pin 4711 -- true", "a PIN has 6 to 8 digits (pin_min,"),
        (
            "run --quirks torn_call=CKR_DEVICE_EROR -- true",
            "no return value 'CKR_DEVICE_EROR'; did you mean 'CKR_DEVICE_ERROR'",
        ),
        (
            "run --quirks torn_call=CKR_DEVICE_GONE -- true",
            "no return value 'CKR_DEVICE_GONE'; it is CKR_... | crash | hang",
        ),
        ("arm return CKR_DEVICE_ERROR --ins 87", "choose the moment of a call"),
        ("arm remvoe front --call C_Sign", "'remvoe'"),
        ("arm remove front", "say when: give --call"),
        ("arm remove front --call C_Sing", "did you mean 'C_Sign'?"),
        ("disarm 99", "there is no trigger 99; none is armed"),
        ("release nogate", "nothing hangs at gate 'nogate'"),
        ("signal nobody", "no trigger waits for 'nobody'"),
        ("remove side", "side"),
        ("rnu", "did you mean 'run'?"),
    ],
)
def test_what_cannot_happen_is_refused(cardtear: Command, simulator: Simulator, words: str, complaint: str) -> None:
    done = cardtear(*words.split())
    assert done.returncode in (1, 2)
    assert complaint in done.stderr
    assert simulator.triggers == {}


def test_the_nearest_action_is_told(cardtear: Command) -> None:
    assert "remove" in cardtear("arm", "remvoe", "front", "--call", "C_Sign").stderr


def test_a_line_for_a_shell(cardtear: Command) -> None:
    done = cardtear("run", "--no-card", "--", "a | b")
    assert done.returncode == 127
    assert done.stderr.endswith("; a line for a shell: sh -c 'a | b'\n")


@pytest.mark.parametrize(("word", "seconds"), [("500ms", 0.5), ("0.5s", 0.5), ("2", 2.0)])
def test_a_span_of_time(cardtear: Command, simulator: Simulator, word: str, seconds: float) -> None:
    """On the command line as in scenarios."""
    assert cardtear("arm", "delay", word, "--call", "C_Sign").returncode == 0
    assert [each.arguments for each in simulator.triggers.values()] == [{"seconds": seconds}]


def test_what_may_never_happen_is_said(cardtear: Command, simulator: Simulator) -> None:
    """A call that is mostly answered from memory can send an APDU, when the card has changed."""
    done = cardtear("arm", "remove", "front", "--call", "C_SignInit", "--during")
    assert (done.returncode, done.stdout) == (0, "armed as 1: remove front\n")
    assert "may never fire" in done.stderr
    assert len(simulator.triggers) == 1


def test_what_was_done_is_said(cardtear: Command, simulator: Simulator) -> None:
    number = simulator.arm(Trigger("remove", {"reader": "front"}, signal="now"))
    assert cardtear("signal", "now").stdout == "said: now\n"
    assert cardtear("disarm", str(number)).stdout == f"{number} was over already\n"
    number = simulator.arm(Trigger("insert", {"reader": "front"}, signal="now"))
    assert cardtear("disarm", str(number)).stdout == f"disarmed: {number}\n"
    assert cardtear("signal", "now").returncode == 1


def test_another_process_is_told_the_same(simulator: Simulator) -> None:
    remote = RemoteSimulator(simulator.environment)
    number = remote.arm(Trigger("remove", {"reader": "front"}, signal="now"))
    assert (remote.signal("never"), remote.release("nowhere")) == (0, 0)
    assert remote.disarm(number) is True
    assert remote.disarm(number) is False


def test_a_reader_that_comes_later(simulator: Simulator) -> None:
    """One that another trigger plugs in, and one that was unplugged."""
    simulator.arm(Trigger("plug", {"reader": "side"}, signal="now"))
    simulator.arm(Trigger("unplug", {"reader": "side"}, signal="then"))
    simulator.unplug("front")
    simulator.arm(Trigger("remove", {"reader": "front"}, signal="then"))
    assert len(simulator.triggers) == 3


def test_a_call_that_is_made_to_wait(simulator: Simulator) -> None:
    """With a delay, or quirks, there may be a middle of a call that has none otherwise."""
    during = {"call": "C_GetSessionInfo", "when": "during"}
    with pytest.raises(ValueError, match="sends no APDU"):
        simulator.arm(Trigger("remove", {"reader": "front"}, **during))  # type: ignore[arg-type]
    simulator.arm(Trigger("delay", {"seconds": 0.1}, call="C_GetSessionInfo"))
    simulator.arm(Trigger("remove", {"reader": "front"}, **during))  # type: ignore[arg-type]
    with Simulator(quirks=Quirks.parse(["unnoticed_removal=always"])) as quirky:
        quirky.plug("front")
        quirky.arm(Trigger("remove", {"reader": "front"}, **during))  # type: ignore[arg-type]


def test_calls_without_a_middle(bed_calls: dict[str, set[When]]) -> None:
    """What is refused has none indeed."""
    assert set(bed_calls) >= _AT_ONCE - {"C_SessionCancel"}  # which is not in the client's list of 2.40
    assert [name for name in _AT_ONCE & set(bed_calls) if When.DURING in bed_calls[name]] == []


@pytest.fixture
def bed_calls(simulator: Simulator) -> dict[str, set[When]]:
    """The moments of each call that a client has made which makes one of each kind."""
    seen: dict[str, set[When]] = {}

    def watch(moment: Moment) -> None:
        if isinstance(moment, CallMoment):
            seen.setdefault(moment.name, set()).add(moment.when)

    script = """
from cardtear.lab.clients.pkcs11 import Module
import os
module = Module(os.environ["CARDTEAR_MODULE"]); ffi = module.ffi
module.initialize()
count = ffi.new("CK_ULONG *"); module.check("C_GetSlotList", 0, ffi.NULL, count)
slots = ffi.new("CK_ULONG[]", count[0]); module.check("C_GetSlotList", 0, slots, count)
module.check("C_GetSlotInfo", slots[0], ffi.new("CK_SLOT_INFO *"))
session = ffi.new("CK_SESSION_HANDLE *"); module.check("C_OpenSession", slots[0], 4, ffi.NULL, ffi.NULL, session)
session = session[0]
module.check("C_GetSessionInfo", session, ffi.new("CK_SESSION_INFO *"))
module.check("C_FindObjectsInit", session, ffi.NULL, 0)
handle = ffi.new("CK_OBJECT_HANDLE *"); module.check("C_FindObjects", session, handle, 1, count)
module.check("C_FindObjectsFinal", session)
room = ffi.new("CK_BYTE[]", 64); count[0] = 64
sha256 = ffi.new("CK_MECHANISM *", {"mechanism": 0x250})
module.check("C_DigestInit", session, sha256); module.check("C_Digest", session, room, 8, room, count)
module.check("C_DigestInit", session, sha256); module.check("C_DigestUpdate", session, room, 8)
count[0] = 64; module.check("C_DigestFinal", session, room, count)
module.call("C_SeedRandom", session, room, 8); module.check("C_GenerateRandom", session, room, 8)
"""
    with simulator.testbed.watching(watch):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **simulator.environment},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return seen


@pytest.mark.parametrize("source", ["file", "descriptor", "standard input"])
def test_a_pin_that_nobody_sees(cardtear: Command, simulator: Simulator, tmp_path: Path, source: str) -> None:
    """Of a new card, and one that is typed at the PIN pad: from a file, a descriptor, or standard input."""
    file = tmp_path / "pin"
    file.write_text("654321\n")
    with file.open() as opened:
        path, more = {
            "file": (str(file), {}),
            "descriptor": (f"/dev/fd/{opened.fileno()}", {"pass_fds": (opened.fileno(),)}),
            "standard input": ("-", {"stdin": opened}),
        }[source]
        done = cardtear("swap", "--name", "Eve", "--pin-file", path, **more)  # type: ignore[arg-type]
    assert (done.returncode, done.stdout) == (0, "Eve is in front now\n"), done.stderr
    assert simulator.remove("front") is simulator.insert("front", CardRequest(name="Eve", pin="654321"))
    done = cardtear("pin-pad", "front", "--pin-file", str(file))
    assert done.returncode == 0
    assert done.stdout.startswith("a PIN is typed at front;")  # a card that wants none there


def test_a_pin_out_of_a_fifo(cardtear: Command, simulator: Simulator, tmp_path: Path) -> None:
    """As <(command) gives one; where nobody writes, it is not waited for without end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'echo 654321 > "$1"', "sh", str(fifo)]) as writer:
        assert cardtear("pin-pad", "front", "--pin-file", str(fifo)).returncode == 0
        assert writer.wait(DEADLINE) == 0


def test_a_fifo_without_a_writer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(passphrase, "_PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match="no PIN came out of it"):
        first_line(tmp_path / "fifo", "PIN")


def test_a_pin_that_is_asked_for(simulator: Simulator) -> None:
    """At a terminal there is a prompt, and what is typed is not shown."""
    main, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cardtear.lab.cli.main", "pin-pad", "front", "--pin-file", "-"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, **simulator.environment},
    ) as process:
        os.close(terminal)
        shown = b""
        while b"PIN: " not in shown:
            shown += os.read(main, 1000)
        os.write(main, b"654321\n")
        while b"typed" not in shown:
            shown += os.read(main, 1000)
        assert process.wait(DEADLINE) == 0
    os.close(main)
    assert b"654321" not in shown


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("insert --pin 123456 --pin-file /dev/null", "give one"),
        ("insert --pin-file /dev/null", "is no PIN"),
        ("pin-pad front 123456 --pin-file /dev/null", "give one"),
        ("insert --puk-file /nonexistent/puk", "No such file"),
    ],
)
def test_a_secret_that_is_none(cardtear: Command, simulator: Simulator, words: str, complaint: str) -> None:
    simulator.remove("front")
    done = cardtear(*words.split())
    assert (done.returncode != 0, complaint in done.stderr) == (True, True), done.stderr
    assert simulator.testbed.reader("front").insertion is None


def test_the_only_reader_need_not_be_named(cardtear: Command, simulator: Simulator) -> None:
    assert cardtear("remove").stdout == "Alice is out of front\n"
    assert cardtear("insert").stdout == "Alice is in front\n"
    simulator.plug("side")
    done = cardtear("remove")
    assert (done.returncode, done.stderr) == (2, "cardtear: which reader? there are: front, side; name one\n")


def test_stop(cardtear: Command, simulator: Simulator) -> None:
    assert cardtear("stop").stdout == "the simulator ends\n"
    assert simulator.stopped.is_set()


def test_an_image_is_as_it_is(cardtear: Command, simulator: Simulator) -> None:
    """What describes a new card beside it would be dropped silently."""
    done = cardtear("swap", "front", "--image", "any.card", "--name", "Bob")
    assert (done.returncode, "as it is: --name" in done.stderr) == (2, True)
    assert cardtear("run", "--image", "any.card", "--set", "upn=a@b", "--", "true").returncode == 2
    assert cardtear("sweep", "--image", "any.card", "--pin", "123456", "--", "true").returncode == 2
    assert simulator.testbed.reader("front").insertion is not None


@pytest.mark.parametrize("words", ["--version", "status", "card profiles", "--help"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream(simulator: Simulator, words: str, number: int) -> None:
    """What nobody can read is no traceback."""
    done = subprocess.run(
        ["sh", "-c", f'"$@" {number}>&-', "sh", sys.executable, "-m", "cardtear.lab.cli.main", *words.split()],
        env={**os.environ, **simulator.environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("words", ["--version", "status", "card profiles", "--help"])
def test_an_output_that_is_full(simulator: Simulator, words: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cardtear.lab.cli.main", *words.split()],
            env={**os.environ, **simulator.environment},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.stderr.count("\n") == 1, done.stderr
    assert "No space left" in done.stderr
    assert done.returncode == 1


def test_a_short_pin_on_a_relaxed_card(cardtear: Command) -> None:
    assert cardtear("swap", "front", "--profile", "relaxed", "--pin", "4711").returncode == 0
