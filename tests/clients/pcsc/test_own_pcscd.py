# SPDX-License-Identifier: MIT
"""A pcscd that cardtear starts: nobody else reaches it, it is started again, and it takes any name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import kept_process
from cardtear.lab.processes.kept_process import ProcessError
from cardtear.lab.simulator import own_pcscd
from cardtear.lab.simulator.own_pcscd import OwnPcscd
from cardtear.reader.pcsc import reader_conf

from ...shared.programs import DEADLINE, runner
from ...shared.waiting import wait_until
from . import daemon, pcsc

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))

YKMAN = str(Path(sys.executable).with_name("ykman"))

STRANGER = 64321
"""A user who has nothing."""

WITHOUT_NAMESPACES = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
"""As in a container: root may not make any."""

INTRUDER = f"""
import json, os, re, socket, subprocess, sys, encodings.idna
started = set()
ours = subprocess.run(("pgrep", "-P", sys.argv[1]), capture_output=True, text=True).stdout.split()
for process in (sys.argv[1], *ours):
    sockets = []
    for each in os.listdir(f"/proc/{{process}}/fd"):
        try:
            sockets.append(os.readlink(f"/proc/{{process}}/fd/{{each}}"))
        except FileNotFoundError:
            pass
    for name in ("tcp", "tcp6"):
        for line in open(f"/proc/net/{{name}}").read().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{{fields[9]}}]" in sockets:
                started.add(fields[1])
everywhere = [each for each in started if not each.startswith("0100007F:")]
ports = {{int(each.split(":")[1], 16) for each in started}} | {{0x8C7B, 0x8C7C}}
os.setgid({STRANGER})
os.setuid({STRANGER})
reached = []
for port in ports:
    with socket.socket() as connection:
        connection.settimeout(2)
        try:
            connection.connect(("127.0.0.1", port))
            if connection.recv(1):
                reached.append(port)
        except OSError:
            pass
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(2)
    try:
        connection.connect(os.environ["PCSCLITE_CSOCK_NAME"])
        connection.sendall(bytes.fromhex("0c00000011000000" "04000000" "04000000" "00000000"))
        if connection.recv(1):
            reached.append("pcscd")
    except OSError:
        pass
print(json.dumps([everywhere, reached]))
"""
"""What the program of `cardtear run` finds open to other hosts, and what answers another user."""


@pytest.fixture(autouse=True)
def _possible() -> None:
    reason = own_pcscd.why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.needs("opensc-tool")
@pytest.mark.parametrize("prefix", [(), WITHOUT_NAMESPACES], ids=["alone", "in a container"])
def test_nobody_else_reaches_it(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    """Neither another host nor another user; our own program has the card, and removals are seen."""
    run = runner(tmp_path, {})
    program = (
        'opensc-tool --atr; "$1" -c "$2" $PPID && cardtear remove front && '
        "while opensc-tool --atr; do sleep 0.1; done; opensc-tool -l"
    )
    command = (CARDTEAR, "run", "--own-pcscd", "--", "sh", "-c", program, "sh", sys.executable, INTRUDER)
    ended = run(*prefix, *command, PATH=f"{Path(CARDTEAR).parent}:{os.environ['PATH']}")
    assert "3b:" in ended.output
    assert "[[], []]" in ended.output
    assert "No         " in ended.output.split("Virtual PCD 00 00")[-2][-40:]
    assert ("cardtear: pcscd can have no network of its own" in ended.output) is bool(prefix)


def test_its_folder_is_open_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask: where every pcscd has its socket, only root may put one."""
    here = tmp_path / "pcscd"
    monkeypatch.setattr(own_pcscd, "_RUN", here)
    before = os.umask(0)
    try:
        with contextlib.closing(OwnPcscd(tmp_path / "own")):
            assert not here.stat().st_mode & 0o022
    finally:
        os.umask(before)


@pytest.mark.needs("opensc-tool", "ip")
def test_another_host(tmp_path: Path) -> None:
    """One that is connected by a cable, with all that this one listens on: there is nothing of ours."""
    with daemon.own_pcscd(tmp_path) as ours, Simulator(pcsc=ours.place) as simulator:
        ours.start()
        simulator.plug("front")
        simulator.insert("front")
        assert simulator.pcsc is not None
        assert simulator.pcsc.wait_until_shown(pcsc.DEADLINE) == []
        name = f"ct{os.getpid()}"
        try:
            if subprocess.run(("ip", "netns", "add", name), capture_output=True, check=False).returncode:
                pytest.skip("no other host can be made here")
            for command in (
                f"ip link add {name}a type veth peer name {name}b netns {name}",
                f"ip addr add 198.51.100.1/30 dev {name}a",
                f"ip link set {name}a up",
                f"ip -n {name} addr add 198.51.100.2/30 dev {name}b",
                f"ip -n {name} link set {name}b up",
            ):
                subprocess.run(command.split(), check=True, capture_output=True)
            knock = (
                "import socket, sys\n"
                "for port in map(int, sys.argv[1:]):\n"
                "    with socket.socket() as host: print(host.connect_ex(('198.51.100.1', port)))"
            )
            ports = [str(ours.place.port + each) for each in range(2)]
            command = ("ip", "netns", "exec", name, sys.executable, "-c", knock, *ports)
            answers = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout
            assert answers.split() == ["111", "111"]
        finally:
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)


def test_programs_keep_their_network(tmp_path: Path) -> None:
    """It is pcscd that has one of its own."""
    here = os.readlink("/proc/self/ns/net")
    run = runner(tmp_path, {})
    script = "readlink /proc/self/ns/net; readlink /proc/$(pgrep -P $PPID pcscd)/ns/net"
    told = run(CARDTEAR, "run", "--own-pcscd", "--", "sh", "-c", script).output.split()
    assert told[0] == here
    assert told[1] != here


def test_a_signal_for_all_is_not_for_it(tmp_path: Path) -> None:
    """As the terminal's Ctrl-C: the program may still need it."""
    script = 'trap "opensc-tool --atr" INT; kill -INT 0; sleep 0.1; exit 5'
    command = (CARDTEAR, "run", "--own-pcscd", "--", "sh", "-c", script)
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE, check=False, process_group=0, cwd=tmp_path
    )
    assert ended.returncode == 5, ended.stderr
    assert "3b:" in ended.stdout
    assert "ended by itself" not in ended.stderr


def _process(ours: OwnPcscd) -> int:
    assert ours._process is not None
    return ours._process.pid


def test_one_that_dies_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it dies of, and with its card in it; what is stopped stays so."""
    with daemon.own_pcscd(tmp_path) as ours, Simulator(pcsc=ours.place) as simulator:
        ours.start()
        simulator.plug("front")
        simulator.insert("front")
        for deadly in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
            assert simulator.pcsc is not None
            assert simulator.pcsc.wait_until_shown(pcsc.DEADLINE) == []
            process = _process(ours)
            os.kill(process, deadly)
            wait_until(lambda process=process: ours.is_running and _process(ours) != process and ours._answers_us())
            wait_until(lambda: not simulator.pcsc.wait_until_shown(0.05))
            context = pcsc.Context()
            context.wait(pcsc.READER, pcsc.PRESENT, pcsc.DEADLINE)
            context.close()
        assert caplog.text.count("pcscd has ended by itself") == 3
        assert "SIGSEGV" in caplog.text
        ours.stop()
        assert not ours.is_running
        assert caplog.text.count("pcscd has ended by itself") == 3
        ours.start()
        assert ours.is_running


def test_one_that_hangs_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops it hears that; at the end that is no failure of what was done with it."""
    with daemon.own_pcscd(tmp_path) as ours:
        for end in (ours.stop, ours.close):
            ours.start()
            os.kill(_process(ours), signal.SIGSTOP)
            with monkeypatch.context() as patch:
                patch.setattr(kept_process, "DEADLINE", 0.2)
                with pytest.raises(ProcessError, match="was killed") if end == ours.stop else contextlib.nullcontext():
                    end()
            assert not ours.is_running
        assert "pcscd did not end within 0 s, and was killed" in caplog.text


def test_one_that_dies_again_and_again_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_process, "_ENDS", 2)
    with daemon.own_pcscd(tmp_path) as ours:
        ours.start()
        first = _process(ours)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: ours.is_running and _process(ours) != first and ours._answers_us())
        os.kill(_process(ours), signal.SIGKILL)
        wait_until(lambda: "is left alone" in caplog.text)
        assert not ours.is_running
        ours.start()
        assert ours.is_running


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    """In its own words, and with no more of it than is text."""
    with daemon.own_pcscd(tmp_path) as ours:
        ours.configure('FRIENDLYNAME "a"\x1b[31m" b\n')
        with pytest.raises(ProcessError, match=r"pcscd does not start\. It said:\n(.|\n)*value line 1") as caught:
            ours.start()
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ['a "quoted" name', '"', "", " ", "two\nlines", "tab\t", "\x1b[31m", "a" * 117, "ü" * 60]
)
def test_names_that_no_reader_can_have(tmp_path: Path, name: str) -> None:
    """A clear refusal, and no pcscd that does not start."""
    with pytest.raises(ValueError, match="cannot be called"), daemon.own_pcscd(tmp_path, name):
        pass
    assert not (tmp_path / "reader.conf.d" / "vpcd").exists()


@pytest.mark.parametrize(
    "name",
    ["it's; #1 \\ 'quoted' $(x) %s", "Lesegerät für Kärtchen", "x" * reader_conf.LONGEST_NAME, "'", "#", "\\", "00 00"],
)
def test_names_that_it_can_have(tmp_path: Path, name: str) -> None:
    """Every one that is not refused is the reader's."""
    with daemon.own_pcscd(tmp_path, name, readers=3) as ours:
        ours.start()
        wanted = [f"{name} 00 00", f"{name} 00 01", f"{name} 2 00 00", f"{name} 2 00 01"]
        assert pcsc.apart("Context().readers()") == wanted


@pytest.mark.needs("smartcard")
def test_a_reader_whose_name_is_not_ascii(tmp_path: Path) -> None:
    """Its programs hear of a reset, and its card can lie in a reader of ours."""
    name = "Lesegerät"
    with daemon.own_pcscd(tmp_path, name) as ours, Simulator(pcsc=ours.place) as simulator, Simulator() as near:
        ours.start()
        simulator.plug("front")
        simulator.insert("front")
        assert simulator.pcsc is not None
        assert simulator.pcsc.wait_until_shown(pcsc.DEADLINE) == []
        card = pcsc.Context().connect(f"{name} 00 00")
        assert card.transmit(pcsc.SELECT)[-2:] == b"\x90\x00"
        simulator.reset("front")
        with pytest.raises(pcsc.PcscError, match="80100068"):
            wait_until(lambda: card.status() is None)
        card.disconnect(pcsc.LEAVE)
        near.plug("front")
        assert near.attach_pcsc("front", name) is not None
        assert near.apdu("front", pcsc.SELECT)[-2:] == b"\x90\x00"


@pytest.mark.needs("opensc-tool")
def test_several_readers_with_a_name(tmp_path: Path) -> None:
    """Each has a slot, and the first one the card; the rest is for `cardtear insert`."""
    run = runner(tmp_path, {"PATH": f"{Path(CARDTEAR).parent}:{os.environ['PATH']}"})
    readers = [word for name in "abc" for word in ("--reader", name)]
    script = "cardtear insert c --name Carol && cardtear status && opensc-tool -l"
    options = (*readers, "--pcsc-name", "Our Reader", "--", "sh", "-c", script)
    ended = run(CARDTEAR, "run", "--own-pcscd", *options)
    assert ended.code == 0, ended.output
    listed = [
        line.split(maxsplit=2) for line in ended.output.splitlines() if "Our Reader" in line and line[0].isdigit()
    ]
    assert [line[2].strip() for line in listed] == [
        "Our Reader 00 00",
        "Our Reader 00 01",
        "Our Reader 2 00 00",
        "Our Reader 2 00 01",
    ]
    assert listed[0][1] == "Yes"
    refused = run(CARDTEAR, "run", "--own-pcscd", "--pcsc-name", 'a"b', "--", "true")
    assert refused.code == 2
    assert "cannot be called" in refused.output
    alone = run(CARDTEAR, "run", "--pcsc-name", "Ours", "--", "true")
    assert alone.code == 2
    assert "--own-pcscd" in alone.output


@pytest.mark.needs("ykman")
def test_a_yubikey_has_a_reader_that_its_programs_find(tmp_path: Path) -> None:
    ended = runner(tmp_path, {})(CARDTEAR, "run", "--own-pcscd", "--profile", "yubikey", "--", YKMAN, "list")
    assert ended.code == 0, ended.output
    assert "YubiKey" in ended.output


class TestPolkit:
    """From 2.3 on pcscd may ask polkit, which refuses root's own programs."""

    @pytest.mark.parametrize(
        ("says", "wanted"),
        [("  --disable-polkit\tdisable polkit support", ("--disable-polkit",)), ("  -f, --foreground", ())],
    )
    def test_it_is_asked_what_it_knows(self, tmp_path: Path, says: str, wanted: Any) -> None:
        program = tmp_path / "pcscd"
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o700)
        assert reader_conf.options(str(program)) == wanted

    def test_one_that_refuses_us(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error that says so, and no pcscd that stays."""
        monkeypatch.setattr(own_pcscd, "refusal", lambda: "pcscd refuses the programs of user 0")
        with daemon.own_pcscd(tmp_path) as ours:
            with pytest.raises(ProcessError, match="refuses the programs of user 0"):
                ours.start()
            assert not ours.is_running


@pytest.mark.needs("opensc-tool")
@pytest.mark.parametrize("prefix", [(), WITHOUT_NAMESPACES], ids=["alone", "in a container"])
@pytest.mark.parametrize("length", [80, 100, 200])
def test_a_deep_temporary_folder(tmp_path: Path, prefix: tuple[str, ...], length: int) -> None:
    """Its socket cannot lie there, so it lies elsewhere, and goes with the rest."""
    deep = tmp_path / ("x" * length)
    deep.mkdir()
    tell = 'echo "$PCSCLITE_CSOCK_NAME" && opensc-tool --name'
    ended = runner(tmp_path, {})(*prefix, CARDTEAR, "run", "--own-pcscd", "--", "sh", "-c", tell, TMPDIR=str(deep))
    assert ended.code == 0, ended.output
    assert "Personal Identity Verification Card" in ended.output
    place = next(Path(line) for line in ended.output.splitlines() if line.endswith("pcscd.comm"))
    assert place == Path("/run/pcscd/pcscd.comm") or not place.parent.exists()
    assert list(deep.iterdir()) == []


@pytest.mark.needs("opensc-tool")
@pytest.mark.parametrize("name", ["a b", 'ä"#\n', "x" * 200])
def test_an_odd_temporary_folder(tmp_path: Path, name: str) -> None:
    """Copies of the driver lie where reader.conf can name them."""
    odd = tmp_path / name
    odd.mkdir()
    readers = [word for reader in "abc" for word in ("--reader", reader)]
    ended = runner(tmp_path, {})(CARDTEAR, "run", "--own-pcscd", *readers, "--", "opensc-tool", "-l", TMPDIR=str(odd))
    assert ended.code == 0, ended.output
    assert "Virtual PCD 2 00 01" in ended.output
    assert list(odd.iterdir()) == []
