# SPDX-License-Identifier: MIT
"""The command line from outside: each command in a process of its own, each error one clear line."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from cardtear.csrc import module_path
from cardtear.lab.processes import paths

DEADLINE = 30.0
CARDTEAR = (sys.executable, "-m", "cardtear.lab.cli.main")


def cardtear(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*CARDTEAR, *arguments),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
    )


class Running:
    """A process whose lines are read as they come, with a deadline for each; killed at the end. A context manager."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)

    def line(self) -> str:
        return self._lines.get(timeout=DEADLINE)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))


class Served(Running):
    """`cardtear serve` with the card in `front`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(*CARDTEAR, "serve", "--folder", str(folder), "--json")
        ready = json.loads(self.line())
        self.environment = {name: value for name, value in ready.items() if name.startswith("CARDTEAR_")}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "run") as served:
        yield served


def one_clear_line(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("cardtear: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


# serve and the verbs


def test_a_ca_is_looked_for_where_the_command_is(served: Served, tmp_path: Path) -> None:
    """Not in the simulator's folder, where another may lie."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=CA -keyout ca.key -out ca.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "name").write_text("ca.key\n")
    settings = ["--set", "ca_certificate=ca.pem", "--set-file", "ca_key=name"]
    done = subprocess.run(
        [*CARDTEAR, "swap", "front", *settings],
        cwd=tmp_path,
        env={**os.environ, **served.environment},
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0


def test_the_ready_line_is_for_shells(tmp_path: Path) -> None:
    """Its commands can be pasted, whatever the names, and a script may stop reading after the first line."""
    folder = tmp_path / "my run"
    command = (*CARDTEAR, "serve", "--no-card", "--reader", "left one", "--folder", str(folder))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        ready = [process.stdout.readline() for _ in range(4)]
        process.stdout.close()
        try:
            assert ready[0].startswith("# ready")
            assert ready[0].endswith("cardtear remove 'left one'\n")
            shell = "".join(ready) + 'printf %s "$CARDTEAR_CONTROL"'
            told = subprocess.run(("sh", "-c", shell), capture_output=True, text=True, timeout=DEADLINE, check=True)
            assert told.stdout == str(folder / "control.sock")
            assert "left one" in cardtear("status", CARDTEAR_CONTROL=told.stdout).stdout
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0


def test_the_ready_line_is_one_write(tmp_path: Path) -> None:
    """Who closes the pipe at the first byte does not end the simulator."""
    command = (*CARDTEAR, "serve", "--no-card", "--folder", str(tmp_path / "run"))
    ours, theirs = os.pipe()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        assert os.read(ours, 1) == b"#"
        os.close(ours)
        try:
            done = cardtear("status", CARDTEAR_CONTROL=str(tmp_path / "run" / "control.sock"))
            assert done.returncode == 0, done.stderr
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0


def test_every_verb_with_json_and_without(served: Served) -> None:
    def told(*arguments: str) -> str:
        done = cardtear(*arguments, **served.environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    assert told("remove", "front") == "Alice is out of front"
    assert told("insert", "front", "--name", "Carol") == "Carol is in front"
    assert told("swap", "front") == "Bob is in front now"
    assert told("reset", "front") == "the card in front is reset"
    assert told("plug", "back") == "back is plugged in"
    assert told("arm", "remove", "front", "--ins", "87", "--nth", "2") == "armed as 1: remove front"
    assert told("unplug", "back") == "back is unplugged"
    assert "Bob" in told("status")
    assert told("plug", "back", "--contactless") == "back is plugged in"
    assert "back (contactless)" in told("status")
    assert told("unplug", "back") == "back is unplugged"
    assert json.loads(told("remove", "front", "--json")) == {"card": "Bob"}
    assert json.loads(told("insert", "front", "--profile", "blank", "--json")) == {"card": "Alice"}
    (reader,) = json.loads(told("status", "--json"))["readers"]
    assert (reader["name"], reader["card"], reader["profile"]) == ("front", "Alice", "blank")
    kinds = [json.loads(line)["kind"] for line in told("trace", "--no-follow", "--json").splitlines()]
    assert set(kinds) == {"event"}
    assert "Bob's card is pulled out of front" in told("trace", "--no-follow")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_serve_ends_without_a_trace(served: Served, tmp_path: Path, number: int) -> None:
    assert served.end(number) == 0
    assert list((tmp_path / "run").iterdir()) == []
    assert served.errors() == ""


def test_serve_can_be_ended_by_a_script(served: Served) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(served.environment["CARDTEAR_CONTROL"])
        control.sendall(b'{"do": "shutdown"}\n')
        assert b'"ok":true' in control.recv(1000)
    assert served.process.wait(DEADLINE) == 0


def test_the_trace_goes_on_while_it_is_shown(served: Served) -> None:
    with Running(*CARDTEAR, "trace", "--json", **served.environment) as following:
        assert [json.loads(following.line())["change"] for _ in range(2)] == ["plug", "insert"]
        cardtear("remove", "front", **served.environment)
        assert json.loads(following.line())["change"] == "remove"
        assert following.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 0, ""), (signal.SIGKILL, 1, "has died; start another one with: cardtear serve\n")],
)
def test_the_trace_ends_with_the_simulator(served: Served, number: int, code: int, said: str) -> None:
    """As it did: in order, or killed."""
    following = subprocess.Popen(
        (*CARDTEAR, "trace"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **served.environment},
    )
    with following:
        assert following.stdout is not None
        assert following.stdout.readline()
        served.process.send_signal(number)
        errors = following.communicate(timeout=DEADLINE)[1]
    assert (following.returncode, errors[-len(said) :]) == (code, said)
    assert errors.count("\n") == code


# Errors


def test_no_simulator(tmp_path: Path) -> None:
    where = str(tmp_path / "control.sock")
    for command in (["status"], ["remove", "front"], ["insert", "front"], ["trace"]):
        one_clear_line(cardtear(*command, CARDTEAR_CONTROL=where), where, "cardtear serve")
    done = cardtear("status", "--json", CARDTEAR_CONTROL=where)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "no-simulator"


def test_a_second_serve_on_the_same_sockets(served: Served, tmp_path: Path) -> None:
    one_clear_line(cardtear("serve", "--folder", str(tmp_path / "run")), "already", "another folder")
    assert cardtear("status", **served.environment).returncode == 0


def test_a_folder_that_is_open_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    one_clear_line(cardtear("serve", "--folder", str(folder)), str(folder), "0777", "another folder")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    one_clear_line(cardtear("serve", "--folder", str(folder)), str(folder), "65534", "another folder")


def test_what_a_dead_simulator_left_is_taken_over(served: Served, tmp_path: Path) -> None:
    served.end(signal.SIGKILL)
    with Served(tmp_path / "run") as again:
        assert cardtear("status", **again.environment).returncode == 0


def test_a_missing_or_damaged_image(served: Served, tmp_path: Path) -> None:
    missing, damaged = tmp_path / "missing.card", tmp_path / "damaged.card"
    damaged.write_bytes(b"SQLite format 3\0" + bytes(1000))
    for image, word in ((missing, "cardtear card new"), (damaged, "damaged")):
        swapped = cardtear("swap", "front", "--image", str(image), **served.environment)
        one_clear_line(swapped, str(image), word)
        one_clear_line(cardtear("card", "show", str(image)), str(image), word)
        one_clear_line(cardtear("run", "--image", str(image), "--", "true"), str(image), word)
    assert "Alice" in cardtear("status", **served.environment).stdout


def test_wrong_parameters_of_a_card(served: Served, tmp_path: Path) -> None:
    image = str(tmp_path / "x.card")
    one_clear_line(cardtear("card", "new", image, "--pin", "12"), "PIN", "6 to 8 digits", code=2)
    one_clear_line(cardtear("card", "new", image, "--profile", "visa"), "visa", "piv-ec", code=2)
    one_clear_line(cardtear("run", "--serial", "xyz", "--", "true"), "xyz", "hexadecimal", code=2)
    one_clear_line(cardtear("serve", "--reader", " "), "reader name", code=2)
    one_clear_line(cardtear("insert", "front", "--pin", "12", **served.environment), "PIN", "6 to 8 digits", code=2)
    one_clear_line(cardtear("insert", "front", **served.environment), "front", "remove or swap it")
    one_clear_line(cardtear("remove", "back", **served.environment), "back", "front")
    one_clear_line(cardtear("arm", "remove", "front", **served.environment), "--call, --ins", code=2)
    assert not Path(image).exists()


# run


def test_run_passes_the_exit_code_on() -> None:
    assert cardtear("run", "--no-card", "--", "true").returncode == 0
    assert cardtear("run", "--no-card", "--", "sh", "-c", "exit 7").returncode == 7
    assert cardtear("run", "--no-card", "--", "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_run_of_something_that_cannot_be_run(tmp_path: Path) -> None:
    one_clear_line(cardtear("run", "--no-card", "--", "/nowhere/program"), "/nowhere/program", code=127)
    script = tmp_path / "script"
    script.touch()
    one_clear_line(cardtear("run", "--no-card", "--", str(script)), str(script), code=126)


def test_run_gives_the_program_a_simulator_of_its_own(tmp_path: Path) -> None:
    """The program can script the simulator, and its options are left alone."""
    script = f"""
set -e
[ "$CARDTEAR_MODULE" = {module_path()} ] && [ -S "$CARDTEAR_SOCKET" ] && [ -S "$CARDTEAR_CONTROL" ]
{" ".join(CARDTEAR)} remove mine --json
"""
    done = cardtear("run", "--reader", "mine", "--profile", "blank", "--name", "Dora", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"card": "Dora"}


@pytest.mark.parametrize("ending", ["true", "kill -KILL $$", "kill -TERM $PPID; exec sleep 20"])
def test_run_leaves_nothing_behind(tmp_path: Path, ending: str) -> None:
    """However the program ends, and also when it is `cardtear run` that is to end."""
    done = cardtear("run", "--", "sh", "-c", f"ls $TMPDIR; {ending}", TMPDIR=str(tmp_path))
    assert done.stdout.startswith("cardtear-")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_killed_takes_its_program_along() -> None:
    """And what that has started, in a session of its own too."""
    script = "setsid sleep 1000 & echo $!; echo $$; wait"
    with Running(*CARDTEAR, "run", "--no-card", "--", "sh", "-c", script) as running:
        programs = [os.pidfd_open(int(running.line())) for _ in range(2)]
        running.end(signal.SIGKILL)
        for program in programs:
            assert select.select([program], [], [], DEADLINE)[0]
            os.close(program)


def test_a_deep_temporary_folder(tmp_path: Path) -> None:
    """Sockets cannot lie in it, so they lie elsewhere, and go with the rest."""
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    done = cardtear("run", "--", "sh", "-c", 'test -S "$CARDTEAR_SOCKET"; echo $CARDTEAR_SOCKET', TMPDIR=str(deep))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) < len(str(deep))
    assert not Path(done.stdout).parent.exists()
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_run_forwards_signals(tmp_path: Path, name: str) -> None:
    """The program gets the signal, once, and its exit code counts."""
    script = f"trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    command = (*CARDTEAR, "run", "--no-card", "--", "sh", "-c", script)
    with Running(*command, TMPDIR=str(tmp_path)) as running:
        assert running.line() == "ready"
        running.process.send_signal(getattr(signal, f"SIG{name}"))
        assert running.line() == "caught"
        assert running.process.wait(DEADLINE) == 9
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_a_terminal_reaches_the_program_once() -> None:
    """The terminal sends it to the program as well: it is not passed on a second time."""
    script = "trap 'echo caught' INT; echo ready; while read word; do echo $word; [ $word = end ] && exit 5; done"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*CARDTEAR, "run", "--no-card", "--", "bash", "-c", script])
    seen = b""
    for wanted, answer in ((b"ready", b"\x03"), (b"caught", b"end\n")):
        while wanted not in seen:
            assert select.select([terminal], [], [], DEADLINE)[0], seen
            seen += os.read(terminal, 1000)
        os.write(terminal, answer)
    with contextlib.suppress(OSError):  # the terminal's end
        while select.select([terminal], [], [], DEADLINE)[0]:
            seen += os.read(terminal, 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert seen.count(b"caught") == 1
    os.close(terminal)


def test_run_shows_the_trace_on_standard_error() -> None:
    script = f"{' '.join(CARDTEAR)} remove front >/dev/null; echo done"
    done = cardtear("run", "--trace", "--", "sh", "-c", script)
    assert done.stdout == "done\n"
    assert "Alice's card is pulled out of front" in done.stderr


# What needs no simulator


def test_no_place_for_the_test_ca(tmp_path: Path) -> None:
    """Where it was to be, and what to do."""
    (tmp_path / "cardtear").touch()
    refused = cardtear("card", "new", str(tmp_path / "x.card"), XDG_DATA_HOME=str(tmp_path))
    one_clear_line(refused, f"{tmp_path}/cardtear/ca: the test CA cannot be kept here")


def test_a_card_is_made_shown_and_served(tmp_path: Path) -> None:
    image = tmp_path / "erin.card"
    made = cardtear("card", "new", str(image), "--name", "Erin", "--email", "erin@example.org", "--serial", "C0FFEE")
    assert made.returncode == 0
    about = json.loads(cardtear("card", "show", str(image), "--json").stdout)
    assert (about["name"], about["profile"], about["pin_tries"]) == ("Erin", "piv", 3)
    assert about["serial"].endswith("C0FFEE")
    assert [each["slot"] for each in about["keys"]] == ["9A", "9C", "9D", "9E"]
    assert "CN=Erin" in cardtear("card", "show", str(image)).stdout
    one_clear_line(cardtear("card", "new", str(image)), str(image), "already")
    inside = cardtear("run", "--image", str(image), "--", *CARDTEAR, "status", "--json")
    assert json.loads(inside.stdout)["readers"][0]["card"] == "Erin"


@pytest.mark.parametrize("profile", ["yubikey", "piv-ec"])
def test_what_is_shown_of_other_cards(tmp_path: Path, profile: str) -> None:
    """A device's number where there is no CHUID, the key that attests, compressed certificates."""
    image = tmp_path / "other.card"
    more = ("--serial", "BC614E") if profile == "yubikey" else ("--set", "compressed=true")
    assert cardtear("card", "new", str(image), "--profile", profile, *more).returncode == 0
    about = json.loads(cardtear("card", "show", str(image), "--json").stdout)
    subjects = {each["slot"]: each["certificate"] for each in about["keys"]}
    if profile == "yubikey":
        assert about["serial"] == "12345678"
        assert subjects == {"F9": "CN=cardtear PIV attestation"}
    else:
        assert subjects.pop("9E").startswith("serialNumber=")  # it names no holder
        assert subjects == dict.fromkeys(("9A", "9C", "9D"), "CN=Alice,O=cardtear")


def test_parameters_of_a_card_are_settings(tmp_path: Path) -> None:
    image = tmp_path / "mine.card"
    settings: tuple[str, ...] = (
        "--set",
        "pin_min=4",
        "--set",
        "pin=9999",
        "--set",
        "capacity=65536",
        "--set",
        "read_only=true",
    )
    made = cardtear(
        "card", "new", str(image), "--profile", "blank", *settings, "--set", "mechanisms=CKM_ECDSA,CKM_RSA_PKCS"
    )
    assert made.returncode == 0, made.stderr
    about = json.loads(cardtear("card", "show", str(image), "--json").stdout)
    assert about["capacity"] == 65536
    assert 0 < about["used"] < 65536
    assert about["traits"] == {"pin_min": 4, "read_only": True, "mechanisms": ["CKM_ECDSA", "CKM_RSA_PKCS"]}
    assert "read_only: True" in cardtear("card", "show", str(image)).stdout
    other = str(tmp_path / "other.card")
    one_clear_line(cardtear("card", "new", other, "--set", "read_only"), "NAME=VALUE", "read_only", code=2)
    one_clear_line(cardtear("card", "new", other, "--set", "colour=red"), "colour", "read_only", code=2)
    one_clear_line(cardtear("card", "new", other, "--set", "pin_min=3"), "pin_min", "4 to 8", code=2)
    assert not Path(other).exists()


def test_settings_of_a_card_in_a_running_simulator(served: Served) -> None:
    """And a profile's own PIN is not overruled by what an option would be if it were given."""
    one = cardtear("swap", "front", "--profile", "initial-pin", "--set", "pin_tries=5", "--json", **served.environment)
    assert json.loads(one.stdout) == {"card": "Bob"}
    wrong = cardtear("swap", "front", "--set", "pin_pad=perhaps", **served.environment)
    one_clear_line(wrong, "pin_pad", "true or false", code=2)


def test_profiles_are_listed() -> None:
    listed = json.loads(cardtear("card", "profiles", "--json").stdout)
    assert listed["initial-pin"]["pin"] == "9999"
    shown = cardtear("card", "profiles").stdout
    assert all(name in shown and each["about"] in shown for name, each in listed.items())


def test_the_test_ca_is_exported(tmp_path: Path) -> None:
    pem = cardtear("card", "ca").stdout
    assert pem.startswith("-----BEGIN CERTIFICATE-----")
    assert pem.encode() == paths.test_ca().certificate_pem()
    assert json.loads(cardtear("card", "ca", "--json").stdout) == {"certificate": pem}
    cardtear("card", "ca", "--out", str(tmp_path / "ca.pem"))
    assert (tmp_path / "ca.pem").read_text() == pem
    one_clear_line(cardtear("card", "ca", "--out", "/nowhere/ca.pem"), "/nowhere/ca.pem")


def test_a_removal_is_not_delayed_by_what_it_does_not_need(served: Served) -> None:
    """Imports are most of its time: no cryptography, simulator, YAML, pydantic nor tables for people."""
    script = (
        "import sys; sys.argv = ['cardtear', 'remove', 'front']\n"
        "from cardtear.lab.cli.main import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = (sys.executable, "-c", script)
    environment = {**os.environ, **served.environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.stdout == "Alice is out of front\n"
    loaded = set(done.stderr.split())
    assert "cardtear.lab.cli.readers" in loaded
    assert not loaded & {
        "cryptography",
        "yaml",
        "cffi",
        "gmpy2",
        "pydantic",
        "cardtear.lab.simulator.simulator",
        "cardtear.lab.cli.simulators",
    }


def test_module_prints_the_path() -> None:
    assert cardtear("module").stdout == f"{module_path()}\n"
    assert json.loads(cardtear("module", "--json").stdout) == {"module": str(module_path())}


def test_doctor_says_what_works(tmp_path: Path) -> None:
    found = {each["what"]: each for each in json.loads(cardtear("doctor", "--json", PATH=str(tmp_path)).stdout)}
    assert found["PKCS #11 module"]["works"]
    assert not found["pkcs11-tool"]["works"]
    assert found["pkcs11-tool"]["package"] == "opensc"
    shown = cardtear("doctor", PATH=str(tmp_path))
    assert shown.returncode == 0
    assert "apt-get install" in shown.stdout


def test_doctor_fails_when_nothing_can_work(tmp_path: Path) -> None:
    (tmp_path / "cardtear").mkdir(mode=0o755)
    done = cardtear("doctor", XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "is open to others (mode 0755, wanted 0700); remove it" in done.stdout


CLOSED = "is closed to user {user}, who may not look into {root}"
"""What is said of paths below the folder `root`, which is another user's."""


_EVERYWHERE = "-dac_override,-dac_read_search"


@pytest.fixture
def stranger() -> Iterator[tuple[Callable[..., subprocess.CompletedProcess[str]], str, Path]]:
    """Carries out command lines as `su USER -c` does, in a folder that is closed to the user; what is said of it.

    For root the folder is somebody else's and root may not look everywhere: Python itself may be root's alone.
    """
    is_root = os.getuid() == 0
    ordinary = ("setpriv", f"--bounding-set={_EVERYWHERE}", f"--inh-caps={_EVERYWHERE}") if is_root else ()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        root, home = Path(place, "root"), Path(place, "home")
        (root / "x" / "run" / "cardtear").mkdir(parents=True, mode=0o700)
        home.mkdir()
        home.chmod(0o777)
        root.chmod(0o700 if is_root else 0)
        if is_root:
            os.chown(root, 64321, 64321)

        def run(*words: str, cwd: str | Path = "/", **variables: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*ordinary, sys.executable, "-m", "cardtear.lab.cli.main", *words],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                cwd=cwd,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(home),
                    "COLUMNS": "400",
                    "XDG_RUNTIME_DIR": str(root / "x" / "run"),
                    **variables,
                },
                check=False,
            )

        yield run, CLOSED.format(user=os.getuid(), root=root), root
        root.chmod(0o700)


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        *((words, "XDG_RUNTIME_DIR") for words in ("doctor", "status", "trace", "stop", "remove", "serve")),
        ("status", "CARDTEAR_CONTROL"),
    ],
)
def test_a_socket_folder_that_is_closed_to_the_user(
    stranger: tuple[Callable[..., subprocess.CompletedProcess[str]], str, Path], words: str, variable: str
) -> None:
    """It is said that it is, and what to do; nobody is to start a simulator there, or to remove the folder."""
    run, closed, root = stranger
    more = {"CARDTEAR_CONTROL": str(root / "control.sock")} if variable == "CARDTEAR_CONTROL" else {}
    done = run(*words.split(), **more)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert closed in said
    assert "Traceback" not in said
    assert "start one" not in said
    assert "remove it" not in said
    if not more:
        assert "XDG_RUNTIME_DIR" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("play {0}/a.yaml", 2),
        ("play B05 --junit {0}/j", 2),
        ("card show {0}/a.card", 1),
        ("card new {0}/a.card", 1),
        ("card copy {0}/a.card {0}/b.card", 1),
        ("card ca --out {0}/ca.pem", 1),
        ("run --image {0}/a.card -- true", 1),
        ("card new a.card --passphrase-file {0}/pass", 1),
        ("run --pin-file {0}/pin -- true", 1),
        ("run -- {0}/program", 126),
        ("sweep --resume --json {0}/j -- true", 2),
        ("pcsc --write {0}/vpcd", 1),
    ],
)
def test_files_that_are_closed_to_the_user(
    stranger: tuple[Callable[..., subprocess.CompletedProcess[str]], str, Path], words: str, code: int
) -> None:
    """One line says which, and that access is refused."""
    run, _, root = stranger
    done = run(*words.format(root).split())
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert str(root) in done.stderr
    assert "permission denied" in done.stderr.lower()


def test_a_shipped_scenario_in_a_folder_that_is_closed_to_the_user(
    stranger: tuple[Callable[..., subprocess.CompletedProcess[str]], str, Path],
) -> None:
    """Its name is found nevertheless."""
    run, _, root = stranger
    done = run("play", "B05", cwd=root if os.getuid() == 0 else "/")
    assert done.returncode == 0, done.stdout + done.stderr
