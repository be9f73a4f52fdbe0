# SPDX-License-Identifier: MIT
"""What comes of scenarios that fail, hang, or run programs that do not behave."""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from cardtear.lab.scenario import Outcome, Scenario, Status, StepResult
from cardtear.lab.scenario import play as play_value
from cardtear.lab.scenario.outcome import write_junit
from cardtear.lab.scenario.steps import Call, Expect
from cardtear.lab.scenario.verbs import Remove

from ...shared.waiting import wait_until
from .conftest import Play

FAILURES = [
    ("- call: C_GetTokenInfo(front) -> CKR_NO_EVENT", 1, "awaited C_GetTokenInfo -> CKR_NO_EVENT, but came CKR_OK"),
    ("- call: C_GetSlotList()\n- call: C_GetSlotList() -> died", 2, "awaited C_GetSlotList -> died, but came CKR_OK"),
    ("- call: C_WaitForSlotEvent()\n  within: 100ms", 1, "C_WaitForSlotEvent -> CKR_OK, but it has not returned"),
    ("- call: '[one, two] = C_GetSlotList()'", 1, "awaited 2 values from C_GetSlotList, but came [0]"),
    ("- call: slots = C_GetSlotList()\n- call: C_GetSlotInfo(slots[7])", 2, "slots[7] cannot be evaluated: list"),
    ("- call: C_GetSlotInfo('x')", 1, "C_GetSlotInfo cannot take that"),
    ("- call: slots = C_GetSlotList()\n- expect: slots == []", 2, "awaited slots == [], but came: slots is [0], []"),
    (
        "- call: C_GetTokenInfo(0)\n- expect: {call: C_GetTokenInfo, returns: CKR_NO_EVENT}\n  within: 100ms",
        2,
        "awaited C_GetTokenInfo -> CKR_NO_EVENT within 100ms, but came: C_GetTokenInfo -> CKR_OK",
    ),
    (
        "- call: C_GetTokenInfo(0)\n- expect: {count: calls, of: C_GetTokenInfo, exactly: 2}\n  within: 50ms",
        2,
        "awaited exactly 2 calls of C_GetTokenInfo within 50ms, but came: 1",
    ),
    (
        "- call: session = C_OpenSession(front)\n- expect: {session: session, state: gone}\n  within: 50ms",
        2,
        "awaited session session to be gone within 50ms, but came: CKS_RO_PUBLIC_SESSION",
    ),
    (
        "- arm: {x: {on: {call: C_GetTokenInfo, when: after}, do: {remove: front}}}\n- call: C_GetTokenInfo(front)\n"
        "- wait: {trigger: x}\n- remove: front",
        4,
        "remove is not possible: reader 'front' holds no card",
    ),
    ("- run: 'true'\n  files: {a: x, a/b: y}", 1, "run true: cannot write "),
    ("- touch: front", 1, "touch changes nothing: no key on the card that is there asks for a touch"),
    ('- pin-pad: {front: "123456"}', 1, "pin-pad changes nothing: the card that is there has no PIN asked for at"),
    (
        "- arm: {x: {on: {call: C_GetTokenInfo}, do: {remove: front}}}\n- wait: {trigger: x}\n  within: 50ms\n"
        "- call: C_GetTokenInfo(front)",
        2,
        "awaited the trigger 'x' to fire within 50ms, but came: 0 times; its moment came 0 times",
    ),
    (
        "- later: 1s\n  do: {remove: front}\n- expect: {nothing: {event: remove}, for: 5s}",
        2,
        "awaited nothing for 5s: the event 'remove'; but it came",
    ),
    (
        "- run: sh -c 'echo no; echo why >&2; exit 4'",
        1,
        "sh to end with 0 within 10s, but it has ended with 4\nno\nwhy",
    ),
    ("- run: sleep 100\n  within: 100ms", 1, "awaited sleep to end with 0 within 100ms, but it runs on"),
    ("- run: echo hello\n  output: ^bye", 1, "to print /^bye/ within 10s, but it has printed:\nhello"),
    ("- run: no-such-program", 1, "cannot run 'no-such-program': No such file or directory"),
    ("- run: /etc/passwd", 1, "cannot run '/etc/passwd': Permission denied"),
    ("- run: sleep 9\n  background: true\n- wait: {program: sleep}\n  within: 100ms", 2, "sleep to end within 100ms"),
    ("- run: 'true'\n  background: true\n- expect: {program: 'true', output: x}", 2, "it has printed"),
    (
        "- run: sleep 9\n  background: true\n- expect: {nothing: {program: sleep}, for: 50ms}\n- send: {sleep: x}\n"
        "- stop: sleep\n- expect: {program: sleep, exits: 0}",
        5,
        "but it has ended with SIGKILL",
    ),
    ("- run: sleep 100\ndeadline: 300ms", 1, "(the scenario's deadline of 300ms is over)"),
    (
        "- repeat: 3\n  steps:\n  - remove: front\n  - insert: {front: alice}\n  - call: C_GetInfo() -> CKR_NO_EVENT",
        1,
        "step 1.3 (round 1), call C_GetInfo() -> CKR_NO_EVENT: awaited",
    ),
]


@pytest.mark.parametrize(("steps", "number", "message"), FAILURES, ids=[each[2][:60] for each in FAILURES])
def test_failures_say_what_was_awaited_and_what_came(play: Play, steps: str, number: int, message: str) -> None:
    outcome = play("cards: {alice: {}}\nsteps:\n" + steps)
    assert outcome.status is Status.FAILED
    assert message in outcome.message
    place, _, rest = outcome.message.partition(": step ")
    assert place.rpartition("/")[2].startswith("some.yaml:")
    assert rest.startswith(f"{number}")


def test_a_card_that_hangs_in_the_hand(play: Play) -> None:
    """A reset waits for the card's command, but the scenario does not wait for it; what hangs is let go at the end."""
    outcome = play(
        """
        within: 300ms
        steps:
        - call: session = C_OpenSession(front)
        - arm: {stuck: {on: {ins: 20}, do: {hang: door}}}
        - call: C_Login(session, CKU_USER, "123456")
          background: login
        - wait: {trigger: stuck}
        - reset: front
        """
    )
    assert "reset does not come to an end" in outcome.message


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


WAYS = ["sleep 300 & echo $! > PID", "setsid sleep 300 & echo $! > PID", "echo $$ > PID; exec sleep 300"]


@pytest.mark.parametrize("way", WAYS)
def test_no_program_outlives_its_scenario(passes: Play, tmp_path: Path, way: str) -> None:
    pid = tmp_path / "pid"
    command = f"(trap '' TERM HUP; {way.replace('PID', str(pid))}; wait)"
    passes(
        f"""
        steps:
        - run: [sh, -c, {command!r}]
          name: stubborn
          background: true
        - run: [sh, -c, 'until [ -s {pid} ]; do sleep 0.01; done']
        """
    )
    assert not _lives(int(pid.read_text()))


def test_a_program_that_prints_without_end(play: Play) -> None:
    outcome = play(
        """
        steps:
        - run: yes cardtear
          background: true
        - wait: {program: 'yes', output: cardtear}
        - expect: {program: 'yes', output: never}
          within: 300ms
        """
    )
    assert "bytes were too many to keep" in outcome.message


def test_a_program_that_wants_a_terminal_has_none(passes: Play) -> None:
    passes(
        """
        steps:
        - run: sh -c 'tty; read answer || echo nothing to read; exec 3</dev/tty'
          output: nothing to read
          exits: [1, 2]
        """
    )


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("program", ["p11tool", "shell"])
def test_a_program_that_asks_for_a_pin_ends(passes: Play, program: str, background: bool) -> None:
    """What it reads is at its end, also in the background: a prompt is no hang."""
    commands = {
        "p11tool": "p11tool --provider ${module} --login --list-all pkcs11:token=Alice",
        "shell": "[sh, -c, 'read pin || exit 7']",
    }
    if program == "p11tool" and shutil.which(program) is None:
        pytest.skip("not installed: p11tool")
    ends = "- wait: {program: asks, exits: any}" if background else ""
    how = "background: true" if background else "exits: any"
    passes(f"steps:\n- run: {commands[program]}\n  name: asks\n  {how}\n{ends}\n")


def test_a_program_that_is_spoken_to_waits_for_more(passes: Play) -> None:
    passes(
        """
        steps:
        - run: [sh, -c, 'read one; echo "got $one"; read two; echo "got $two"; read three || echo end']
          name: app
          background: true
          input: "first\\n"
        - wait: {program: app, output: got first}
        - expect: {nothing: {program: app, exits: any}, for: 50ms}
        - repeat: 1
          steps:
          - send: {app: "second\\n"}
        - wait: {program: app, output: got second}
        - stop: app
        """
    )


def test_a_client_that_cannot_load_its_module(play: Play) -> None:
    outcome = play("clients: {other: {module: '${folder}/none.so'}}\nsteps:\n- call: C_GetSlotList()\n  client: other")
    assert outcome.status is Status.FAILED
    assert "the client 'other' cannot load the module" in outcome.message


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("apdu: {front: 00A40400}\n  status: 6A82", "awaited 6A82, but came 9000"),
        ("apdu: {front: 00A40400}\n  status: [6A82, none]", "awaited 6A82 | none, but came 9000"),
        ("apdu: {front: 00A40400}\n  data: ^nothing", "awaited data that fit /^nothing/, but came"),
        ("apdu: {front: 0020008008343434343434FFFF}", "awaited 9000, but came 6"),
    ],
)
def test_an_apdu_that_is_answered_otherwise(play: Play, step: str, message: str) -> None:
    """Only its header is in the report: there may be a PIN in it."""
    outcome = play(f"steps:\n- {step}\n")
    assert outcome.status is Status.FAILED
    assert message in outcome.message
    assert "3434" not in str(outcome)


def test_an_apdu_while_the_card_hangs_has_its_deadline(play: Play) -> None:
    outcome = play(
        """
        triggers: {stop: {on: {ins: A4}, do: {hang: gate}}}
        steps:
        - apdu: {front: 00A40400}
          within: 200ms
        """
    )
    assert "apdu does not come to an end" in outcome.message


def test_a_client_is_killed_in_its_call(passes: Play) -> None:
    passes(
        """
        steps:
        - call: C_WaitForSlotEvent() -> died
          background: waiting
        - wait: {call: C_WaitForSlotEvent, when: during}
        - arm: {end: {on: {call: C_GetSlotInfo}, do: crash-application}}
        - call: C_GetSlotInfo(front) -> died
          thread: other
        - wait: {background: waiting}
        """
    )


def test_what_is_missing_is_said(play: Play) -> None:
    outcome = play("needs: [sh, no-such-program, no_such_module]\nsteps: [crash]")
    assert outcome.status is Status.SKIPPED
    assert outcome.message == "needs no-such-program, no_such_module, which is not installed"


def test_what_the_machine_does_not_allow_is_said(play: Play, passes: Play) -> None:
    """A need with arguments is a command that has to succeed, as where a container forbids namespaces."""
    outcome = play("needs: [test -e /dev/null, test -e /nowhere, no-such-program --at-all, nor_this]\nsteps: [crash]")
    assert outcome.status is Status.SKIPPED
    assert outcome.message == (
        "needs nor_this, which is not installed; needs 'test -e /nowhere', which fails here; "
        "needs 'no-such-program --at-all', which fails here"
    )
    passes("needs: [test -e /dev/null]\nsteps: [crash]")


def test_an_image_that_is_missing(play: Play) -> None:
    outcome = play("cards: {alice: {path: none.card}}\nsteps: [crash]")
    assert outcome.status is Status.ERROR
    assert "cannot be played" in outcome.message
    assert "none.card" in outcome.message


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_an_image_is_copied(passes: Play, write: Callable[..., Path], tmp_path: Path, passphrase: str | None) -> None:
    """What a scenario does to a card is not done to the file, an encrypted one neither."""
    from cardtear.card.issuing.profiles import CardRequest, create
    from cardtear.lab.processes import paths

    secret = None if passphrase is None else passphrase.encode()
    create(CardRequest("blank", name="Carol"), tmp_path / "carol.card", paths.test_ca(), secret)
    before = (tmp_path / "carol.card").read_bytes()
    (tmp_path / "passphrase").write_text(f"{passphrase}\n")
    encrypted = "" if passphrase is None else ", passphrase-file: passphrase"
    passes(
        f"""
        cards: {{carol: {{path: carol.card{encrypted}}}}}
        readers: {{front: carol}}
        steps:
        - call: token = C_GetTokenInfo(front)
        - expect: token.label == "Carol"
        - block-pin: front
        """
    )
    assert (tmp_path / "carol.card").read_bytes() == before


def test_an_encrypted_image_without_its_passphrase(play: Play, tmp_path: Path) -> None:
    from cardtear.card.issuing.profiles import CardRequest, create
    from cardtear.lab.processes import paths

    create(CardRequest("blank"), tmp_path / "alice.card", paths.test_ca(), b"correct horse")
    outcome = play("cards: {alice: {path: alice.card}}\nsteps: [crash]")
    assert outcome.status is Status.ERROR
    assert "encrypted" in outcome.message
    (tmp_path / "wrong").write_text("battery staple\n")
    outcome = play("cards: {alice: {path: alice.card, passphrase-file: wrong}}\nsteps: [crash]")
    assert outcome.status is Status.ERROR
    assert "not the passphrase" in outcome.message
    create(CardRequest("blank"), tmp_path / "open.card", paths.test_ca())
    outcome = play("cards: {alice: {path: open.card, passphrase-file: wrong}}\nsteps: [crash]")
    assert outcome.status is Status.ERROR
    assert "is not encrypted: the passphrase file would do nothing" in outcome.message


def test_pins_are_in_no_report(play: Play) -> None:
    outcome = play(
        """
        cards: {alice: {pin: "87654321", puk: "11223344"}}
        steps:
        - call: session = C_OpenSession(front)
        - call: C_Login(session, CKU_USER, "87654321")
        - run: sh -c 'echo the PIN is 87654321; exit 1'
        """
    )
    assert outcome.status is Status.FAILED
    assert "87654321" not in repr(outcome) + str(outcome.records)
    assert "8765" not in outcome.message  # not a part of it, either; records have times of many digits
    assert "<PIN>" in outcome.message


def test_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario as a value, with progress, and the time line that it leaves."""
    seen: list[StepResult] = []
    outcome = play_value(
        Scenario(
            name="by hand",
            steps=[
                Call(call="session = C_OpenSession(front)"),
                Remove(remove="front"),
                Call(call="C_GetSessionInfo(session) -> CKR_SESSION_HANDLE_INVALID"),
                Expect.model_validate({"expect": {"event": "remove", "since": "start"}}),
            ],
        ),
        progress=seen.append,
    )
    assert outcome.passed
    assert outcome.steps == seen
    assert [step.number for step in seen] == ["1", "2", "3", "4"]
    kinds = [record["kind"] for record in outcome.records]
    assert {"call", "return", "apdu", "event"} == set(kinds)
    assert [record["number"] for record in outcome.records] == sorted(record["number"] for record in outcome.records)


def test_played_again_and_again_nothing_is_left(passes: Play) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    text = "steps:\n- call: C_GetSlotList()\n- run: 'true'\n- call: C_WaitForSlotEvent()\n  background: w\n"
    passes(text)
    before = files()
    for _ in range(3):
        passes(text)
    wait_until(lambda: files() <= before)  # threads of the last one close what they have


def test_junit_of_a_message_that_is_no_xml(tmp_path: Path) -> None:
    outcome = Outcome("x\0", "", Status.FAILED, 0.1, "said \x1b[31mred\x1b[0m \ud800 <&>\nsecond line")
    write_junit(tmp_path / "junit.xml", [outcome])
    (case,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert case[0].text is not None
    assert "red" in case[0].text
    assert case[0].get("message", "").endswith("<&>")


def test_a_note_is_in_the_report(play: Play) -> None:
    outcome = play("steps:\n- call: C_GetInfo() -> CKR_NO_EVENT\n  note: what nobody gives")
    assert "C_GetInfo() -> CKR_NO_EVENT (what nobody gives): awaited" in outcome.message


def test_every_outcome_is_json(play: Play) -> None:
    import json

    outcome: Outcome = play("steps:\n- call: x = C_GetSlotList() -> CKR_NO_EVENT")
    said = json.loads(json.dumps(outcome.as_json()))
    assert said["status"] == "failed"
    assert said["steps"][0]["message"] == "awaited C_GetSlotList -> CKR_NO_EVENT, but came CKR_OK"
