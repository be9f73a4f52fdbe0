# SPDX-License-Identifier: MIT
"""What is wrong on a command line is one line or JSON, nothing is dropped silently, and nothing has been changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cardtear.lab.cli.main import app
from cardtear.lab.control.client import Control, ControlFailure
from cardtear.lab.control.simulator import Simulator
from cardtear.reader.pcsc import reader_conf
from typer.testing import CliRunner

DEADLINE = 30.0
Done = tuple[int, str, str]
Command = Callable[..., Done]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """With a card in `front`."""
    with Simulator() as made:
        made.plug("front")
        made.insert("front")
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def cardtear(simulator: Simulator, folder: Path) -> Iterator[Command]:
    """Carries out command lines in `folder`: exit code, standard output and error."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[2] / "shared" / "forked_cli.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **simulator.environment, "COLUMNS": "200"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(*words: str) -> Done:
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()
            code, output, errors = json.loads(process.stdout.readline())
            return code, output, errors

        yield run
        process.stdin.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("rnu", "did you mean 'run'? (cardtear --help)"),
        ("card nwe", "did you mean 'new'? (cardtear card --help)"),
        ("--nosuch", "No such option: --nosuch"),
        ("plug", "Missing argument"),
        ("pcscd pause", "'pause' is not one of 'stop', 'start'"),
        ("block-pin --left many", "--left"),
        ("block-pin --left 1 --left 2", "--left is given twice, and can have one value"),
        ("trace --follow --no-follow", "--follow is given twice"),
        ("run --nosuch -- true", "No such option: --nosuch"),
        ("run --reader", "--reader"),
        ("run --no-card --name Bob -- true", "--no-card and --name do not go together"),
        ("run --own-pcscd --pcsc -- true", "--own-pcscd and --pcsc do not go together"),
        ("run --passphrase-file file -- true", "--passphrase-file is for --image"),
        ("run --pcsc-name Ours -- true", "--pcsc-name is for --own-pcscd"),
        ("arm remove front --call C_Sign --seed 3", "--seed is for --probability"),
        ("arm remove front --apdu --ins 87", "--apdu and --ins do not go together"),
        ("arm remove front --call C_Sign --name Bob", "'remove' takes no card; leave out --name"),
        (
            "arm pin-pad front 123456 --pin-file pin --call C_Login",
            "PIN and --pin-file both give a PIN; give one of them",
        ),
        ("play --schema --broken", "--schema and --broken do not go together"),
        ("play --schema B05", "--schema plays no scenario; leave out 'B05'"),
        ("swap front --pin 123456 --set pin=654321", "--pin and --set pin both give the pin; give one of them"),
        ("swap front --set years=1 --set years=2", "--set years and --set years both give the years"),
        ("swap front --set mechanisms=CKM_ECDSSA", "there is no mechanism 'CKM_ECDSSA'; did you mean 'CKM_ECDSA'?"),
        ("card new new.card --set mechanisms=CKM_ECDSSA", "did you mean 'CKM_ECDSA'?"),
        ("card new new.card --set mechanisms=CKM_RSA_PKC,CKM_ECDSA", "did you mean 'CKM_RSA_PKCS'?"),
        ("run --set mechanisms=CKM_X -- true", "there is no mechanism 'CKM_X'"),
        ("arm swap front --set mechanisms=CKM_X --signal go", "there is no mechanism 'CKM_X'"),
        ("swap front --set-file pin", "--set-file wants NAME=FILE, not 'pin'"),
        ("swap front --image -", "a card image is a file of its own"),
        ("card new -", "a card image is a file of its own"),
        ("card ca --out - --json", "- and --json both go to standard output; give one of them a file"),
        ("play B05 --junit - --trace /dev/stdout", "- and /dev/stdout both go to standard output"),
        ("play -", "a scenario comes out of a file"),
    ],
)
def test_a_wrong_command_line(cardtear: Command, simulator: Simulator, words: str, complaint: str) -> None:
    """One line, or JSON where that is wanted; nothing has happened."""
    before = _state(simulator)
    code, output, errors = cardtear(*words.split())
    if "--json" not in words:
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith("cardtear: ")
        assert complaint in errors
        first, *rest = words.split()
        code, output, errors = (
            cardtear(first, *rest, "--json") if "--" not in rest else cardtear(first, "--json", *rest)
        )
    if not words.endswith("--reader"):  # it takes the next word
        assert (code, errors) == (2, "")
        error = json.loads(output)["error"]
        assert error["code"] in ("bad-request", "profile-error", "scenario-error")
        assert complaint in error["message"] or "--json" in error["message"]
    assert _state(simulator) == before


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        ("card ca --out -", "-----BEGIN CERTIFICATE-----"),
        ("card export -o - front.card", '{\n  "cardtear"'),
        ("card export --pem --out=- front.card", "# 9A"),
        ("card export --with-keys --out=/dev/stdout front.card", '{\n  "cardtear"'),
        ("play still.yaml --junit -", "<?xml"),
        ("play still.yaml --trace /dev/stdout", '{"scenario"'),
    ],
)
def test_nothing_else_is_on_standard_output(cardtear: Command, folder: Path, words: str, beginning: str) -> None:
    """Where an output is standard output, what is said to people is on standard error."""
    if not (folder / "front.card").exists():
        assert cardtear("card", "new", "front.card", "--profile", "piv-ec")[0] == 0
        (folder / "still.yaml").write_text("about: A card is pulled.\nsteps:\n  - remove: front\n")
    code, output, errors = cardtear(*words.split())
    assert code == 0, errors
    assert output.startswith(beginning)
    if output[0] == "{" and "\n{" not in output.strip():
        json.loads(output)
    assert not (folder / "-").exists()


REMOVE = {"do": "remove", "reader": "front"}
SIGN, APDU, ANSWER = {"call": "C_Sign"}, {"ins": "87"}, {"ins": "87", "when": "after"}


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({"do": "arm", "on": ANSWER, "then": {"do": "garble", "count": 0}}, "'count' of 'garble' is 1 to 65538"),
        ({"do": "arm", "on": ANSWER, "then": {"do": "cut", "length": -1}}, "'length' of 'cut' is 0 to 65538"),
        ({"do": "arm", "on": APDU, "then": {"do": "answer", "status": 70000}}, "'status' of 'answer' is 0 to 65535"),
        ({"do": "arm", "on": {**APDU, "slot": "FF"}, "then": REMOVE}, "FF is no key slot; there are: 9A"),
        ({"do": "arm", "on": {"ins": "A4", "slot": "9A"}, "then": REMOVE}, "an APDU with ins A4 has no key slot"),
        ({"do": "arm", "on": {**APDU, "call": "C_Sing"}, "then": REMOVE}, "did you mean 'C_Sign'?"),
        ({"do": "arm", "on": {**APDU, "call": "C_GetSlotList"}, "then": REMOVE}, "C_GetSlotList sends no APDU"),
        ({"do": "arm", "on": {**SIGN, "application": ""}, "then": REMOVE}, "'application' is the name of a program"),
        ({"do": "arm", "on": {"signal": ""}, "then": REMOVE}, "a signal is a word"),
        ({"do": "arm", "on": {"seconds": 1, "nth": 2}, "then": REMOVE}, "a time comes once"),
        ({"do": "arm", "on": {"seconds": 1, "times": None}, "then": REMOVE}, "a time comes once"),
        ({"do": "arm", "on": SIGN, "then": {"do": "return", "value": -1}}, "'value' of 'return' is 0 to"),
        ({"do": "arm", "on": SIGN, "then": {"do": "return", "value": 2**64}}, "'value' of 'return' is 0 to"),
        ({"do": "arm", "on": SIGN, "then": {"do": "return", "value": True}}, "a return value is wanted"),
        ({"do": "arm", "on": SIGN, "then": {"do": "return", "value": "CKR_DEVICE_EROR"}}, "mean 'CKR_DEVICE_ERROR'?"),
        (
            {"do": "arm", "on": SIGN, "then": {"do": "block-pin", "reader": "front", "left": 16}},
            "'left' of 'block-pin'",
        ),
        ({"do": "arm", "on": SIGN, "then": {"do": "plug", "reader": ""}}, "not a reader name"),
        ({"do": "arm", "on": SIGN, "then": {"do": "insert", "reader": "front", "atr": ""}}, "an ATR has 1 to 33 bytes"),
        (
            {
                "do": "arm",
                "on": SIGN,
                "then": {"do": "later", "seconds": 1, "then": {"do": "cut", "length": 1}},
            },
            "'later' cannot do 'cut'",
        ),
        ({"do": "later", "seconds": 1, "then": {"do": "status"}}, "'later' cannot do 'status'"),
        ({"do": "later", "seconds": 1, "then": {"do": "hang"}}, "'later' cannot do 'hang'"),
        ({"do": "later", "seconds": 1, "then": {"do": "remove", "reader": "frnt"}}, "did you mean 'front'?"),
        ({"do": "signal", "signal": ""}, "a word is wanted"),
        ({"do": "pin-pad", "reader": "front", "pin": 65 * "1"}, "nobody types that at a PIN pad"),
        ({"do": "pin-pad", "reader": "front", "pin": "\x1b"}, "nobody types that at a PIN pad"),
    ],
)
def test_a_verb_that_can_do_nothing(simulator: Simulator, request_: dict[str, Any], complaint: str) -> None:
    """Whoever asks for it, it is refused at once and nothing is armed."""
    before = _state(simulator)
    verb = request_["do"]
    with (
        Control(Path(simulator.environment["CARDTEAR_CONTROL"])) as control,
        pytest.raises(ControlFailure, match=re.escape(complaint)),
    ):
        control.do(verb, **{name: value for name, value in request_.items() if name != "do"})
    assert _state(simulator) == before


# Every command with every argument wrong

ARGUMENTS = {
    "reader": "front",
    "verb": "remove",
    "words": "front",
    "trigger": "99",
    "word": "nobody",
    "path": "front.card",
    "copy": "nowhere/copy.card",
    "source": "nowhere",
    "tag": "5FC102",
    "action": "stop",
    "files": "nowhere.yaml",
    "command": "nowhere",
}
"""What its arguments are otherwise: nothing that would change anything."""

MORE = {"arm": ["--call", "C_Sign"], "trace": ["--no-follow"], "card new": ["--profile", "blank"]}
WRONG = ("", "nosuch", "-1", 4000 * "x", "\x1b[31m\x01", "99999999999999999999")
ANY_TEXT = frozenset(
    {"name", "puk", "pin", "application", "reader", "words", "signal", "atr", "command", "nth", "times"}
)
"""Parameters that take such a text, or some of these as hexadecimal digits."""
IS_WRITTEN = frozenset({"out", "junit", "trace", "html", "svg", "json_file", "write", "path", "copy"})


def _commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    root = typer.main.get_command(app)
    for name in root.list_commands(None):  # type: ignore[attr-defined,arg-type]
        command = root.get_command(None, name)  # type: ignore[attr-defined,arg-type]
        if hasattr(command, "commands"):
            yield from (((name, each), command.commands[each]) for each in command.commands)
        else:
            yield (name,), command


COMMANDS = {" ".join(names): (names, command) for names, command in _commands() if names != ("serve",)}
IS_ELSEWHERE = frozenset({"help", "from_pcsc", "prepare", "recover", "only", "json_file", "html", "svg"})
"""Options of other tests: of some a whole sweep comes, and what other programs say may have several lines."""


def _cases() -> Iterator[tuple[str, Any, str]]:
    """Each option once, in one of the commands that have it, each argument of each command twice."""
    seen = set(IS_ELSEWHERE)
    for name in ("card new", "arm", *(each for each in COMMANDS if each != "sweep"), "sweep"):
        for number, parameter in enumerate(COMMANDS[name][1].params):
            if parameter.param_type_name == "argument" and name != "sweep":
                yield from ((name, parameter, WRONG[(number + len(name) + each) % len(WRONG)]) for each in (0, 1))
            elif parameter.name not in seen and not getattr(parameter, "is_flag", False):
                yield name, parameter, WRONG[(number + len(name)) % len(WRONG)]
            seen.add(parameter.name)


CASES = list(dict.fromkeys(_cases()))


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in CASES))
def test_every_argument_wrong(cardtear: Command, simulator: Simulator, folder: Path, name: str) -> None:
    """Refused in one line, with nothing changed; or taken, where it is not wrong there."""
    names, command = COMMANDS[name]
    if not (folder / "front.card").exists():
        assert cardtear("card", "new", "front.card", "--profile", "piv-ec")[0] == 0
    before = _state(simulator), sorted(folder.iterdir())
    for parameter, value in [(parameter, value) for each, parameter, value in CASES if each == name]:
        words = _words(names, command, parameter, value)
        code, output, errors = cardtear(*words)
        if code != 0:
            assert code in (1, 2, 126, 127), (words, code, errors)
            assert (output, errors.count("\n")) == ("", 1), (words, output, errors)
            assert errors.startswith("cardtear: "), words
            assert errors.rstrip("\n").isprintable(), words
            assert (_state(simulator), sorted(folder.iterdir())) == before, words
        else:
            assert errors == "", words
            assert parameter.name in IS_WRITTEN or (value.isprintable() and parameter.name in ANY_TEXT), words
            _restore(simulator, folder, before[1])
            before = _state(simulator), before[1]


def _words(names: tuple[str, ...], command: Any, wrong: Any, value: str) -> list[str]:
    """A command line that is right but for one value."""
    words = [*names]
    if wrong.param_type_name == "option":
        words.append(f"{max(wrong.opts, key=len)}={value}")
    more = MORE.get(" ".join(names), [])
    words += more if not more or more[0] not in wrong.opts else []
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    given = [value if each is wrong else ARGUMENTS.get(each.name, "") for each in arguments]
    needed = [word for word, each in zip(given, arguments, strict=True) if each is wrong or each.name in ARGUMENTS]
    return [*words, "--", *needed]


def _restore(simulator: Simulator, folder: Path, kept: list[Path]) -> None:
    """Undo what has been taken."""
    for number in simulator.triggers:
        simulator.disarm(number)
    for each in simulator.status()["readers"]:
        if each["name"] != "front":
            simulator.unplug(each["name"])
    if simulator.testbed.reader("front").insertion is None:
        simulator.insert("front")
    for path in set(folder.iterdir()) - set(kept):
        path.unlink()


def _state(simulator: Simulator) -> Any:
    """What a command may change."""
    status = simulator.status()
    return {key: status[key] for key in ("readers", "triggers")}


@pytest.mark.parametrize(
    ("words", "written", "other"),
    [
        ("play {}.yaml --junit {}.yaml", "a", "a"),
        ("play {}.yaml --trace {}.yaml", "a", "link"),
        ("play {}.yaml --trace {}.yaml", "a", "second"),
        ("play a.yaml --junit {} --trace {}", "j", "./j"),
        ("play a.yaml --junit {} --trace {}", "link.yaml", "second.yaml"),
        ("play imaged.yaml --junit {} --trace {}", "j", "own.card"),
        ("sweep --image {} --json {} -- true", "own.card", "own.card"),
        ("sweep --image {} --html {} -- true", "own.card", "link.card"),
        ("sweep --json {} --svg {} -- true", "j", "j"),
        ("sweep --set-file pin={} --junit {} -- true", "pin", "pin"),
        ("sweep --json {} -- sh {}", "pin", "pin"),
        ("card export {} -o {}", "own.card", "own.card"),
        ("card export {} -o {}", "own.card", "link.card"),
        ("card export own.card --passphrase-file {} -o {}", "pin", "pin"),
        ("card copy {} {}", "own.card", "own.card"),
        ("card copy {} {}", "own.card", "second.card"),
        ("card import {} {}", "own.card", "own.card"),
        ("card ca --out {}{}", "", "data/cardtear/ca/ca.key"),
    ],
)
def test_no_output_takes_the_place_of_what_is_read_or_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, written: str, other: str
) -> None:
    """It is an error before anything is done, by whatever name the file goes; all files are as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    runner = CliRunner()
    assert runner.invoke(app, ["card", "new", "own.card", "--profile", "piv-ec"]).exit_code == 0
    still = "about: A card is pulled.\nsteps:\n  - remove: front\n"
    Path("a.yaml").write_text(still)
    Path("imaged.yaml").write_text(f"cards:\n  alice:\n    path: own.card\n{still}")
    Path("pin").write_text("654321\n")
    for name in ("a.yaml", "own.card"):
        ending = Path(name).suffix
        Path(f"link{ending}").symlink_to(name)
        os.link(name, f"second{ending}")
    before = _contents(tmp_path)
    result = runner.invoke(app, words.format(written, other).split())
    assert result.exit_code in (1, 2), result.output
    assert re.search("same file|which is read|there already|it is a card image", result.output)
    assert _contents(tmp_path) == before


def test_one_device_can_have_all_reports(cardtear: Command, folder: Path) -> None:
    """What is written there takes no place of anything."""
    (folder / "still.yaml").write_text("about: A card is pulled.\nsteps:\n  - remove: front\n")
    assert cardtear("play", "still.yaml", "--junit", "/dev/null", "--trace", "/dev/null")[0] == 0


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_the_driver_of_pcscd_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one of its copies, by the configuration that names them."""
    driver = tmp_path / "libvpcd.so"
    driver.write_bytes(b"driver")
    monkeypatch.setattr("cardtear.reader.pcsc.reader_conf.find_driver", lambda: str(driver))
    for name in (driver, *reader_conf.copies(str(driver), 4)):
        result = CliRunner().invoke(app, ["pcsc", "--readers", "4", "--write", str(name)])
        assert (result.exit_code, "which is read" in result.output) == (2, True), result.output
    assert _contents(tmp_path) == {str(driver): b"driver"}
