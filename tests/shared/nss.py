# SPDX-License-Identifier: MIT
"""NSS as a person has it: a database with the module in it, and NSS's own tools, each with a deadline."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cardtear.csrc import module_path
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.trace.records import as_record

from .waiting import wait_until

DEADLINE = 30.0
"""Seconds that a tool may take."""


class Ended(NamedTuple):
    """How a tool ended, and what it printed on both streams."""

    code: int
    output: str


class Nss:
    """A database in a folder of its own; the tools run in that folder, where the file `pin` has the PIN.

    `card` is the one that was in `front` when the database was made.
    """

    def __init__(self, folder: Path, simulator: Simulator, pin: str = "123456") -> None:
        self.folder = folder
        self.simulator = simulator
        self.card = simulator.testbed.reader("front").insertion.card
        self.database = f"sql:{folder}"
        self._serials = itertools.count(1)
        (folder / "pin").write_text(f"{pin}\n")
        (folder / "noise").write_bytes(os.urandom(64))
        self("certutil", "-N", "-d", self.database, "--empty-password")
        self("modutil", "-force", "-dbdir", self.database, "-add", "cardtear", "-libfile", str(module_path()))

    def run(self, program: str, *arguments: str, deadline: float = DEADLINE) -> Ended:
        """Run a program to its end. Raises subprocess.TimeoutExpired, AssertionError when it crashes."""
        done = subprocess.run(
            [program, *arguments],
            **self._surroundings(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=deadline,
            check=False,
        )
        assert done.returncode >= 0, f"{program} died of {signal.Signals(-done.returncode).name}:\n{done.stdout}"
        return Ended(done.returncode, done.stdout)

    def __call__(self, program: str, *arguments: str) -> str:
        """What a program prints that has to succeed."""
        ended = self.run(program, *arguments)
        assert ended.code == 0, f"{program} {' '.join(arguments)}:\n{ended.output}"
        return ended.output

    # certutil, by what it is for

    def certutil(self, command: str, *arguments: str) -> str:
        """certutil with the database and the PIN; has to succeed."""
        return self("certutil", *self.options(command, *arguments))

    def options(self, command: str, *arguments: str) -> tuple[str, ...]:
        """The arguments of certutil with the database and the PIN."""
        return (command, "-d", self.database, "-f", "pin", *arguments)

    def certify(self, nickname: str, *key: str, token: str = "Alice", subject: str = "", issuer: str = "") -> str:
        """certutil -S: a key on a token, and a certificate for it, by itself or by an issuer there."""
        subject = subject or f"CN={nickname}"
        return self.certutil("-S", *self.certifying(nickname, *key, token=token, subject=subject, issuer=issuer))

    def certifying(self, nickname: str, *key: str, token: str = "Alice", subject: str, issuer: str = "") -> list[str]:
        """The options of certutil -S."""
        by = ["-c", issuer] if issuer else ["-x"]
        serial = str(next(self._serials))
        kind = key or ("-k", "rsa", "-g", "2048")
        return ["-h", token, "-n", nickname, "-s", subject, *by, "-t", "CTu,Cu,Cu", "-m", serial, "-z", "noise", *kind]

    def private_keys(self, token: str = "Alice") -> dict[str, tuple[str, str]]:
        """certutil -K: kind and name of the private keys by CKA_ID."""
        ended = self.run("certutil", "-K", "-d", self.database, "-h", token, "-f", "pin")
        rows = [line.partition(">")[2].split(None, 2) for line in ended.output.splitlines() if line.startswith("<")]
        return {identity: (kind, name.strip()) for kind, identity, name in rows}

    def certificates(self, token: str = "Alice") -> dict[str, str]:
        """certutil -L: the trust of the certificates by nickname, without the token's name."""
        ended = self.run("certutil", "-L", "-d", self.database, "-h", token)
        rows = [line.rsplit(None, 1) for line in ended.output.splitlines() if line.count(",") == 2]
        rows = [row for row in rows if len(row) == 2 and not row[1].startswith("SSL")]
        return {name.removeprefix(f"{token}:"): trust for name, trust in rows}

    def trust(self, certificate: bytes, nickname: str = "authority") -> None:
        """Take a CA's certificate (PEM) into the database and trust it."""
        (self.folder / f"{nickname}.pem").write_bytes(certificate)
        self("certutil", "-A", "-d", self.database, "-n", nickname, "-a", "-i", f"{nickname}.pem", "-t", "CT,C,C")

    # TLS

    @contextlib.contextmanager
    def serving(self, nickname: str, version: str, *arguments: str) -> Iterator[tuple[int, Path]]:
        """selfserv with a certificate: its port, and the file with what it prints."""
        port = free_port()
        log = self.folder / f"selfserv-{port}"
        options = [
            "-d",
            self.database,
            "-f",
            "pin",
            "-n",
            nickname,
            "-p",
            str(port),
            "-V",
            f"{version}:{version}",
            "-v",
        ]
        with log.open("w") as output:
            process = subprocess.Popen(
                ["selfserv", *options, *arguments],
                **self._surroundings(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            _wait_for_port(port, process, log)
            yield port, log
            assert process.poll() is None, f"selfserv has ended:\n{log.read_text(errors='replace')}"
        finally:
            process.kill()
            process.wait(DEADLINE)

    def fetch(self, port: int, version: str, *arguments: str) -> Ended:
        """tstclnt: one request."""
        (self.folder / "request").write_text("GET / HTTP/1.0\r\n\r\n")
        where = ["-h", "localhost", "-4", "-p", str(port), "-V", f"{version}:{version}"]
        # -O: the check of the certificate in the background has a race in the tool that makes it hang.
        return self.run("tstclnt", "-d", self.database, "-A", "request", "-O", "-v", *where, *arguments)

    # What the module saw

    def calls(self, program: str) -> list[dict[str, Any]]:
        """The calls and answers of all runs of a program, as records of the trace."""
        records = [as_record(entry) for entry in self.simulator.testbed.trace.entries()]
        numbers = {each["number"] for each in records if each.get("application", "").startswith(f"{program}[")}
        return [each for each in records if each["kind"] in ("call", "return") and each["call"] in numbers]

    def names(self, program: str) -> list[str]:
        """The names of the functions that a program has called."""
        return [each["name"] for each in self.calls(program) if each["kind"] == "call"]

    def _surroundings(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": {**os.environ, **self.simulator.environment, "LC_ALL": "C.UTF-8"}}


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def listens() -> bool:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), DEADLINE):
            return True
        assert process.poll() is None, f"no server:\n{log.read_text(errors='replace')}"
        return False

    wait_until(listens, f"a server at port {port}")
