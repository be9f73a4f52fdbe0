# SPDX-License-Identifier: MIT
"""Files that users name may be devices, FIFOs, folders or endless: each is one clear line, at once, and no memory."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cardtear.card.files import input_file
from cardtear.card.image.store import read_image
from cardtear.lab.cli.main import app
from cryptography.hazmat.primitives.asymmetric import ec

from ..conftest import Cli, certified, pem

DEADLINE = 60
_MEMORY = 1_500_000
"""KiB of address space: what reads without end fails in it, and nothing else does."""

COMMANDS = (
    "card new n.card --set ca_certificate={} --set ca_key={}",
    "card new n.card --set ca_certificate=a.pem --set ca_key={}",
    "card new n.card --passphrase-file {}",
    "card new n.card --pin-file {}",
    "card new n.card --puk-file {}",
    "card new n.card --set-file name={}",
    "card show {}",
    "card show sealed.card --passphrase-file {}",
    "card copy {} n.card",
    "card copy a.card n.card --new-passphrase-file {}",
    "card export {}",
    "card import n.card {}",
    "card import a.card {}",
    "card import a.card {} --slot 9A",
    "card import a.card a.pem --slot 9A --password-file {}",
    "card put a.card 5FC109 {}",
    "card put {} 5FC109 a.pem",
    "play {}",
    "run --image {} -- true",
    "run --image sealed.card --passphrase-file {} -- true",
    "sweep --image {} -- true",
    "sweep --json {} --resume -- true",
)
FILES = ("/dev/zero", "folder", "missing", "long", "loop", "fifo")
Forked = Callable[[str], tuple[int, str, str]]


def _limited(*words: str) -> list[str]:
    return ["sh", "-c", f"ulimit -v {_MEMORY} && exec {shlex.join([sys.executable, *words])}"]


@pytest.fixture
def place(tmp_path: Path, image: Path) -> Path:
    """A folder with a card and what can go wrong."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(100 << 30)  # which takes no room on the disk
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "a.pem").write_bytes(pem(key, certified(key, is_authority=True)))
    (tmp_path / "passphrase").write_text("correct horse\n")
    return tmp_path


@pytest.fixture
def forked(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forked]:
    """Carries out command lines in that folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "data"))
    monkeypatch.delenv("CARDTEAR_PASSPHRASE_FILE", raising=False)
    with subprocess.Popen(
        _limited(str(Path(__file__).parents[2] / "shared" / "forked_cli.py")),
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def carry_out(command: str) -> tuple[int, str, str]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(command.split()) + "\n")
            process.stdin.flush()
            code, output, errors = json.loads(process.stdout.readline())
            return code, output, errors

        yield carry_out
        process.stdin.close()
        assert process.wait(DEADLINE) == 0


def test_every_file_that_a_command_reads(forked: Forked, place: Path) -> None:
    """A FIFO only where nobody waits for its writer: elsewhere that is what a shell's `<(...)` is for."""
    assert forked("card new sealed.card --profile blank --passphrase-file passphrase")[0] == 0
    before = {path.name: path.read_bytes() for path in place.glob("*.card")}
    for command in COMMANDS:
        for file in FILES:
            waits = not ("ca_" in command or "show {}" in command or "--image {}" in command or "copy {}" in command)
            if (file == "fifo" and waits) or (file != "long" and "--resume" in command):
                continue  # a report that is not there is begun
            code, output, errors = forked(command.format(file, file))
            asked = f"{command}: {file}: {output}{errors}"
            assert code in (1, 2), asked
            assert (errors.count("\n"), output) == (1, ""), asked
            assert errors.startswith("cardtear: "), asked
            assert file in errors, asked
            assert {path.name: path.read_bytes() for path in place.glob("*.card")} == before, asked


_ASK = """
import json, sys
from cardtear.lab.control.client import Control, ControlFailure
with Control() as control:
    for card in json.loads(sys.argv[1]):
        try:
            control.do("swap", reader="front", card=card)
            print("done")
        except ControlFailure as error:
            print(error)
    print(control.do("status")["readers"][0]["card"])
"""


def test_every_file_that_a_simulator_reads(place: Path) -> None:
    """Nothing of it takes the simulator's memory or time, and the card that is there stays."""
    files = [str(place / file) for file in FILES]
    own_ca = [{"ca_certificate": file, "ca_key": file} for file in files]
    keys = [{"ca_certificate": str(place / "a.pem"), "ca_key": file} for file in files]
    sealed = [{"image": str(place / "a.card"), "passphrase_file": file} for file in files if "fifo" not in file]
    asked = [*own_ca, *keys, *files, *sealed]
    words = ("-m", "cardtear.lab.cli.main", "run", "--", sys.executable, "-c", _ASK, json.dumps(asked))
    done = subprocess.run(_limited(*words), cwd=place, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *answers, card = done.stdout.splitlines()
    assert len(answers) == len(asked)
    for file, answer in zip([*files * 3, *files[:-1]], answers, strict=True):
        assert file in answer
    assert "Alice" in card


@pytest.mark.parametrize("words", ["import a.card -", "import a.card - --slot 9A", "put a.card 5FC109 -"])
def test_standard_input_has_an_end(place: Path, words: str) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        command = _limited("-m", "cardtear.lab.cli.main", "card", *words.split())
        done = subprocess.run(
            command, cwd=place, stdin=zeros, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("cardtear: -: it is longer than ")


def test_what_a_shell_s_pipe_brings(cli: Cli, place: Path) -> None:
    """`<(...)`: of a key, of an object, of a scenario, whose text is read once."""
    (place / "s.yaml").write_text("steps:\n- remove: front\n")
    cardtear = f"{sys.executable} -m cardtear.lab.cli.main"
    for command, said in (
        ("card import a.card <(cat a.pem) --slot 9A", "in slot 9A"),
        ("card put a.card 5FC109 <(printf x)", "1 bytes of"),
        ("play <(cat s.yaml)", "1 passed"),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{cardtear} {command}"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done
        assert said in done.stdout
    assert read_image(place / "a.card").objects[0x5FC109] == b"x"


def test_the_bound(tmp_path: Path) -> None:
    """As long as it may be, and a byte longer; a FIFO that nobody writes is given up where there is a deadline."""
    (file := tmp_path / "file").write_bytes(b"x" * 70_000)
    for read in (input_file.read, input_file.read_regular):
        assert read(file, 70_000) == b"x" * 70_000
        with pytest.raises(OSError, match="longer than 69999 bytes"):
            read(file, 69_999)
    os.mkfifo(fifo := tmp_path / "fifo")
    with pytest.raises(TimeoutError, match="nothing came out of it"):
        input_file.read(fifo, 1, patience=0.1)
    with pytest.raises(OSError, match="no regular file"):
        input_file.read_regular(fifo, 1)


@pytest.mark.parametrize("command", ["play", "card import", "card put"])
def test_a_fifo_that_nobody_writes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    image = tmp_path / "a.card"
    words = {
        "play": ["play", str(fifo)],
        "card import": ["card", "import", str(image), str(fifo)],
        "card put": ["card", "put", str(image), "5FC109", str(fifo)],
    }
    monkeypatch.setattr(input_file, "PATIENCE", 0.1)
    with pytest.raises(SystemExit) as ended:
        app(words[command], prog_name="cardtear")
    assert ended.value.code in (1, 2)
    assert f"{fifo}: nothing came out of it in 0 seconds; does a program write to it?" in capsys.readouterr().err
    assert not image.exists()
