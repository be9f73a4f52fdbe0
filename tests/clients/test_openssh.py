# SPDX-License-Identifier: MIT
"""OpenSSH: keys listed, an agent that has them, login to a server on this machine, signed files."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

pytestmark = pytest.mark.needs("ssh-keygen", "ssh-agent", "ssh-add", "ssh")

Run = Callable[..., Any]
Succeed = Callable[..., str]
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@pytest.fixture
def asking(tmp_path: Path) -> dict[str, str]:
    """A program that answers when ssh asks for the PIN."""
    (tmp_path / "ask").write_text("#!/bin/sh\necho 123456\n")
    (tmp_path / "ask").chmod(0o700)
    return {"SSH_ASKPASS": str(tmp_path / "ask"), "SSH_ASKPASS_REQUIRE": "force"}


@pytest.fixture
def agent(simulator: Simulator, run: Run, asking: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """An ssh-agent that may load any module, with no keys yet; the environment to find it."""
    started = run("ssh-agent", "-P", "/*", "-a", str(tmp_path / "agent"), "-s")
    number = int(started.output.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    yield {**asking, "SSH_AUTH_SOCK": str(tmp_path / "agent")}
    os.kill(number, signal.SIGTERM)


@pytest.fixture
def public_keys(succeed: Succeed, module: str, tmp_path: Path) -> list[str]:
    """What ssh-keygen lists; each in a file 0.pub to 3.pub, all in the file `authorized`."""
    lines = succeed("ssh-keygen", "-D", module).splitlines()
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.pub").write_text(line + "\n")
    (tmp_path / "authorized").write_text("".join(line + "\n" for line in lines))
    (tmp_path / "authorized").chmod(0o600)
    return lines


@pytest.fixture
def login(
    public_keys: list[str], run: Run, succeed: Succeed, serve: Any, port: int, tmp_path: Path
) -> Iterator[tuple[str, ...]]:
    """An ssh server that knows the card's keys; the command for logging in and saying hello."""
    if SSHD is None:
        pytest.skip("not installed: sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where a server of root's locks itself in
    succeed("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host")
    (tmp_path / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    quiet = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentityFile=none", "BatchMode=no")
    options = [part for option in quiet for part in ("-o", option)]
    server = (SSHD, "-f", str(tmp_path / "sshd.conf"))
    patience = ("-o", "PerSourcePenalties=no")  # since 9.8 whoever fails is kept out for a while; before, unknown
    if run(*server, *patience, "-t").code == 0:
        server += patience
    with serve(port, *server, "-D", "-e"):
        yield ("ssh", "-F", "none", "-p", str(port), *options, f"{getpass.getuser()}@127.0.0.1", "echo hello")


def test_public_keys(public_keys: list[str]) -> None:
    """ssh-keygen -D shows the keys of all four certificates."""
    assert sum(line.startswith("ssh-rsa ") for line in public_keys) == 2
    assert sum(line.startswith("ecdsa-sha2-nistp256 ") for line in public_keys) == 2


def test_generated_keys(blank: Simulator, tool: Succeed, succeed: Succeed, module: str) -> None:
    """Key pairs made on the card need no certificate."""
    for number, kind in enumerate(("rsa:2048", "EC:prime256v1", "EC:secp384r1")):
        tool("--keypairgen", "--key-type", kind, "--id", f"1{number}", "--label", kind)
    listed = succeed("ssh-keygen", "-D", module)
    for kind in ("ssh-rsa ", "ecdsa-sha2-nistp256 ", "ecdsa-sha2-nistp384 "):
        assert listed.count(kind) == 1


@pytest.mark.parametrize("on", [{"call": "C_GetTokenInfo"}, {"call": "C_FindObjects"}], ids=str)
def test_card_goes_in_a_list(simulator: Simulator, run: Run, succeed: Succeed, module: str, on: dict[str, Any]) -> None:
    """An error, no hang."""
    simulator.arm(Trigger("remove", {"reader": "front"}, **on))
    ended = run("ssh-keygen", "-D", module)
    assert ended.code != 0, ended.output
    simulator.insert("front")
    assert "ssh-rsa " in succeed("ssh-keygen", "-D", module)


def test_agent(agent: dict[str, str], succeed: Succeed, run: Run, module: str, public_keys: list[str]) -> None:
    """Keys come with the module and go with it."""
    succeed("ssh-add", "-s", module, **agent)
    assert len(succeed("ssh-add", "-l", **agent).splitlines()) == 4
    for number in (0, 2, 3):  # 1 is 9C, which wants its PIN for each signature: an agent cannot ask
        succeed("ssh-add", "-T", f"{number}.pub", **agent)
    succeed("ssh-add", "-e", module, **agent)
    assert "no identities" in run("ssh-add", "-l", **agent).output


def test_wrong_pin(agent: dict[str, str], run: Run, module: str, tmp_path: Path, simulator: Simulator) -> None:
    """The agent refuses the module; it takes one of the card's tries."""
    (tmp_path / "ask").write_text("#!/bin/sh\necho 000000\n")
    ended = run("ssh-add", "-s", module, **agent)
    assert ended.code != 0
    assert "no identities" in run("ssh-add", "-l", **agent).output


@pytest.mark.parametrize("number", [0, 2, 3])
def test_signed_file(
    agent: dict[str, str], succeed: Succeed, module: str, public_keys: Any, tmp_path: Path, number: int
) -> None:
    """ssh-keygen -Y sign through the agent; -Y verify without it, and not for another file."""
    (tmp_path / "data").write_text("a card that can be pulled out")
    (tmp_path / "signers").write_text(f"alice {public_keys[number]}\n")
    succeed("ssh-add", "-s", module, **agent)
    succeed("ssh-keygen", "-Y", "sign", "-n", "file", "-f", f"{number}.pub", "data", **agent)
    verify = ("ssh-keygen", "-Y", "verify", "-n", "file", "-I", "alice", "-f", "signers", "-s", "data.sig")
    assert "Good" in succeed(*verify, stdin="a card that can be pulled out")


class TestLogin:
    """A server on this machine."""

    def test_by_agent(self, agent: dict[str, str], succeed: Succeed, module: str, login: tuple[str, ...]) -> None:
        """The agent signs."""
        succeed("ssh-add", "-s", module, **agent)
        assert "hello" in succeed(*login, **agent)

    def test_by_module(self, asking: dict[str, str], succeed: Succeed, module: str, login: tuple[str, ...]) -> None:
        """ssh loads the module itself and asks for the PIN."""
        assert "hello" in succeed(login[0], "-I", module, *login[1:], SSH_AUTH_SOCK="", **asking)

    def test_card_goes(
        self,
        simulator: Simulator,
        agent: dict[str, str],
        succeed: Succeed,
        run: Run,
        module: str,
        login: tuple[str, ...],
    ) -> None:
        """Out while it signs, and while it is idle: no login; in again and loaded again: login."""
        succeed("ssh-add", "-s", module, **agent)
        simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87, nth=2))
        assert "Permission denied" in run(*login, **agent).output
        assert simulator.testbed.reader("front").insertion is None
        assert "Permission denied" in run(*login, **agent).output
        simulator.insert("front")
        run("ssh-add", "-e", module, **agent)
        succeed("ssh-add", "-s", module, **agent)
        assert "hello" in succeed(*login, **agent)


def test_card_goes_in_a_login(tearing: Any, asking: dict[str, str], module: str, login: tuple[str, ...]) -> None:
    """At every APDU of the PIN and of the signature, ssh having loaded the module itself."""
    command = (login[0], "-I", module, *login[1:])
    tearing.everywhere(*command, card=CardRequest(), kinds=tearing.USES, SSH_AUTH_SOCK="", **asking)
